import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
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

  it('is not known of a model in what is no folder', async () => {
    writeFileSync(join(folder, 'file'), '');
    expect(await said(() => stepsBeside(join(folder, 'file', 'model.json')))).to.deep.equal([[], []]);
    expect(await said(() => stepsBeside(join(folder, 'none', 'model.json')))).to.deep.equal([[], []]);
    expect(await said(() => stepsBeside(folder))).to.deep.equal([[], []]);
  });

  it('is left alone, with a word, where it cannot be read', async () => {
    mkdirSync(card());
    const [steps, [line, ...more]] = await said(() => stepsBeside(folder));
    expect(steps).to.deep.equal([]);
    expect(line).to.include(card()).and.include(': what made the model is not known');
    expect(more).to.deep.equal([]);
    const [isWritten, [why]] = await said(() => write('first'));
    expect(isWritten).to.be.false;
    expect(why).to.include(card()).and.include(': it stays as it is, without a card for this model');
    expect(statSync(card()).isDirectory()).to.be.true;
  });

  it('says that it is left alone where it is not ours', async () => {
    writeFileSync(card(), '# My model\n');
    expect((await said(() => write('first')))[1]).to.deep.equal([
      `${card()} is not ours or was edited: it stays as it is`,
    ]);
    expect((await said(() => stepsBeside(folder)))[0]).to.deep.equal([]);
  });

  it('lies beside a model.json, in the folder of a file URL too', async () => {
    const {steps} = known;
    expect(await writeModelCard(join(folder, 'model.json'), known, {isLanguageModel: true})).to.be.true;
    expect(readFileSync(card(), 'utf8')).to.match(
      /<!-- sha256 of the above: [0-9a-f]{64}; edited, this file is left as it is -->\n$/,
    );
    expect(await stepsBeside(`file://${folder}`)).to.deep.equal(steps);
    expect(await stepsBeside(`file://${folder}/MODEL.JSON`)).to.deep.equal(steps);
    writeFileSync(join(folder, 'm.gguf'), '');
    expect(await stepsBeside(join(folder, 'm.gguf'))).to.deep.equal(steps);
  });

  /** What is given back, and the lines on stderr. */
  async function said<T>(work: () => Promise<T>): Promise<[T, string[]]> {
    const lines: string[] = [];
    const {error} = console;
    console.error = (line: string) => lines.push(line);
    try {
      return [await work(), lines];
    } finally {
      console.error = error;
    }
  }

  function rewrite(change: (text: string) => string): void {
    writeFileSync(card(), change(readFileSync(card(), 'utf8')));
  }
});
