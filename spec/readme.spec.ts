/** @file Runs the README's examples as they stand, so that they go on to work. */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {quietly} from './support/child.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** The code blocks of a language, in their order. */
function blocks(language: string): string[] {
  return [...README.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    ([, code]) => code,
  );
}

describe('README', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(ROOT, 'dist', 'readme-'));
    symlinkSync(join(ROOT, 'models'), join(folder, 'models'));
  });
  afterEach(() => rmSync(folder, {recursive: true}));

  const run = (command: string, args: string[]) => {
    const {status, stdout, stderr} = spawnSync(command, args, {
      cwd: folder,
      encoding: 'utf8',
      env: quietly(),
    });
    expect(status, stderr).to.equal(0);
    return stdout;
  };

  it('has a twelve-line example, and retargeting, that run', () => {
    const [example, retargeting] = blocks('js');
    writeFileSync(join(folder, 'example.mjs'), `${example}\n${retargeting}\nconsole.log('retargeted');\n`);
    const output = run(process.execPath, ['example.mjs']);
    expect(output).to.match(/path: 'hidden_1',\s+target: 0.5,\s+actual: 0\.[45]\d/);
    expect(output).to.include('retargeted');
  });

  it('has an example of a language model that runs', function () {
    this.timeout(300_000);
    const example = blocks('js').find((code) => code.includes('tfjs-sparsify/language'))!;
    writeFileSync(join(folder, 'language-model.mjs'), example);
    const output = run(process.execPath, ['language-model.mjs']);
    expect(output).to.include('Paris');
    expect(output).to.match(/'sparse_activation' +│ +0\.3\d+/);
  });

  it('has commands that run', () => {
    const commands = blocks('bash').find((code) => code.includes('tfjs-sparsify inspect'))!;
    const main = join(ROOT, 'dist', 'lib', 'cli', 'main.js');
    const script = commands.replaceAll('npx tfjs-sparsify', `'${process.execPath}' '${main}'`);
    const output = run('sh', ['-e', '-c', script]);
    expect(output).to.include('accuracy').and.include('saved to sparser');
  });
});
