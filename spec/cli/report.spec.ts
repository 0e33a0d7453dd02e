import {createHash} from 'node:crypto';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {urlOf} from '../support/child.js';
import {cli} from '../support/cli.js';

const digits = (name: string) => fileURLToPath(urlOf(`models/digits/${name}`));
const SCALE = ['--scale', '0.00392156862745098'];
const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

describe('tfjs-sparsify report', function () {
  this.timeout(120_000); // processes
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-report-'));
    const data = ['--data', digits('calibration-images.npy'), ...SCALE, '--batches', '2'];
    const args = ['sparsify', digits('model.json'), ...data, '--target', '.*=0.5', '--out', at('sparse')];
    const {code, stderr} = await cli([...args, '--report', at('sparsify.html')]);
    expect(code, stderr).to.equal(0);
  });
  after(() => rmSync(folder, {recursive: true}));

  it('--report of sparsify and the card beside the model say how it was made', () => {
    for (const file of ['sparsify.html', 'sparse/README.md']) {
      const text = readFileSync(at(file), 'utf8');
      expect(text).to.include('tfjs-sparsify sparsify').and.include('hidden_2');
      for (const input of ['model.json', 'calibration-images.npy']) {
        expect(text, `${file}, ${input}`).to.include(sha256(digits(input)));
      }
      // Of the folders of this machine nothing goes along.
      expect(text, file).to.include('--out sparse').and.not.include(folder);
      expect(text, file).to.match(
        /models\/digits\/model\.json --data models\/digits\/calibration-images\.npy/,
      );
      expect(text, file).to.not.include(dirname(digits('model.json')));
    }
  });

  it('measures what it shows, and shows what it measures', async () => {
    const test = [
      '--data',
      digits('test-images.npy'),
      '--labels',
      digits('test-labels.npy'),
      '--batches',
      '4',
    ];
    const args = ['report', at('sparse'), ...SCALE, ...test, '--out', at('report.html'), '--json'];
    const {code, stdout, stderr} = await cli(args);
    expect(code, stderr).to.equal(0);
    const {contents} = JSON.parse(stdout) as {
      contents: {
        quality: {rows: {name: string; values: number[]}[]; on: string};
        measured: {layers: {path: string; actual: number; outputError: number}[]};
        latency: {rows: {isDense: boolean; ms: number}[]};
      };
    };
    expect(contents.quality.on).to.equal('test-images.npy, 128 items');
    expect(contents.quality.rows.map(({name}) => name)).to.deep.equal(['dense (thresholds off)', 'sparse']);
    expect(contents.latency.rows.map(({isDense}) => isDense)).to.deep.equal([true, false]);
    const page = readFileSync(at('report.html'), 'utf8');
    for (const {values} of contents.quality.rows)
      expect(page).to.include(`${(100 * values[0]).toFixed(2)} %`);
    expect(contents.measured.layers).to.have.length(3);
    for (const {actual, outputError} of contents.measured.layers) {
      expect(actual).to.be.within(0.4, 0.6);
      expect(outputError).to.be.within(1e-6, 0.5);
      expect(page).to.include(`${(100 * actual).toFixed(1)} %`);
    }
  });

  it('is refused for labels without data', async () => {
    const {code, stderr} = await cli(['report', at('sparse'), '--labels', digits('test-labels.npy')]);
    expect(code).to.equal(2);
    expect(stderr).to.include('--data');
  });
});
