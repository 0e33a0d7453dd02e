import {appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect} from 'chai';
import {stepsBeside, writeModelCard} from '../../lib/cli/write-model-card.js';
import {checkFilePath} from '../../lib/io/files/check-file-path.js';
import {contents} from '../support/report-contents.js';

describe('the card beside a model', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-card-'))));
  afterEach(() => rmSync(folder, {recursive: true}));
  const card = () => join(folder, 'README.md');
  const known = contents(['a', 'b']);
  const write = (name: string) => writeModelCard(folder, {...known, name}, {isLanguageModel: false});

  it('is written, read for its steps, and replaced by the next one', async () => {
    expect(await write('first')).to.be.true;
    expect(await stepsBeside(folder)).to.deep.equal(known.steps);
    expect(await stepsBeside(join(folder, 'model.json'))).to.deep.equal(known.steps);
    expect(await write('second')).to.be.true;
    expect(readFileSync(card(), 'utf8')).to.include('# second').and.not.include('# first');
  });

  for (const {title, change} of [
    {title: 'that was edited', change: () => appendFileSync(card(), 'a word of mine\n')},
    {title: 'of which a figure was changed', change: () => rewrite((text) => text.replace('98.15', '99.15'))},
    {title: 'that is not ours', change: () => writeFileSync(card(), '# My model\n')},
  ]) {
    it(`is not written over one ${title}`, async () => {
      await write('first');
      change();
      const before = readFileSync(card(), 'utf8');
      expect(await write('second')).to.be.false;
      expect(readFileSync(card(), 'utf8')).to.equal(before);
    });
  }

  it('leaves a report that has no folder unwritten, and says so before', async () => {
    const error = await checkFilePath(join(folder, 'no', 'where.html')).catch((reason: Error) => reason);
    expect(error).to.be.an('error').with.property('message').that.includes('does not exist');
    expect(existsSync(join(folder, 'no'))).to.be.false;
  });

  function rewrite(change: (text: string) => string): void {
    writeFileSync(card(), change(readFileSync(card(), 'utf8')));
  }
});
