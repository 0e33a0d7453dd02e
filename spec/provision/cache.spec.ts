import {expect} from 'chai';
import {mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {homedir, tmpdir} from 'node:os';
import {join} from 'node:path';
import {cacheFolder, publishFolder, readJson, removePartials, writeJson} from '../../lib/provision/cache.js';
import {recentFailure, rememberFailure} from '../../lib/provision/failures.js';
import {bindingPath, packageFolderOf} from '../../lib/provision/node-package/package-folder.js';

describe("set-up's cache", () => {
  let folder: string;
  const {PATH, XDG_CACHE_HOME} = process.env;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cache-spec-'));
  });
  afterEach(() => {
    process.env.PATH = PATH;
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
    rmSync(folder, {recursive: true});
  });

  it('is where XDG_CACHE_HOME says, unless that is no absolute path', () => {
    process.env.XDG_CACHE_HOME = folder;
    expect(cacheFolder()).to.equal(join(folder, 'tfjs-sparsify'));
    for (const elsewhere of ['', 'relative']) {
      process.env.XDG_CACHE_HOME = elsewhere;
      expect(cacheFolder()).to.equal(join(homedir(), '.cache', 'tfjs-sparsify'));
    }
  });

  describe('publishFolder', () => {
    it('replaces what was there, and shows nothing before all is there', async () => {
      const target = join(folder, 'made');
      mkdirSync(target);
      writeFileSync(join(target, 'old'), '');
      await publishFolder(target, async (partial) => {
        writeFileSync(join(partial, 'new'), 'text');
        expect(readdirSync(target)).to.deep.equal(['old']);
        await Promise.resolve();
      });
      expect(readdirSync(folder)).to.deep.equal(['made']);
      expect(readdirSync(target)).to.deep.equal(['new']);
    });

    it('leaves what was there, and nothing else, when it fails', async () => {
      const target = join(folder, 'made');
      mkdirSync(target);
      const error: unknown = await publishFolder(target, async (partial) => {
        writeFileSync(join(partial, 'half'), '');
        await Promise.reject(new Error('no more'));
      }).catch((e: unknown) => e);
      expect(error).to.have.property('message', 'no more');
      expect(readdirSync(folder)).to.deep.equal(['made']);
    });
  });

  it('loses what was left half-made, and only that', () => {
    for (const name of ['partial-1-a', 'made', 'not-partial-1']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'partial-1-a', 'half'), '');
    removePartials(folder);
    expect(readdirSync(folder).sort()).to.deep.equal(['made', 'not-partial-1']);
  });

  it('reads the JSON that it wrote; what is missing or damaged counts as missing', async () => {
    const path = join(folder, 'deep', 'some.json');
    expect(readJson(path)).to.equal(undefined);
    await writeJson(path, {a: [1]});
    expect(readJson(path)).to.deep.equal({a: [1]});
    expect(readFileSync(path, 'utf8')).to.match(/\}\n$/);
    expect(readdirSync(join(folder, 'deep'))).to.deep.equal(['some.json']);
    writeFileSync(path, '{"a": [');
    expect(readJson(path)).to.equal(undefined);
  });

  describe('failures', () => {
    it('are remembered by subject, for an hour, while PATH is the same', async () => {
      await rememberFailure(folder, 'one', {reason: 'it broke', help: 'mend it'});
      expect(recentFailure(folder, 'one')).to.include({reason: 'it broke', help: 'mend it'});
      expect(recentFailure(folder, 'another')).to.equal(undefined);
      process.env.PATH = `${PATH}:/elsewhere`;
      expect(recentFailure(folder, 'one')).to.equal(undefined);
      process.env.PATH = PATH;
      const [file] = readdirSync(join(folder, 'failures'));
      const path = join(folder, 'failures', file);
      const minutesAgo = (minutes: number) =>
        writeJson(path, {...readJson(path), at: Date.now() - minutes * 60_000});
      await minutesAgo(59);
      expect(recentFailure(folder, 'one')).to.include({reason: 'it broke'});
      await minutesAgo(60);
      expect(recentFailure(folder, 'one')).to.equal(undefined);
    });

    it('are not remembered where nothing can be written, without an error', async () => {
      writeFileSync(join(folder, 'file'), '');
      await rememberFailure(join(folder, 'file'), 'one', {reason: 'it broke', help: ''});
      expect(recentFailure(join(folder, 'file'), 'one')).to.equal(undefined);
    });
  });

  it("finds the newest native part of tfjs-node that this Node's N-API loads", () => {
    const supported = Number(process.versions.napi);
    const make = (version: string) => {
      const parts = join(folder, 'lib', `napi-v${version}`);
      mkdirSync(parts, {recursive: true});
      writeFileSync(join(parts, 'tfjs_binding.node'), '');
      return join(parts, 'tfjs_binding.node');
    };
    expect(bindingPath(folder)).to.equal(undefined);
    mkdirSync(join(folder, 'lib', 'other'), {recursive: true});
    make(String(supported + 1));
    expect(bindingPath(folder)).to.equal(undefined);
    const three = make('3');
    expect(bindingPath(folder)).to.equal(three);
    const newest = make(String(supported));
    expect(bindingPath(folder)).to.equal(newest);
    rmSync(newest);
    expect(bindingPath(folder)).to.equal(three);
  });

  it('finds a package as Node does: from the nearest folder up, from the first start that has it', () => {
    const make = (place: string) => {
      const path = join(folder, place, 'node_modules', '@spec', 'some');
      mkdirSync(path, {recursive: true});
      writeFileSync(join(path, 'package.json'), '{}');
      return path;
    };
    const [outer, inner] = [make(''), make('a/b')];
    mkdirSync(join(folder, 'a', 'b', 'c'));
    mkdirSync(join(folder, 'a', 'node_modules', '@spec', 'some'), {recursive: true}); // without a manifest: none
    const find = (...from: string[]) =>
      packageFolderOf(
        '@spec/some',
        from.map((part) => join(folder, part)),
      );
    expect(find('a/b/c', '')).to.equal(inner);
    expect(find('a')).to.equal(outer);
    expect(find('', 'a/b')).to.equal(outer);
    expect(packageFolderOf('@spec/none', [folder])).to.equal(undefined);
  });
});
