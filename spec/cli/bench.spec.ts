import {expect} from 'chai';
import {fileURLToPath} from 'node:url';
import {urlOf} from '../support/child.js';
import {cli} from '../support/cli.js';

const DIGITS = fileURLToPath(urlOf('models/digits/model.json'));
const IMAGES = fileURLToPath(urlOf('models/digits/test-images.npy'));

interface Result {
  readonly model: string;
  readonly backend: string;
  readonly rows: number;
  readonly skipsRows: boolean;
  readonly layers: readonly {
    readonly path: string;
    readonly inputSize: number;
    readonly units: number;
    readonly rows: number;
    readonly calls: number;
    readonly denseMs: number;
    readonly times: readonly {readonly sparsity: number; readonly ms: number}[];
    readonly breakEven: number | null;
  }[];
  readonly denseMs: number;
  readonly predicted: readonly {readonly sparsity: number; readonly ms: number; readonly speedup: number}[];
  readonly measured: readonly {readonly sparsity: number; readonly ms: number; readonly speedup: number}[];
}

const SPARSITIES = [0, 0.3, 0.5, 0.7, 0.9];

describe('tfjs-sparsify bench', () => {
  const data = ['--data', IMAGES, '--scale', '0.00392156862745098'];
  const cases = [
    {title: 'random inputs', args: [], rows: 1},
    {title: 'data and several rows', args: [...data, '--rows', '3'], rows: 3},
  ];
  for (const {title, args, rows} of cases) {
    it(`times every layer and the model on ${title}`, async () => {
      const {code, stdout, stderr} = await cli(['bench', DIGITS, '--json', ...args]);
      expect(code, stderr).to.equal(0);
      const result = JSON.parse(stdout) as Result;
      expect(result).to.include({model: DIGITS, backend: 'cpu', rows, skipsRows: true});
      expect(result.layers).to.have.length.above(1);
      expect(result.layers[0].inputSize).to.equal(784);
      for (const layer of result.layers) {
        expect(layer).to.include({rows, calls: 1});
        expect(layer.times.map(({sparsity}) => sparsity)).to.deep.equal(SPARSITIES);
        for (const ms of [layer.denseMs, ...layer.times.map(({ms}) => ms)]) expect(ms).to.be.above(0);
        if (layer.breakEven !== null) expect(layer.breakEven).to.be.within(0, 0.9);
      }
      expect(result.predicted.map(({sparsity}) => sparsity)).to.deep.equal(SPARSITIES);
      expect(result.measured.map(({sparsity}) => sparsity)).to.deep.equal([0.5]);
      for (const {ms, speedup} of result.measured) expect(ms * speedup).to.be.closeTo(result.denseMs, 1e-9);
    });
  }

  it('says where each layer breaks even', async () => {
    const {code, stdout, stderr} = await cli(['bench', DIGITS]);
    expect(code, stderr).to.equal(0);
    expect(stdout).to.match(/: faster (dense|sparsified)/m);
    expect(stdout).to.include('measured at 50 %').and.not.include('no kernel');
  });

  it('says whether the backend skips rows at all', async () => {
    const env = {SPARSIFY_BACKEND: 'wasm'};
    const {skipsRows} = JSON.parse((await cli(['bench', DIGITS, '--json'], env)).stdout) as Result;
    const {stdout} = await cli(['bench', DIGITS], env);
    expect(stdout.includes('backend wasm has no kernel that skips rows')).to.equal(!skipsRows);
  });

  it('--help gives an example, the shape of --json and the exit codes', async () => {
    const {stdout} = await cli(['bench', '--help']);
    for (const part of ['$ tfjs-sparsify bench', 'Output of --json, one object:', 'Exit code: 0, or 1 '])
      expect(stdout).to.include(part);
  });

  it('refuses more rows than the data have', async () => {
    const {code, stderr} = await cli(['bench', DIGITS, ...data, '--rows', '100000']);
    expect(code).to.equal(1);
    expect(stderr).to.include('--rows is 100000');
  });
});
