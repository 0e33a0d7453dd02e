import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {currentDecoding, type Decoding} from '../../lib/kernels/find-decoder-addon.js';
import {
  DECODER_OUTPUT,
  type DecoderModelHandle,
  type DecoderSessionHandle,
} from '../../lib/kernels/decoder-addon.js';
import {seededRandom} from '../../lib/stats/seeded-random.js';
import {describeTfjsNode} from '../support/language/native-decoders.js';
import {normals} from '../support/normals.js';

/** The numbers of a model, in their order (native/shared/decoder-numbers.h). */
const SMALL = {
  ...{hidden: 4, layers: 1, heads: 2, keyHeads: 1, headSize: 2, vocabulary: 5, intermediate: 6, window: 0},
  ...{activation: 0, epsilon: 1e-5, embeddingScale: 1, attentionFactor: 1},
  ...{tied: 0, fused: 0, experts: 0, expertsPerToken: 0, narrow: 0},
};
type Numbers = typeof SMALL;

/** Shapes of the weights in their order (native/shared/decoder-description.h); no Dense has a bias, no head a norm. */
function shapesOf(n: Numbers): number[][] {
  const [queries, keys] = [n.heads * n.headSize, n.keyHeads * n.headSize];
  const dense = (inputs: number, ...units: number[]) =>
    (n.fused === 1 ? [units.reduce((a, b) => a + b)] : units).flatMap((count) => [[inputs, count], [0]]);
  const feed = [...dense(n.hidden, n.intermediate, n.intermediate), ...dense(n.intermediate, n.hidden)];
  const layer = [
    [n.hidden],
    ...dense(n.hidden, queries, keys, keys),
    ...[[0], [0]],
    ...dense(queries, n.hidden),
    [n.hidden],
    ...(n.experts === 0 ? [] : dense(n.hidden, n.experts)),
    ...Array.from({length: Math.max(1, n.experts)}, () => feed).flat(),
  ];
  return [
    [n.vocabulary, n.hidden],
    [n.hidden],
    ...Array.from({length: n.layers}, () => layer).flat(),
    ...dense(n.hidden, n.vocabulary),
  ];
}

type Storage = 'float32' | 'bfloat16' | 'INT8';

/**
 * Weights that every storage holds exactly: whole numbers below 2^7, less a zero point, times a power of 2. So what the
 * decoder computes does not depend on their storage but for the order of its sums.
 */
class ExactWeights {
  readonly tensors: tf.Tensor[] = [];
  readonly words: tf.Tensor[] = [];
  private seed = 1;

  constructor(private readonly storage: Storage) {}

  vector(size: number): void {
    this.tensors.push(tf.tensor1d(normals(size, this.seed++)));
  }

  none(): void {
    this.tensors.push(tf.zeros([0]));
  }

  /** [inputs, units] with a scale a unit. */
  dense(inputs: number, ...units: number[]): void {
    for (const count of units) {
      const matrix = this.matrix(inputs, count, (_, n) => n);
      if (this.storage !== 'INT8') this.tensors.push(matrix.kernel);
      else this.none();
      this.vector(count); // the bias
      this.pushInt8(matrix);
    }
  }

  /** [rows, columns] with a scale a row. */
  embedding(rows: number, columns: number): void {
    const matrix = this.matrix(rows, columns, (row) => row);
    if (this.storage !== 'INT8') this.tensors.push(matrix.kernel);
    else this.none();
    this.pushInt8(matrix);
  }

  dispose(): void {
    tf.dispose([this.tensors, this.words]);
  }

  private matrix(rows: number, columns: number, channelOf: (row: number, column: number) => number) {
    const random = seededRandom(this.seed++);
    const channels = channelOf(rows - 1, columns - 1) + 1;
    const scale = Float32Array.from({length: channels}, (_, c) => 2 ** ((c % 3) - 9));
    const zeroPoint = Float32Array.from({length: channels}, (_, c) => ((7 * c + 3) % 41) - 20);
    const stride = 4 * Math.ceil(columns / 4);
    const bytes = new Int8Array(rows * stride);
    const kernel = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const c = channelOf(row, column);
        const byte = Math.floor(random() * 200) - 100;
        bytes[row * stride + column] = byte;
        kernel[row * columns + column] = scale[c] * (byte - zeroPoint[c]);
      }
    }
    return {
      kernel: tf.tensor2d(kernel, [rows, columns]),
      words: tf.tensor2d(new Int32Array(bytes.buffer), [rows, stride / 4], 'int32'),
      scale: tf.tensor1d(scale),
      zeroPoint: tf.tensor1d(zeroPoint),
    };
  }

  private pushInt8({kernel, words, scale, zeroPoint}: ReturnType<ExactWeights['matrix']>): void {
    if (this.storage === 'INT8') {
      this.tensors.push(scale, zeroPoint);
      this.words.push(words);
      kernel.dispose();
    } else tf.dispose([words, scale, zeroPoint]);
  }
}

describeTfjsNode('the decoder of the addon', () => {
  let decoding: Decoding;
  const handles: (DecoderModelHandle | DecoderSessionHandle)[] = [];
  before(() => {
    decoding = currentDecoding()!;
  });
  afterEach(() => {
    for (const handle of handles.splice(0)) decoding.native.decoderRelease(handle);
  });

  const makeModel = (changes: Partial<Numbers> = {}): DecoderModelHandle => {
    const numbers = {...SMALL, ...changes};
    const frequencies = Array.from({length: numbers.headSize / 2}, () => 1);
    let handle: DecoderModelHandle;
    const description = tf.tensor1d([...Object.values(numbers), ...frequencies]);
    const weights = shapesOf(numbers).map((shape, i) => tf.randomNormal(shape, 0, 1, 'float32', i + 1));
    try {
      handle = decoding.prepare(description, weights, []);
    } finally {
      tf.dispose([description, weights]);
    }
    handles.push(handle);
    return handle;
  };
  const makeSession = (model = makeModel()): DecoderSessionHandle => {
    const session = decoding.native.decoderSession(model, false);
    handles.push(session);
    return session;
  };
  const ids = Int32Array.of(1, 4, 0);
  /** The logits after `ids`, of a session of its own. */
  const expectedLogits = async (): Promise<number[]> => {
    const result = new Float32Array(SMALL.vocabulary);
    await decoding.native.decoderAppend(
      makeSession(),
      ids,
      DECODER_OUTPUT.last,
      result,
      undefined,
      undefined,
    );
    expect(result.every((value) => value !== 0)).to.equal(true);
    return [...result];
  };

  /** A model with a bias in every Dense, and a head's norm. */
  const makeExactModel = (changes: Partial<Numbers>, storage: Storage): DecoderModelHandle => {
    const n = {...SMALL, ...changes, narrow: storage === 'bfloat16' ? 1 : 0};
    const [queries, keys] = [n.heads * n.headSize, n.keyHeads * n.headSize];
    const weights = new ExactWeights(storage);
    const group = (...units: number[]) => (n.fused === 1 ? [units.reduce((a, b) => a + b)] : units);
    weights.embedding(n.vocabulary, n.hidden);
    weights.vector(n.hidden);
    for (let layer = 0; layer < n.layers; layer++) {
      weights.vector(n.hidden);
      weights.dense(n.hidden, ...group(queries, keys, keys));
      weights.vector(n.headSize);
      weights.vector(n.headSize);
      weights.dense(queries, n.hidden);
      weights.vector(n.hidden);
      weights.dense(n.hidden, ...group(n.intermediate, n.intermediate));
      weights.dense(n.intermediate, n.hidden);
    }
    weights.dense(n.hidden, n.vocabulary);
    const frequencies = Array.from({length: n.headSize / 2}, (_, i) => 0.3 ** i);
    const description = tf.tensor1d([...Object.values(n), ...frequencies]);
    try {
      const handle = decoding.prepare(description, weights.tensors, weights.words);
      handles.push(handle);
      return handle;
    } finally {
      description.dispose();
      weights.dispose();
    }
  };

  /** Logits after each of `count` tokens at once, after one more alone, after one more in a step of two, and scores. */
  const everything = async (
    model: DecoderModelHandle,
    vocabulary: number,
    count: number,
  ): Promise<number[]> => {
    const {native} = decoding;
    const tokens = Int32Array.from({length: count}, (_, i) => (i * 37 + 11) % vocabulary);
    const [one, other] = [makeSession(model), makeSession(model)];
    const all = new Float32Array(count * vocabulary);
    const [alone, scores] = [new Float32Array(vocabulary), new Float32Array(count)];
    const steps = [new Float32Array(vocabulary), new Float32Array(vocabulary)];
    const targets = tokens.map((id) => (id + vocabulary - 1) % vocabulary);
    await native.decoderAppend(one, tokens, DECODER_OUTPUT.all, all, undefined, undefined);
    await native.decoderAppend(one, tokens.slice(0, 1), DECODER_OUTPUT.last, alone, undefined, undefined);
    await native.decoderAppend(other, tokens, DECODER_OUTPUT.scores, scores, targets, undefined);
    await native.decoderStep!([one, other], Int32Array.of(1, 2), steps, undefined);
    return [all, alone, ...steps, scores].flatMap((part) => [...part]);
  };

  describe('computes the same whatever the storage of weights', () => {
    const models: [string, Partial<Numbers>, number][] = [
      ['a small one', {hidden: 37, layers: 2, heads: 3, vocabulary: 43, intermediate: 29}, 33],
      [
        'a small one, fused',
        {hidden: 40, heads: 4, keyHeads: 2, fused: 1, vocabulary: 43, intermediate: 35},
        13,
      ],
      ['kernels of more than 4 M weights', {hidden: 1024, intermediate: 4200, vocabulary: 5}, 14],
      ['a vocabulary beyond 8,192', {hidden: 61, intermediate: 70, vocabulary: 16_400}, 3],
    ];
    for (const [what, numbers, count] of models) {
      it(`of ${what}, for ${count} tokens at once and one by one`, async () => {
        const vocabulary = numbers.vocabulary ?? SMALL.vocabulary;
        const expected = await everything(makeExactModel(numbers, 'float32'), vocabulary, count);
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        expect(largest).to.be.within(1, 1e4);
        const single = makeSession(makeExactModel(numbers, 'float32'));
        for (let i = 0; i < count; i++) {
          const logits = new Float32Array(vocabulary);
          const token = Int32Array.of((i * 37 + 11) % vocabulary);
          await decoding.native.decoderAppend(
            single,
            token,
            DECODER_OUTPUT.last,
            logits,
            undefined,
            undefined,
          );
          const worst = logits.reduce(
            (most, value, n) => Math.max(most, Math.abs(value - expected[i * vocabulary + n])),
            0,
          );
          expect(worst / largest, `token ${i} alone`).to.be.below(1e-4);
        }
        for (const storage of ['bfloat16', 'INT8'] as const) {
          const actual = await everything(makeExactModel(numbers, storage), vocabulary, count);
          expect(actual.length).to.equal(expected.length);
          const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
          // Sums of up to 4,200 products in another order, through a few layers.
          expect(worst / largest, storage).to.be.below(1e-4);
        }
      });
    }
  });

  describe('goes on with another model', () => {
    for (const changes of [{}, {narrow: 1}]) {
      it(`of the same numbers ${JSON.stringify(changes)}`, async () => {
        const session = makeSession();
        await decoding.native.decoderAppend(session, ids, 0, new Float32Array(5), undefined, undefined);
        decoding.native.decoderSetModel(session, makeModel(changes));
      });
    }

    const others: Partial<Numbers>[] = [
      ...[{hidden: 5}, {layers: 2}, {heads: 3}, {headSize: 4}, {heads: 2, keyHeads: 2}, {vocabulary: 6}],
      ...[{intermediate: 7}, {window: 3}, {activation: 1}, {epsilon: 1e-6}, {embeddingScale: 2}],
      ...[{attentionFactor: 2}, {tied: 1}, {fused: 1}, {experts: 1, expertsPerToken: 1}],
      {fused: 1, experts: 2, expertsPerToken: 1}, // as many Dense layers as without both
    ];
    for (const changes of others) {
      it(`not of other numbers: ${JSON.stringify(changes)}`, async () => {
        const session = makeSession();
        const result = new Float32Array(SMALL.vocabulary);
        const append = () =>
          decoding.native.decoderAppend(session, ids, DECODER_OUTPUT.last, result, undefined, undefined);
        expect(() => decoding.native.decoderSetModel(session, makeModel(changes))).to.throw(
          'decoder: the model has other shapes',
        );
        await append(); // and goes on with its own
        expect([...result]).to.deep.equal(await expectedLogits());
      });
    }

    it('of which tokens a step has more', () => {
      const two = makeModel({experts: 2, expertsPerToken: 1});
      const session = makeSession(two);
      expect(() =>
        decoding.native.decoderSetModel(session, makeModel({experts: 2, expertsPerToken: 2})),
      ).to.throw('decoder: the model has other shapes');
    });
  });

  describe('while it computes', () => {
    it('needs none of the arrays that it was given', async () => {
      const expected = await expectedLogits();
      const [tokens, result] = [ids.slice(), new Float32Array(SMALL.vocabulary)];
      const thresholds = new Float32Array(8).fill(-Infinity);
      const session = makeSession();
      const promise = decoding.native.decoderAppend(
        ...([session, tokens, DECODER_OUTPUT.last, result, undefined, thresholds] as const),
      );
      for (const array of [tokens, thresholds]) structuredClone(array.buffer, {transfer: [array.buffer]});
      const elsewhere = structuredClone(result, {transfer: [result.buffer]});
      const given = await promise;
      expect([...given]).to.deep.equal(expected);
      expect([...elsewhere]).to.deep.equal([0, 0, 0, 0, 0]);
      expect(result.length).to.equal(0);
    });

    it('needs no targets, and gives scores as it does undisturbed', async () => {
      const [targets, scores] = [Int32Array.of(4, 0, 2), new Float32Array(3)];
      const score = (session: DecoderSessionHandle, into: Float32Array, wanted: Int32Array) =>
        decoding.native.decoderAppend(session, ids, DECODER_OUTPUT.scores, into, wanted, undefined);
      const expected = [...(await score(makeSession(), scores, targets))];
      expect([...scores]).to.deep.equal(expected);
      const given = score(makeSession(), scores, targets);
      structuredClone(targets.buffer, {transfer: [targets.buffer]});
      structuredClone(scores.buffer, {transfer: [scores.buffer]});
      expect([...(await given)]).to.deep.equal(expected);
    });

    it('needs no results of a step', async () => {
      const expected = await expectedLogits();
      const model = makeModel();
      const sessions = [makeSession(model), makeSession(model)];
      for (const session of sessions) {
        await decoding.native.decoderAppend(
          ...([session, ids.slice(0, 2), 0, new Float32Array(5), undefined, undefined] as const),
        );
      }
      const results = sessions.map(() => new Float32Array(SMALL.vocabulary));
      const promise = decoding.native.decoderStep!(sessions, Int32Array.of(0, 0), results, undefined);
      structuredClone(results[1], {transfer: [results[1].buffer]});
      const [first, second] = await promise;
      expect(first).to.equal(results[0]);
      for (const logits of [first, second]) {
        logits.forEach((value, i) => expect(value).to.be.closeTo(expected[i], 1e-5));
      }
    });

    it('gives the array that it was given, if that is still there', async () => {
      const result = new Float32Array(SMALL.vocabulary);
      const given = await decoding.native.decoderAppend(
        ...([makeSession(), ids, DECODER_OUTPUT.last, result, undefined, undefined] as const),
      );
      expect(given).to.equal(result);
      expect([...result]).to.deep.equal(await expectedLogits());
    });
  });

  describe('refuses', () => {
    const call = (session: unknown, tokens: unknown, result: unknown, thresholds?: unknown) => () =>
      decoding.native.decoderAppend(
        session as DecoderSessionHandle,
        tokens as Int32Array,
        DECODER_OUTPUT.last,
        result as Float32Array,
        undefined,
        thresholds as Float32Array | undefined,
      );
    const result = new Float32Array(SMALL.vocabulary);

    it('what is no session', () => {
      for (const session of [{}, 1, makeModel()]) {
        expect(call(session, ids, result)).to.throw('decoder: this is no');
      }
    });
    it('tokens that are none, of no number or out of range', () => {
      const session = makeSession();
      expect(call(session, [1], result)).to.throw('typed array of the right type');
      expect(call(session, new Int32Array(0), result)).to.throw('at least one token');
      for (const id of [-1, 5]) {
        expect(call(session, Int32Array.of(0, id), result)).to.throw('an id is out of range');
      }
    });
    it('a result of another size or type', () => {
      const session = makeSession();
      for (const size of [0, 4, 6]) {
        expect(call(session, ids, new Float32Array(size))).to.throw('a result has another size');
      }
      expect(call(session, ids, new Float64Array(5))).to.throw('typed array of the right type');
    });
    it('thresholds of another number', () => {
      expect(call(makeSession(), ids, result, new Float32Array(7))).to.throw('a threshold for each Dense');
    });
    it('targets of another number or out of range', () => {
      const scores = new Float32Array(ids.length);
      for (const [targets, problem] of [
        [Int32Array.of(1, 2), 'a target for each token'],
        [Int32Array.of(1, 2, 3, 4), 'a target for each token'],
        [Int32Array.of(1, 2, 5), 'an id is out of range'],
      ] as const) {
        const score = () =>
          decoding.native.decoderAppend(
            ...([makeSession(), ids, DECODER_OUTPUT.scores, scores, targets, undefined] as const),
          );
        expect(score).to.throw(problem);
      }
    });
    it('a step with a session twice, or with another number of tokens or results', () => {
      const model = makeModel();
      const sessions = [makeSession(model), makeSession(model)];
      const results = [new Float32Array(5), new Float32Array(5)];
      const step = (...args: Parameters<NonNullable<Decoding['native']['decoderStep']>>) => {
        return () => decoding.native.decoderStep!(...args);
      };
      const two = Int32Array.of(1, 2);
      expect(step([sessions[0], sessions[0]], two, results, undefined)).to.throw('one token a step');
      expect(step(sessions, Int32Array.of(1), results, undefined)).to.throw('a token for each session');
      expect(step(sessions, two, results.slice(1), undefined)).to.throw('a result for each session');
      expect(step([], two, results, undefined)).to.throw('at least one session');
    });
    it('a cache that is neither narrow nor wide', () => {
      const narrow = undefined as unknown as boolean;
      expect(() => decoding.native.decoderSession(makeModel(), narrow)).to.throw(
        'whether the cache is narrow',
      );
    });
  });
});
