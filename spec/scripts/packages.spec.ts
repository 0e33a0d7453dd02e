/** @file The npm packages of a checkout, installed by a program in npm's place: what it leaves is what counts here. */
import {expect} from 'chai';
import {spawnSync} from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {delimiter, join} from 'node:path';
import {pathToFileURL} from 'node:url';

/** What a lock file says of one package. */
const lockOf = (version: string): string =>
  JSON.stringify({packages: {'node_modules/some': {version, integrity: `sha512-${version}`}}});

describe('the npm packages of a checkout', () => {
  let checkout: string;
  beforeEach(function () {
    if (process.platform === 'win32') this.skip(); // needs sh
    checkout = realpathSync(mkdtempSync(join(tmpdir(), 'packages-spec-')));
    cpSync(new URL('../../scripts/set-up', import.meta.url), join(checkout, 'scripts', 'set-up'), {
      recursive: true,
    });
    writeFileSync(join(checkout, 'package.json'), '{"type": "module"}');
    writeFileSync(join(checkout, 'package-lock.json'), lockOf('2.0.0'));
    writeFileSync(join(checkout, '.npmrc'), 'fund=false\n');
  });
  afterEach(() => {
    if (checkout !== undefined) rmSync(checkout, {recursive: true});
  });

  /** The packages as an installation of this version leaves them. */
  const place = (version: string): void => {
    mkdirSync(join(checkout, 'node_modules', 'some'), {recursive: true});
    writeFileSync(join(checkout, 'node_modules', 'some', 'index.js'), version);
    writeFileSync(join(checkout, 'node_modules', '.package-lock.json'), lockOf(version));
  };

  /** Installs what is missing with a shell script for npm. */
  const ensure = (npm: string) => {
    mkdirSync(join(checkout, 'bin'), {recursive: true});
    writeFileSync(join(checkout, 'bin', 'npm'), `#!/bin/sh\necho "npm $*"\n${npm}`, {mode: 0o755});
    const module = pathToFileURL(join(checkout, 'scripts', 'set-up', 'packages.mjs')).href;
    const code = `import {ensurePackages} from ${JSON.stringify(module)}; await ensurePackages();`;
    const {status, stdout, stderr} = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      env: {...process.env, PATH: `${join(checkout, 'bin')}${delimiter}${process.env.PATH}`},
      encoding: 'utf8',
    });
    const left = readdirSync(checkout).filter((name) => name.startsWith('node_modules'));
    return {status, stdout, stderr, left};
  };
  const INSTALL = `
    test -f package.json && test -f .npmrc || exit 9
    mkdir -p node_modules/some
    printf installed > node_modules/some/index.js
    cp package-lock.json node_modules/.package-lock.json`;
  const content = () => readFileSync(join(checkout, 'node_modules', 'some', 'index.js'), 'utf8');

  it('are installed where there are none', () => {
    const {status, stdout, stderr, left} = ensure(INSTALL);
    expect(status).to.equal(0);
    expect(stdout).to.match(/^npm ci --ignore-scripts /);
    expect(stderr).to.contain('installing npm packages (none are installed)');
    expect(left).to.deep.equal(['node_modules']);
    expect(content()).to.equal('installed');
  });

  it('are left alone where they are those of the lock file', () => {
    place('2.0.0');
    expect(ensure('exit 1')).to.deep.equal({status: 0, stdout: '', stderr: '', left: ['node_modules']});
  });

  it('are replaced by those of another version, without a rest of the old', () => {
    place('1.0.0');
    writeFileSync(join(checkout, 'node_modules', 'old.js'), '');
    const {status, stderr, left} = ensure(INSTALL);
    expect(status).to.equal(0);
    expect(stderr).to.contain('some 2.0.0 is missing');
    expect(left).to.deep.equal(['node_modules']);
    expect(content()).to.equal('installed');
    expect(existsSync(join(checkout, 'node_modules', 'old.js'))).to.equal(false);
  });

  it('stay as they were when npm fails half-way', () => {
    place('1.0.0');
    const {status, stderr, left} = ensure('mkdir -p node_modules/half\nexit 3');
    expect(status).to.equal(1);
    expect(stderr).to.contain('npm ci ended with code 3');
    expect(left).to.deep.equal(['node_modules']);
    expect(content()).to.equal('1.0.0');
  });

  it('are those of another task that was faster', () => {
    const faster = `
      mkdir -p ${join(checkout, 'node_modules', 'some')}
      printf faster > ${join(checkout, 'node_modules', 'some', 'index.js')}
      cp package-lock.json ${join(checkout, 'node_modules', '.package-lock.json')}`;
    const {status, left} = ensure(`${INSTALL}${faster}`);
    expect(status).to.equal(0);
    expect(left).to.deep.equal(['node_modules']);
    expect(content()).to.equal('faster');
  });
});
