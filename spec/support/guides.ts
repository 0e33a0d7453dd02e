/** @file The Markdown files of this repository, and the code that stands in them. */
import {readFileSync, readdirSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Folders with files of others, or that are made. */
const LEFT_OUT = new Set([
  'node_modules',
  'third_party',
  '.git',
  'dist',
  'docs',
  'coverage',
  'mutants',
  'shared',
]);

export interface Guide {
  /** From the root, with slashes. */
  readonly path: string;
  /** The folder that relative links start from. */
  readonly folder: string;
  readonly text: string;
  /** The text without its code blocks. */
  readonly prose: string;
}

/** All Markdown files, in the order of their paths. */
export function guides(): readonly Guide[] {
  return [...markdownFiles(ROOT)].sort().map((file) => {
    const text = readFileSync(file, 'utf8');
    return {
      path: relative(ROOT, file).replaceAll('\\', '/'),
      folder: dirname(file),
      text,
      prose: text.replace(/^```[\s\S]*?^```/gm, ''),
    };
  });
}

function* markdownFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, {withFileTypes: true})) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !LEFT_OUT.has(entry.name) && !entry.name.startsWith('dist-')) {
      yield* markdownFiles(path);
    } else if (entry.isFile() && entry.name.endsWith('.md')) yield path;
  }
}

/** The code blocks of a language, in their order. */
export function blocks({text}: Guide, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code]) => code,
  );
}

/**
 * The arguments of every `npx tfjs-sparsify` command in a text: in code blocks of the shell, in `$(…)`, and in prose where a
 * whole command stands.
 */
export function commandsIn(guide: Guide): string[][] {
  const shell = blocks(guide, 'bash')
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ');
  const inner = [...shell.matchAll(/\$\(npx tfjs-sparsify ([^)]*)\)/g)].map(([, command]) => command);
  const outer = shell.replaceAll(/\$\([^)]*\)/g, 'MADE');
  const inProse = [...guide.prose.matchAll(/`[^`\n]*npx tfjs-sparsify ([a-z][^`]*)`/g)].map(
    ([, command]) => command,
  );
  const lines = [...outer.matchAll(/^.*npx tfjs-sparsify (.*)$/gm)].map(([, command]) => command);
  return [...lines, ...inner, ...inProse].map(words);
}

/** A command line as the shell cuts it, without what it expands. */
function words(command: string): string[] {
  const plain = command.replace(/\s#.*$/, '');
  return (plain.match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? []).map((word) => word.replace(/^(['"])(.*)\1$/, '$2'));
}
