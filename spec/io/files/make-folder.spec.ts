import {readFileSync, statSync} from 'node:fs';
import {expect} from 'chai';
import {FileError} from '../../../lib/errors.js';
import {makeFolder} from '../../../lib/io/files/make-folder.js';
import {temporaryFolder, write} from '../../support/io/files.js';

describe('makeFolder', () => {
  const at = temporaryFolder();
  const failed = (path: string): Promise<unknown> => makeFolder(path).catch((error: unknown) => error);

  it('makes a folder with those above it, and says whether it was there', async () => {
    expect(await makeFolder(at('a/b/c'))).to.equal(true);
    expect(statSync(at('a/b/c')).isDirectory()).to.equal(true);
    expect(await makeFolder(at('a/b/c'))).to.equal(false);
    expect(await makeFolder(at('a/b'))).to.equal(false);
    expect(await makeFolder(at('a/d'))).to.equal(true);
  });

  it('leaves a file that lies in its place, and says so', async () => {
    write(at('file'), 'mine');
    expect(await failed(at('file')))
      .to.include({code: 'EEXIST'})
      .and.not.be.instanceOf(FileError);
    expect(readFileSync(at('file'), 'utf8')).to.equal('mine');
  });

  it('gives a failure of the system on', async () => {
    write(at('file'), '');
    for (const path of [at('file/b'), at('file/b/c')]) {
      expect(await failed(path))
        .to.include({code: 'ENOTDIR'})
        .and.not.be.instanceOf(FileError);
    }
  });

  it('says where the file system takes no folders', async function () {
    if (process.platform !== 'linux') this.skip(); // /proc is Linux's
    for (const path of ['/proc/a', '/proc/a/b']) {
      const error = await failed(path);
      expect(error).to.be.instanceOf(FileError).and.include({
        code: 'no-permission',
        message: '/proc/a cannot be made: the file system there takes no new folders; choose another place',
      });
      expect(error).to.have.deep.property('data', {path: '/proc/a'});
      expect(error).to.have.nested.property('cause.code', 'ENOENT');
    }
  });
});
