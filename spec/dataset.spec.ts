import {readFileSync} from 'node:fs';
import {Readable} from 'node:stream';

import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';

import {Dataset, type DatasetOptions, type DataSource} from '../lib/dataset.js';
import {DatasetError} from '../lib/errors.js';

const {cases} = JSON.parse(readFileSync(new URL('fixtures/nncf/dataset.json', import.meta.url), 'utf8')) as {
  cases: {name: string; result?: unknown; error?: object}[];
};

const LIST = [10, 11, 12, 13, 14];
const double = (x: number) => x * 2;

function* generate(): Generator<number> {
  yield* LIST;
}

async function* generateAsync(): AsyncGenerator<number> {
  for (const x of LIST) {
    yield await Promise.resolve(x);
  }
}

function webStream(): ReadableStream<number> {
  return new ReadableStream({
    start(controller) {
      for (const x of LIST) {
        controller.enqueue(x);
      }
      controller.close();
    },
  });
}

/** An iterable without a length that can be walked again. */
const iterable: Iterable<number> = {[Symbol.iterator]: generate};
const asyncIterable: AsyncIterable<number> = {[Symbol.asyncIterator]: generateAsync};

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

async function errorOf(act: () => unknown): Promise<DatasetError> {
  try {
    await act();
  } catch (error) {
    expect(error).to.be.instanceOf(DatasetError);
    return error as DatasetError;
  }
  throw new Error('expected a DatasetError');
}

const inputs = <T, U>(source: DataSource<T>, indices?: number[], transform?: (item: T) => U) =>
  collect(new Dataset(source, transform).getInferenceData(indices));

/** NNCF's cases by name; those that need a model are `sparsifyActivations`' matter. */
const ACTS: Record<string, () => unknown> = {
  list_inference_data: () => inputs(LIST),
  list_transform: () => inputs(LIST, undefined, double),
  get_data_skips_transform: () => collect(new Dataset(LIST, double).getData()),
  indices_list: () => inputs(LIST, [0, 2, 4], double),
  indices_unsorted_on_indexable_keep_order: () => inputs(LIST, [3, 1]),
  indices_duplicate_on_indexable: () => inputs(LIST, [1, 1]),
  indices_negative_on_indexable: () => inputs(LIST, [-1]),
  indices_out_of_range_on_indexable: () => inputs(LIST, [1, 99]),
  indices_empty: () => inputs(LIST, []),
  indices_unsorted_on_iterable_are_sorted: () => inputs(iterable, [3, 1]),
  indices_out_of_range_on_iterable: () => inputs(iterable, [1, 99]),
  length_list: () => new Dataset(LIST).length,
  length_iterable_without_len: () => new Dataset(iterable).length,
  length_tensor_is_first_dim: () => {
    const source = tf.ones([3, 2]);
    const {length} = new Dataset(source);
    source.dispose();
    return length;
  },
  tensor_source_iterates_first_dim: async () => {
    const source = tf.ones([3, 2, 4]);
    const shapes = await inputs(source, undefined, (row: tf.Tensor) => row.shape);
    source.dispose();
    return shapes;
  },
  re_iterable_list: async () => {
    const dataset = new Dataset(LIST);
    return [await collect(dataset.getInferenceData()), await collect(dataset.getInferenceData())];
  },
  one_shot_generator_second_pass: async () => {
    const dataset = new Dataset(generate());
    return [await collect(dataset.getInferenceData()), await collect(dataset.getInferenceData())];
  },
  transform_is_lazy: async () => {
    const seen: number[] = [];
    const data = new Dataset(LIST, (x: number) => (seen.push(x), x)).getInferenceData();
    return [(await data.next()).value, seen];
  },
  batch_size_attr: () => new Dataset(Object.assign([...LIST], {batchSize: 7})).batchSize,
  batch_size_absent: () => new Dataset(LIST).batchSize,
};

/** Where this project does what NNCF means rather than what it does. */
const DEVIATIONS = ['indices_duplicate_on_iterable', 'transform_calls_for_4_items'];

describe('Dataset', () => {
  let tensors: number;
  before(async () => {
    await tf.setBackend('cpu');
  });
  beforeEach(() => {
    tensors = tf.memory().numTensors;
  });
  afterEach(() => {
    expect(tf.memory().numTensors).to.equal(tensors);
  });

  describe("NNCF's cases", () => {
    for (const {name, result, error} of cases) {
      if (name.startsWith('sparsify_') || DEVIATIONS.includes(name)) {
        continue;
      }
      it(name, async () => {
        expect(ACTS).to.have.property(name);
        if (error) {
          expect((await errorOf(ACTS[name])).code).to.equal('index-out-of-range');
        } else {
          expect(await ACTS[name]()).to.deep.equal(result);
        }
      });
    }
    it('indices_duplicate_on_iterable, but without losing later ones', async () => {
      expect(await inputs(iterable, [1, 1, 2])).to.deep.equal([11, 11, 12]);
    });
    it('transform_calls_for_4_items, but none for tracing', async () => {
      let calls = 0;
      await inputs([1, 2, 3, 4], undefined, () => calls++);
      expect(calls).to.equal(4);
    });
    it('knows all others', () => {
      const others = cases.map(({name}) => name).filter((name) => !name.startsWith('sparsify_'));
      expect(others).to.have.members([...Object.keys(ACTS), ...DEVIATIONS]);
    });
  });

  const sources: [string, () => DataSource<number>, {reiterable: boolean; length: number | null}][] = [
    ['an array', () => LIST, {reiterable: true, length: 5}],
    ['a typed array', () => Uint8Array.from(LIST), {reiterable: true, length: 5}],
    ['a Set', () => new Set(LIST), {reiterable: true, length: 5}],
    ['an iterable', () => iterable, {reiterable: true, length: null}],
    ['an async iterable', () => asyncIterable, {reiterable: true, length: null}],
    ['a generator function', () => generate, {reiterable: true, length: null}],
    ['an async generator function', () => generateAsync, {reiterable: true, length: null}],
    ['a generator', () => generate(), {reiterable: false, length: null}],
    ['an async generator', () => generateAsync(), {reiterable: false, length: null}],
    ['an array iterator', () => LIST.values(), {reiterable: false, length: null}],
    ['a Node stream', () => Readable.from(LIST) as AsyncIterable<number>, {reiterable: false, length: null}],
    ['a web stream', () => webStream(), {reiterable: false, length: null}],
    ['a tf.data.Dataset', () => tf.data.array(LIST), {reiterable: true, length: 5}],
    ['a tf.data.generator', () => tf.data.generator(generate), {reiterable: true, length: null}],
  ];
  for (const [what, make, properties] of sources) {
    describe(`over ${what}`, () => {
      it('yields every item, transformed, and says what it knows', async () => {
        const dataset = new Dataset(make(), double);
        expect(dataset).to.include(properties);
        expect(await collect(dataset.getInferenceData())).to.deep.equal(LIST.map(double));
        const again = await collect(dataset.getInferenceData());
        expect(again).to.deep.equal(properties.reiterable ? LIST.map(double) : []);
      });
      it('yields items as they are', async () => {
        expect(await collect(new Dataset(make(), double).getData())).to.deep.equal(LIST);
      });
      it('selects by index', async () => {
        expect(await inputs(make(), [1, 3], double)).to.deep.equal([22, 26]);
        expect(await inputs(make(), [])).to.deep.equal([]);
      });
    });
  }

  it('gives an index as often as asked for, on any kind of source', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(LIST.length - 1)), async (indices) => {
        expect(await inputs(LIST, indices)).to.deep.equal(indices.map((i) => LIST[i]));
        const ascending = indices.toSorted((a, b) => a - b);
        expect(await inputs(generate(), indices)).to.deep.equal(ascending.map((i) => LIST[i]));
      }),
      {numRuns: 50},
    );
  });

  it('awaits an async transform', async () => {
    expect(await inputs(LIST, undefined, (x: number) => Promise.resolve(x + 1))).to.deep.equal([
      11, 12, 13, 14, 15,
    ]);
  });

  it('passes on what the transform throws, and disposes of the item', async () => {
    const source = tf.ones([2, 2]);
    const fail = () => {
      throw new RangeError('no');
    };
    let caught: unknown;
    await collect(new Dataset(source, fail).getInferenceData()).catch((error: unknown) => (caught = error));
    expect(caught).to.be.instanceOf(RangeError);
    source.dispose();
  });

  it('reads a sequence no further than the last index', async () => {
    let read = 0;
    function* count() {
      for (;;) {
        yield read++;
      }
    }
    expect(await inputs(count, [2, 0])).to.deep.equal([0, 2]);
    expect(read).to.equal(3);
  });

  it('closes a generator that is left early', async () => {
    let closed = false;
    function* closing() {
      try {
        yield* LIST;
      } finally {
        closed = true;
      }
    }
    for await (const item of new Dataset(closing()).getInferenceData()) {
      expect(item).to.equal(10);
      break;
    }
    expect(closed).to.equal(true);
  });

  describe('tensors', () => {
    it('of a pass live until the next item', async () => {
      const source = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
      let last: tf.Tensor | null = null;
      for await (const row of new Dataset<tf.Tensor>(source).getInferenceData()) {
        expect(last?.isDisposed ?? true).to.equal(true);
        expect(row.isDisposed).to.equal(false);
        last = row;
      }
      expect(last?.isDisposed).to.equal(true);
      expect(source.isDisposed).to.equal(false);
      source.dispose();
    });
    it('hold the rows of a tensor', async () => {
      const source = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
      const rows = await inputs(source, [-1, 0], (row: tf.Tensor) => [...row.dataSync()]);
      expect(rows).to.deep.equal([
        [5, 6],
        [1, 2],
      ]);
      source.dispose();
    });
    it('are disposed of when a pass is left early', async () => {
      const source = tf.ones([3, 2]);
      for await (const row of new Dataset(source, (x: tf.Tensor) => [x, x.mul(2)]).getInferenceData()) {
        expect(row).to.have.length(2);
        break;
      }
      source.dispose();
    });
    it('that a transform makes are disposed of, those in items of an array are not', async () => {
      const items = [{xs: tf.ones([2]), ys: tf.zeros([1])}];
      const dataset = new Dataset(items, ({xs, ys}) => ({xs: xs.mul(2), ys}));
      for (let pass = 0; pass < 2; pass++) {
        const sums: number[] = [];
        for await (const {xs, ys} of dataset.getInferenceData()) {
          sums.push(tf.tidy(() => xs.sum().add(ys.sum()).dataSync()[0]));
        }
        expect(sums).to.deep.equal([4]);
      }
      tf.dispose(items);
    });
    it('of generated items are disposed of on request, after the last use of the item', async () => {
      const make = function* () {
        for (;;) {
          yield tf.scalar(1);
        }
      };
      const dataset = new Dataset(make, null, {disposeItems: true});
      const values: number[] = [];
      for await (const item of dataset.getInferenceData([0, 1, 1])) {
        values.push(item.dataSync()[0]);
      }
      expect(values).to.deep.equal([1, 1, 1]);
    });
    it('of a tf.data.Dataset are disposed of', async () => {
      const xs = [tf.ones([2]), tf.ones([2])];
      const dataset = new Dataset(tf.data.array(xs).batch(2));
      for (let pass = 0; pass < 2; pass++) {
        const shapes: number[][] = [];
        for await (const batch of dataset.getData()) {
          shapes.push((batch as tf.Tensor).shape);
        }
        expect(shapes).to.deep.equal([[2, 2]]);
      }
      tf.dispose(xs);
    });
    it('of a tf.data.Dataset are disposed of when skipped or left early', async () => {
      const dataset = new Dataset<tf.Tensor>(tf.data.generator(generate).batch(1));
      const values: number[] = [];
      for await (const item of dataset.getData([2])) {
        values.push(item.dataSync()[0]);
      }
      for await (const item of dataset.getData()) {
        values.push(item.dataSync()[0]);
        break;
      }
      expect(values).to.deep.equal([12, 10]);
    });
    it('of rank 0 are no source', async () => {
      const scalar = tf.scalar(1);
      expect((await errorOf(() => new Dataset(scalar))).message).to.include('rank 1 or more');
      scalar.dispose();
    });
  });

  it('takes length and batch size from its options', () => {
    expect(new Dataset(generate, null, {length: 5, batchSize: 1})).to.include({length: 5, batchSize: 1});
    expect(new Dataset(generate, null, {length: 0}).length).to.equal(0);
    expect(new Dataset(tf.data.array(LIST).repeat()).length).to.equal(null);
  });

  for (const options of [{length: -1}, {length: NaN}, {batchSize: 1.5}, {batchSize: '8'}]) {
    it(`rejects ${JSON.stringify(options)}`, async () => {
      const error = await errorOf(() => new Dataset(LIST, null, options as unknown as DatasetOptions));
      expect(error.code).to.equal('invalid-option');
    });
  }

  for (const [what, source] of [
    ['null', null],
    ['undefined', undefined],
    ['a string', 'data.csv'],
    ['a number', 5],
    ['a plain object', {xs: 1}],
    ['a DataView', new DataView(new ArrayBuffer(8))],
  ] as [string, unknown][]) {
    it(`rejects ${what} as a source`, async () => {
      const error = await errorOf(() => new Dataset(source as number[]));
      expect(error.code).to.equal('unsupported-source');
      expect(error.message).to.include('it must be an array');
    });
  }

  it('rejects a function that returns no iterable', async () => {
    const error = await errorOf(() => inputs((() => 5) as unknown as () => Iterable<number>));
    expect(error.message).to.include('returned 5');
  });

  it('rejects a transform that is no function', async () => {
    const error = await errorOf(() => new Dataset(LIST, 'double' as unknown as typeof double));
    expect(error.code).to.equal('invalid-transform');
  });

  for (const [source, index, code] of [
    [LIST, 5, 'index-out-of-range'],
    [LIST, -6, 'index-out-of-range'],
    [LIST, 0.5, 'invalid-index'],
    [iterable, -1, 'invalid-index'],
    [iterable, NaN, 'invalid-index'],
  ] as [DataSource<number>, number, string][]) {
    it(`rejects the index ${index} on ${Array.isArray(source) ? 'an array' : 'an iterable'}`, async () => {
      expect((await errorOf(() => inputs(source, [index]))).code).to.equal(code);
    });
  }
});
