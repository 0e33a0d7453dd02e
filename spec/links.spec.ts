/** @file What the Markdown files point at is there: files, headings, npm scripts, rooms, and in the package that is published. */
import {execFileSync} from 'node:child_process';
import {existsSync, readFileSync, statSync} from 'node:fs';
import {join, relative, resolve} from 'node:path';
import {expect} from 'chai';
import {ROOT, guides, type Guide} from './support/guides.js';

const GUIDES = guides();
const SOURCE = /^[\w@.-]+(\/[\w.-]+)*\.(ts|mts|mjs|cjs|cc|h|cu|cuh|py)$/;

/** The targets of the links and images of a guide that are no URLs. */
function linksOf({prose}: Guide): string[] {
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors of the headings of a text, as GitHub makes them. */
function anchorsOf({prose}: Guide): Set<string> {
  const headings = [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Paths of source files and folders in a guide's prose, from the root or from the guide's folder. */
function pathsIn({prose}: Guide): string[] {
  const code = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, text]) => text);
  return code.filter((text) => SOURCE.test(text) || /^(lib|spec|scripts|models)\/[\w./-]+$/.test(text));
}

/** Names that stand for any file. */
const isPlaceholder = (path: string) => /\b[A-Z]{4,}\b/.test(path) && !path.includes('README');

const scriptsOf = ({text}: Guide) => [...text.matchAll(/\bnpm run ([\w:-]+)(?: -- ([a-z][\w-]*))?/g)];

describe('Markdown files', () => {
  for (const guide of GUIDES) {
    const links = linksOf(guide);
    if (links.length > 0) {
      it(`${guide.path} links to files and headings that are there`, () => {
        for (const link of links) {
          const [file, anchor] = link.split('#');
          const target = file === '' ? join(ROOT, guide.path) : resolve(guide.folder, file);
          expect(existsSync(target), link).to.equal(true);
          if (anchor === undefined) continue;
          const other = GUIDES.find(({path}) => join(ROOT, path) === target);
          expect(other === undefined ? [] : [...anchorsOf(other)], link).to.include(anchor);
        }
      });
    }
    const paths = pathsIn(guide).filter((path) => !isPlaceholder(path));
    if (paths.length > 0) {
      it(`${guide.path} names files that are there`, () => {
        const missing = paths.filter(
          (path) => !existsSync(join(ROOT, path)) && !existsSync(resolve(guide.folder, path)),
        );
        expect(missing).to.deep.equal([]);
      });
    }
  }

  it('name npm scripts and benchmarks that are there', () => {
    const {scripts} = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    for (const guide of GUIDES) {
      for (const [command, script, name] of scriptsOf(guide)) {
        expect(scripts, `${guide.path}: ${command}`).to.have.property(script);
        if (script !== 'bench' || name === undefined) continue;
        expect(
          existsSync(join(ROOT, 'scripts', 'bench', `${name}.ts`)),
          `${guide.path}: ${command}`,
        ).to.equal(true);
      }
    }
  });

  it('list the rooms of lib in the order that lint holds', () => {
    const config = readFileSync(join(ROOT, 'scripts', 'eslint.config.mjs'), 'utf8');
    const rooms = [.../const ROOMS = \[([^\]]*)\]/.exec(config)![1].matchAll(/'([^']+)'/g)].map(
      ([, room]) => room,
    );
    const {prose} = GUIDES.find(({path}) => path === 'lib/README.md')!;
    const table = prose.split('\n## ').find((section) => section.startsWith('The rooms'))!;
    const listed = [...table.matchAll(/^\| `([^`]+)`/gm)].map(([, room]) => room);
    expect(listed).to.deep.equal(rooms);
  });

  it('that are published link to what is published', () => {
    const [{files}] = JSON.parse(
      execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
        cwd: ROOT,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ) as [{files: {path: string}[]}];
    const published = files.map(({path}) => path);
    expect(published).to.include.members(['README.md', 'lib/README.md', 'CHANGELOG.md']);
    for (const guide of GUIDES.filter(({path}) => published.includes(path))) {
      for (const link of linksOf(guide).filter((link) => !link.startsWith('#'))) {
        const target = relative(ROOT, resolve(guide.folder, link.split('#')[0])).replaceAll('\\', '/');
        const isThere =
          existsSync(join(ROOT, target)) && statSync(join(ROOT, target)).isDirectory()
            ? published.some((path) => path.startsWith(`${target}/`))
            : published.includes(target);
        expect(isThere, `${guide.path}: ${link}`).to.equal(true);
      }
    }
  });
});
