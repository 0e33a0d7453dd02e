/** @file A lint rule: in lib/, a file imports from its own room and from the rooms before it, never from a later one. */
import {dirname, relative, resolve, sep} from 'node:path';

/**
 * The room that a file belongs to: the longest one that its path begins with.
 *
 * @param {readonly string[]} rooms
 * @param {string} path From lib/, with slashes and without extension.
 */
function roomOf(rooms, path) {
  const around = rooms.filter((room) => path === room || path.startsWith(`${room}/`));
  return around.sort((a, b) => b.length - a.length)[0];
}

/** @type {import('eslint').Rule.RuleModule} */
export const downward = {
  meta: {
    type: 'problem',
    schema: [
      {
        type: 'object',
        properties: {lib: {type: 'string'}, rooms: {type: 'array', items: {type: 'string'}}},
        required: ['lib', 'rooms'],
        additionalProperties: false,
      },
    ],
  },
  create(context) {
    const {lib, rooms} = context.options[0];
    const pathOf = (/** @type {string} */ file) =>
      relative(lib, file)
        .split(sep)
        .join('/')
        .replace(/\.[jt]s$/, '');
    const own = roomOf(rooms, pathOf(context.filename));
    if (own === undefined) {
      return {
        Program(node) {
          context.report({
            node,
            message: 'this file stands in no room: add its room to scripts/eslint.config.mjs',
          });
        },
      };
    }
    const check = (/** @type {any} */ source) => {
      if (source?.type !== 'Literal' || !String(source.value).startsWith('.')) return;
      const room = roomOf(rooms, pathOf(resolve(dirname(context.filename), String(source.value))));
      if (room === undefined || rooms.indexOf(room) <= rooms.indexOf(own)) return;
      const message = `lib/${own} must not import from lib/${room}, which is built on it: see lib/README.md`;
      context.report({node: source, message});
    };
    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (/** @type {any} */ node) => check(node.source ?? node.argument?.literal),
    };
  },
};
