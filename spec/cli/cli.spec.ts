import {once} from 'node:events';
import {existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:http';
import {createRequire} from 'node:module';
import type {AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {normals} from '../support/normals.js';
import {finished, urlOf, type Finished} from '../support/child.js';
import {cli, startCli} from '../support/cli.js';

/** The tfjs of this project, as a data module in another folder must name it; `import.meta.resolve` is not in every loader. */
const TFJS = pathToFileURL(createRequire(import.meta.url).resolve('@tensorflow/tfjs')).href;

const INPUTS = 8;
const ITEMS = 40;

/** A classifier of 3 classes, a Sequential that starts with a layer other than Dense, as trained ones do. */
function smallModel(): tf.LayersModel {
  const {batchNormalization, dense} = tf.layers;
  return tf.sequential({
    layers: [
      batchNormalization({name: 'scale', inputShape: [INPUTS]}),
      dense({name: 'hidden', units: 16, activation: 'relu'}),
      dense({name: 'head', units: 3, activation: 'softmax'}),
    ],
  });
}

/** Rows of numbers as JSON lines. */
function jsonLines(rows: number, seed: number): string {
  const values = normals(rows * INPUTS, seed);
  const lines = Array.from({length: rows}, (_, i) =>
    JSON.stringify([...values.subarray(i * INPUTS, (i + 1) * INPUTS)]),
  );
  return lines.join('\n') + '\n';
}

/** A `.npy` file, as NumPy's format has it: magic, version 1.0, a header padded to 128 bytes, the values. */
function npyOf(descr: string, shape: readonly number[], values: Uint8Array | Float32Array): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
  const start = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${header.padEnd(117)}\n`, 'latin1');
  return Buffer.concat([start, new Uint8Array(values.buffer)]);
}

/** A module whose default export is a generator of batches; `body` makes them. */
function dataModule(body: string): string {
  return `import * as tf from '${TFJS}';\nexport default function* () { ${body} }\n`;
}

function json(result: Finished): unknown {
  expect(result.code, result.stderr).to.equal(0);
  return JSON.parse(result.stdout);
}

function fails(result: Finished, code: number, ...words: string[]): void {
  expect(result.stderr).to.not.match(/\n +at /); // no stack: the text is for users
  for (const word of words) expect(result.stderr).to.include(word);
  expect(result.code, result.stderr).to.equal(code);
  expect(result.stdout).to.equal('');
}

describe('the command line', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-cli-'));
    await tf.setBackend('cpu');
    const model = smallModel();
    await saveLayersModel(model, at('dense'));
    model.dispose();
    writeFileSync(at('data.jsonl'), jsonLines(ITEMS, 1));
    writeFileSync(at('bytes.npy'), npyOf('|u1', [ITEMS, INPUTS], new Uint8Array(ITEMS * INPUTS).fill(200)));
    writeFileSync(at('labels.jsonl'), Array.from({length: ITEMS}, (_, i) => `${i % 3}\n`).join(''));
  });
  after(() => rmSync(folder, {recursive: true, force: true}));

  it('goes on when nobody reads its output any more', async () => {
    const child = startCli(['--help']);
    child.stdout!.destroy();
    let said = '';
    child.stderr!.on('data', (text: Buffer) => (said += text.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect(said).to.equal('');
    expect(code).to.equal(0);
  });

  it('says what there is, with an example, and its version', async () => {
    const help = await cli(['--help']);
    expect(help.code).to.equal(0);
    for (const word of ['inspect', 'sparsify', 'evaluate', 'retarget', 'doctor', 'Example:'])
      expect(help.stdout).to.include(word);
    const {version} = JSON.parse(readFileSync(new URL(urlOf('package.json')), 'utf8')) as {version: string};
    expect(await cli(['--version'])).to.deep.equal({code: 0, stdout: `${version}\n`, stderr: ''});
  });

  it('warns of a target that thresholds cannot meet, with the reason, in the output and in the card', async () => {
    const signs = Array.from({length: ITEMS}, (_, i) =>
      JSON.stringify(Array.from({length: INPUTS}, (_, k) => ((i + k) % 3 === 0 ? -1 : 1))),
    );
    writeFileSync(at('signs.jsonl'), signs.join('\n'));
    const sparsify = ['sparsify', at('dense'), '--data', at('signs.jsonl'), '--target', 'hidden=0.5'];
    const reason = '100.0 % of its inputs have the magnitude 0.9995: a threshold masks all of them or none';
    const nncf = await cli([...sparsify, '--calibration', 'nncf', '--out', at('signs')]);
    expect(nncf.code, nncf.stderr).to.equal(0);
    expect(nncf.stdout).to.match(/hidden .* 50\.0 % +100\.0 %/);
    expect(nncf.stderr).to.include('\nwarning: 1 of 1 layers do not mask the share that was asked:\n');
    expect(nncf.stderr).to.include(`"hidden": 100.0 % is reached where 50.0 % was asked; ${reason}`);
    expect(readFileSync(join(at('signs'), 'README.md'), 'utf8')).to.include(reason);
    const pooled = json(await cli([...sparsify, '--out', at('signs'), '--json'])) as {
      layers: {reached: number | null}[];
      warnings: {code: string; message: string}[];
    };
    expect(pooled.layers[0].reached).to.equal(0);
    expect(pooled.warnings.map(({code}) => code)).to.deep.equal(['target-missed']);
    expect(pooled.warnings[0].message).to.include(reason);
    const retarget = ['retarget', at('signs'), '--target', 'hidden=0.7', '--out', at('signs')];
    expect((await cli(retarget)).stderr).to.include('"hidden": 0.0 % is reached where 70.0 % was asked');
  });

  it('sparsifies, inspects, evaluates and retargets', async () => {
    const sparsified = await cli([
      'sparsify',
      at('dense'),
      ...[
        '--data',
        at('data.jsonl'),
        '--target',
        'hidden=50%',
        '--target',
        'head=0.25',
        '--out',
        at('sparse'),
      ],
      ...['--batch-size', '16', '--json'],
    ]);
    const {out, layers} = json(sparsified) as {out: string; layers: object[]};
    expect(sparsified.stderr).to.match(/^calibrating: 3 batches, [\d.]+ a second\n$/);
    expect(out).to.equal(at('sparse'));
    expect(layers.map((layer) => Object.keys(layer).sort())[0]).to.deep.equal(
      [
        ...['path', 'inputSize', 'units', 'weightShare', 'format', 'bytes'],
        ...['sparsified', 'target', 'reached', 'threshold'],
      ].sort(),
    );

    expect(json(await cli(['inspect', at('sparse'), '--json']))).to.deep.equal({layers});

    const evaluate = ['evaluate', at('sparse'), '--data', at('data.jsonl'), '--labels', at('labels.jsonl')];
    const evaluated = json(await cli([...evaluate, '--baseline', at('dense'), '--json'])) as {
      models: {model: string; metric: string; items: number; value: number; latencyMs: number}[];
      sparsity: {path: string; target: number; actual: number}[];
    };
    expect(evaluated.models.map(({model, metric, items}) => ({model, metric, items}))).to.deep.equal(
      ['dense', 'sparse'].map((name) => ({model: at(name), metric: 'accuracy', items: ITEMS})),
    );
    expect(evaluated.sparsity.map(({path, target}) => [path, target])).to.deep.equal([
      ['hidden', 0.5],
      ['head', 0.25],
    ]);
    expect(evaluated.sparsity[0].actual).to.be.closeTo(0.5, 2 / ITEMS); // a batch holds whole items

    const part = await cli([...evaluate, '--batches', '1', '--batch-size', '10']);
    expect(part.code, part.stderr).to.equal(0);
    expect(part.stdout).to.include('accuracy').and.include('10 items').and.include('actual');

    const retargeted = await cli(['retarget', at('sparse'), '--target', '.*=0.9', '--out', at('sparse')]);
    expect(retargeted.code, retargeted.stderr).to.equal(0);
    expect(retargeted.stdout)
      .to.match(/hidden .* 90\.0 %/)
      .and.include(`saved to ${at('sparse')}`);
  });

  it('compresses, and sparsifies with INT8 weights', async () => {
    const compress = [
      'compress',
      at('dense'),
      '--mode',
      'int8_sym',
      '--ignore',
      'head',
      '--out',
      at('small'),
    ];
    const {out, weights} = json(await cli([...compress, '--json'])) as {
      out: string;
      weights: {path: string; format: string}[];
    };
    expect(out).to.equal(at('small'));
    expect(weights.map(({path, format}) => [path, format])).to.deep.equal([
      ['hidden', 'int8_sym'],
      ['head', 'float32'],
    ]);
    fails(
      await cli(['compress', at('dense'), '--mode', 'int4', '--out', at('no')]),
      2,
      'int8_asym',
      'int8_sym',
    );
    const data = ['--data', at('data.jsonl'), '--target', '.*=0.5', '--out', at('both')];
    const both = await cli(['sparsify', at('small'), '--compress', 'int8_asym', ...data]);
    expect(both.code, both.stderr).to.equal(0);
    expect(both.stdout)
      .to.match(/^hidden .* int8_sym .* 50\.0 %/m)
      .and.match(/^head .* int8_asym .* 50\.0 %/m);
  });

  it('compresses to INT4, by a ratio on data too, and sparsifies with INT4 weights', async () => {
    const data = ['--data', at('data.jsonl')];
    const int4 = ['--mode', 'int4_sym', '--group-size', '4', '--all-layers'];
    const formats = async (...args: string[]) => {
      const result = await cli(['compress', at('dense'), ...args, '--out', at('tiny'), '--json']);
      const {weights} = json(result) as {weights: {path: string; format: string}[]};
      return weights.map(({path, format}) => `${path} ${format}`);
    };
    expect(await formats(...int4)).to.deep.equal(['hidden int4_sym', 'head int4_sym']);
    // The ratio has room for either of 128 and 48 weights, and not for both.
    const chosen = await formats(...int4, '--backup-mode', 'none', '--ratio', '80%', ...data);
    expect(chosen.map((line) => line.split(' ')[1])).to.have.members(['float32', 'int4_sym']);
    expect(readFileSync(join(at('tiny'), 'README.md'), 'utf8')).to.include('  - int4');
    fails(
      await cli(['compress', at('dense'), '--mode', 'int4_sym', '--out', at('no')]),
      2,
      'group size 128',
      'hidden',
    );
    fails(
      await cli(['compress', at('dense'), '--group-size', '4', '--out', at('no')]),
      2,
      'int8_asym',
      'groupSize',
    );
    const both = ['sparsify', at('dense'), ...data, '--target', '.*=0.5', '--out', at('both4')];
    const result = await cli([...both, '--compress', 'int4_asym', '--group-size', '-1']);
    expect(result.code, result.stderr).to.equal(0);
    expect(result.stdout)
      .to.match(/^hidden .* int4_asym .* 50\.0 %/m)
      .and.match(/^head .* int8_asym .* 50\.0 %/m);
    fails(await cli([...both, '--group-size', '4']), 2, 'groupSize', '--compress int4_asym');
    const aware = await cli([...both, '--compress', 'int4_asym', '--group-size', '-1', '--with-data']);
    expect(aware.code, aware.stderr).to.equal(0);
    fails(await cli([...both, '--with-data']), 2, '--with-data', '--compress int4_asym');
    fails(
      await cli([...both, '--compress', 'int4_asym', '--with-data', '--stream']),
      2,
      '--with-data',
      '--stream',
    );
    fails(await cli(['compress', at('dense'), ...int4, '--with-data', '--out', at('no')]), 2, '--data');
    expect(await formats(...int4, '--with-data', ...data)).to.deep.equal([
      'hidden int4_sym',
      'head int4_sym',
    ]);
    const shown = await cli(['inspect', at('both4')]);
    expect(shown.stdout).to.match(/^hidden .* int4_asym /m);
  });

  it('takes a module as data, another backend, and saves no statistics if told so', async () => {
    writeFileSync(
      at('data.mjs'),
      dataModule(`for (let i = 0; i < 9; i++) yield tf.randomNormal([4, ${INPUTS}])`),
    );
    const data = ['--data', at('data.mjs'), '--batches', '3', '--target', '.*=0.5', '--ignore', 'head'];
    const options = ['--calibration', 'nncf', '--no-statistics', '--out', at('lean')];
    const result = await cli(['sparsify', at('dense'), ...data, ...options, '--backend', 'wasm']);
    expect(result.code, result.stderr).to.equal(0);
    expect(result.stderr).to.include('calibrating: 3 batches');
    expect(result.stdout).to.match(/^head .* - +-$/m);
    const retarget = ['retarget', at('lean'), '--target', 'hidden=0.9', '--out', at('never')];
    fails(await cli(retarget), 1, 'statistics', 'without --no-statistics');
    expect(existsSync(at('never'))).to.equal(false);
  });

  it('loads a model over http', async () => {
    const server = createServer(({url = ''}, response) => {
      const file = at(join('dense', url));
      if (existsSync(file)) response.end(readFileSync(file));
      else response.writeHead(404).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const result = await cli(['inspect', `${base}/model.json`]);
      expect(result.code, result.stderr).to.equal(0);
      expect(result.stdout).to.match(/^hidden +8 +16/m);
      fails(await cli(['inspect', `${base}/none.json`]), 1, '404');
    } finally {
      server.close();
    }
  });

  it('stops at Ctrl-C without a trace of the result', async () => {
    writeFileSync(
      at('endless.mjs'),
      dataModule(
        `for (let i = 0; ; i++) { if (i === 2) console.error('running'); yield tf.ones([2, ${INPUTS}]); }`,
      ),
    );
    const args = ['--data', at('endless.mjs'), '--target', '.*=0.5', '--out', at('stopped')];
    const child = startCli(['sparsify', at('dense'), ...args]);
    child.stderr!.once('data', () => child.kill('SIGINT'));
    fails(await finished(child), 130, 'stopped; nothing was written');
    expect(existsSync(at('stopped'))).to.equal(false);
  });

  describe('ends with 2 on wrong use', () => {
    const sparsify = (...args: string[]) => cli(['sparsify', at('dense'), '--out', at('wrong'), ...args]);

    it('of commands and options', async () => {
      fails(await cli([]), 2, 'Usage:');
      fails(await cli(['inspct']), 2, 'Did you mean inspect?');
      fails(await sparsify('--data', 'x.npy', '--target', '.*=1.2'), 2, '1.2', '[0, 1]');
    });

    it('of patterns, formats and backends', async () => {
      const misspelt = await sparsify('--data', at('data.jsonl'), '--target', 'hiden=0.5');
      fails(misspelt, 2, '--target or --bounds: pattern "hiden"', '"hidden"', 'tfjs-sparsify inspect');
      expect(misspelt.stderr).to.not.include('validate');
      fails(await sparsify('--data', 'x.csv', '--target', '.*=0.5'), 2, '.jsonl');
      fails(await sparsify('--data', at('data.mjs'), '--scale', '2', '--target', '.*=0.5'), 2, '--scale');
      fails(await cli(['inspect', at('dense')], {SPARSIFY_BACKEND: 'cpuu'}), 2, 'did you mean cpu?');
    });

    it('of bytes without a scale', async () => {
      const args = ['--data', at('bytes.npy'), '--target', '.*=0.5'];
      fails(await sparsify(...args), 2, 'bytes', '--scale 0.00392156862745098', '--scale 1');
      const scaled = await cli(['sparsify', at('dense'), ...args, '--scale', '1', '--out', at('bytes')]);
      expect(scaled.code, scaled.stderr).to.equal(0);
    });

    it('of places to save to, before it calibrates', async () => {
      const args = ['--data', at('data.jsonl'), '--target', '.*=0.5', '--out'];
      fails(await cli(['sparsify', at('dense'), ...args, 'https://example.com/x']), 2, '"https"');
    });
  });

  it('ends with 1 if files are missing, malformed or of other items', async () => {
    fails(await cli(['inspect', at('none')]), 1, 'model.json does not exist');
    const onData = (file: string) =>
      cli(['sparsify', at('dense'), '--data', at(file), '--target', '.*=0.5', '--out', at('wrong')]);
    writeFileSync(at('flat.npy'), npyOf('<f4', [INPUTS], new Float32Array(INPUTS)));
    fails(await onData('flat.npy'), 1, `[items, ${INPUTS}]`, `[1, ${INPUTS}]`);
    writeFileSync(at('nan.jsonl'), '[1, NaN]\n');
    fails(await onData('nan.jsonl'), 1, 'nan.jsonl, line 1', 'NaN, a number that JSON does not have');
    writeFileSync(at('short.jsonl'), '0\n1\n');
    const data = ['evaluate', at('dense'), '--data', at('data.jsonl'), '--labels'];
    fails(await cli([...data, at('short.jsonl')]), 1, '2 labels');
    const args = ['--data', at('data.jsonl'), '--target', '.*=0.5', '--out', at('data.jsonl')];
    fails(await cli(['sparsify', at('dense'), ...args]), 1, 'is a file');
    expect(readdirSync(folder)).to.not.include('wrong');
  });
});
