import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {currentDecoding, type Decoding} from '../../lib/kernels/decoding.js';
import {
  DECODER_OUTPUT,
  type DecoderModelHandle,
  type DecoderSessionHandle,
} from '../../lib/kernels/native-decoding.js';
import {describeNative} from '../models/llama/native-decoders.js';

/** The numbers of a model, in their order (native/decoder-numbers.h). */
const SMALL = {
  ...{hidden: 4, layers: 1, heads: 2, keyHeads: 1, headSize: 2, vocabulary: 5, intermediate: 6, window: 0},
  ...{activation: 0, epsilon: 1e-5, embeddingScale: 1, attentionFactor: 1},
  ...{tied: 0, fused: 0, experts: 0, expertsPerToken: 0, narrow: 0},
};
type Numbers = typeof SMALL;

/** Shapes of the weights in their order (native/decoder-model.h); no Dense has a bias, no head a norm. */
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

describeNative('the decoder of the addon', () => {
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
    it('a cache that is neither narrow nor wide', () => {
      const narrow = undefined as unknown as boolean;
      expect(() => decoding.native.decoderSession(makeModel(), narrow)).to.throw(
        'whether the cache is narrow',
      );
    });
  });
});
