/** @file Names for groups of a language model's layers, so that one pattern fits every family. */
import {InvalidArgumentError} from 'commander';
import {PROJECTIONS} from '../language/projections.js';

const ROLES: Readonly<Record<string, string>> = {
  '@gate_up': PROJECTIONS.gateUp,
  '@down': PROJECTIONS.down,
  '@attention': PROJECTIONS.attention,
  '@all': PROJECTIONS.all,
};

/** For the help of options that take a pattern. */
export const ROLES_HELP = `for a language model also ${Object.keys(ROLES).join(', ')}`;

/** The pattern that `text` is or, after an `@`, names. */
export function patternOf(text: string): string {
  if (!text.startsWith('@')) return text;
  if (Object.hasOwn(ROLES, text)) return ROLES[text];
  throw new InvalidArgumentError(`There is no role ${text}; there are ${Object.keys(ROLES).join(', ')}.`);
}
