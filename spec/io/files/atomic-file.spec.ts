import {mkdirSync, readFileSync, readdirSync} from 'node:fs';
import {expect} from 'chai';
import {writeTextFile} from '../../../lib/io/files/atomic-file.js';
import {checkFilePath} from '../../../lib/io/files/check-file-path.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

describe('writeTextFile', () => {
  const at = temporaryFolder();

  it('replaces what is there, and leaves nothing beside it', async () => {
    write(at('report.html'), 'old');
    await writeTextFile(at('report.html'), 'new');
    expect(readFileSync(at('report.html'), 'utf8')).to.equal('new');
    expect(readdirSync(at())).to.deep.equal(['report.html']);
  });

  it('leaves nothing where the path is a folder', async () => {
    mkdirSync(at('report.html'));
    expect((await failure(writeTextFile(at('report.html'), 'new'))).message).to.include(at('report.html'));
    expect(readdirSync(at())).to.deep.equal(['report.html']);
  });

  it('leaves the old file where the new one cannot be written', async () => {
    write(at('file'), 'old');
    expect((await failure(writeTextFile(at('file/report.html'), 'new'))).code).to.equal('not-a-folder');
    expect(readFileSync(at('file'), 'utf8')).to.equal('old');
  });

  it('names a folder that is missing', async () => {
    const error = await failure(writeTextFile(at('none/report.html'), 'new'));
    expect(error.code).to.equal('missing-file');
    expect(error.message).to.include(at('none'));
  });
});

describe('checkFilePath', () => {
  const at = temporaryFolder();

  it('takes a path that is free, and one of a file', async () => {
    await checkFilePath(at('report.html'));
    await checkFilePath(write(at('report.html'), 'old'));
    expect(readFileSync(at('report.html'), 'utf8')).to.equal('old');
  });

  for (const [what, path, code] of [
    ['a folder that is missing', 'none/report.html', 'missing-file'],
    ['a folder that is a file', 'file/report.html', 'not-a-folder'],
    ['a file that is a folder', 'folder', 'not-a-file'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      write(at('file'), '');
      mkdirSync(at('folder'));
      expect((await failure(checkFilePath(at(path)))).code).to.equal(code);
    });
  }
});
