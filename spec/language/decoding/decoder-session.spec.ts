import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {DecoderSession, type PrefillPolicy} from '../../../lib/language/decoding/decoder-session.js';
import type {AppendOptions, Decoder} from '../../../lib/language/decoding/decoder.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {disposeModels} from '../../support/backends.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';

describe('a decoder session', () => {
  const config = smallConfigs().get('llama')!;
  let model: tf.LayersModel;
  before(async () => {
    await tf.setBackend('cpu');
    model = await randomModel(config);
    sparsifyEverything(model);
  });
  after(() => disposeModels(model));

  const sessions: DecoderSession[] = [];
  afterEach(() => {
    for (const session of sessions.splice(0)) session.dispose();
  });
  const PROMPT = randomIds(6, config.vocabularySize, 1);

  /** A session whose decoder tells what it computes: `[dense, ids]` of each call. */
  const start = () => {
    const decoder = createGraphDecoder(model, config);
    const calls: [boolean, number[]][] = [];
    const told: Decoder = Object.create(decoder, {
      append: {
        value: (ids: ArrayLike<number>, options: AppendOptions = {}) => {
          calls.push([options.dense === true, Array.from(ids)]);
          return decoder.append(ids, options);
        },
      },
      length: {get: () => decoder.length},
    }) as Decoder;
    const session = new DecoderSession(told);
    sessions.push(session);
    return {session, calls, decoder};
  };

  for (const [policy, expected] of [
    ['sparse', [[false, PROMPT]]],
    ['dense', [[true, PROMPT]]],
    [0, [[false, PROMPT]]],
    [
      2,
      [
        [true, PROMPT.slice(0, 2)],
        [false, PROMPT.slice(2)],
      ],
    ],
    [6, [[true, PROMPT]]],
    [9, [[true, PROMPT]]],
  ] as [PrefillPolicy, [boolean, number[]][]][]) {
    it(`computes a prompt with the policy ${policy}`, async () => {
      const {session, calls} = start();
      await session.prefill(PROMPT, policy);
      expect(calls).to.deep.equal(expected);
    });
  }

  it('computes generated tokens sparse after a dense prompt, and dense up to the number of a policy', async () => {
    const {session, calls} = start();
    await session.prefill(PROMPT, 'dense');
    await session.next(5, 'dense', PROMPT.length);
    await session.next(6, 8, PROMPT.length); // position 7 of the first 8
    await session.next(7, 8, PROMPT.length);
    await session.next(8, 'sparse', PROMPT.length);
    expect(calls.slice(1)).to.deep.equal([
      [false, [5]],
      [true, [6]],
      [false, [7]],
      [false, [8]],
    ]);
  });

  it('goes on where a prompt is the same, and computes its last token again for the logits', async () => {
    const {session, calls, decoder} = start();
    const first = (await session.prefill(PROMPT, 'sparse')).slice();
    expect(session.reusable(PROMPT, 'sparse')).to.equal(5);
    const again = (await session.prefill(PROMPT, 'sparse')).slice();
    expect(calls[1]).to.deep.equal([false, PROMPT.slice(5)]);
    expect(Math.max(...again.map((value, i) => Math.abs(value - first[i])))).to.be.below(1e-4);
    const longer = [...PROMPT, 3, 4];
    expect(session.reusable(longer, 'sparse')).to.equal(6);
    expect(session.reusable([...PROMPT.slice(0, 3), 95, 96], 'sparse')).to.equal(PROMPT[3] === 95 ? 4 : 3);
    expect(session.reusable([95 - PROMPT[0], 1], 'sparse')).to.equal(0);
    await session.prefill([...PROMPT.slice(0, 3), 95], 'sparse');
    expect(decoder.length).to.equal(4);
    expect(calls[2]).to.deep.equal([false, [95]]);
  });

  it('never takes what was computed sparse for dense, nor the other way round', async () => {
    const {session, calls} = start();
    await session.prefill(PROMPT, 'sparse');
    expect(session.reusable(PROMPT, 'dense')).to.equal(0);
    expect(session.reusable(PROMPT, 2)).to.equal(0);
    expect(session.reusable(PROMPT, 0)).to.equal(5);
    await session.prefill(PROMPT, 'dense');
    expect(calls[1]).to.deep.equal([true, PROMPT]);
    expect(session.reusable(PROMPT, 'sparse')).to.equal(0);
    expect(session.reusable(PROMPT, 2)).to.equal(2);
    // A generated token was sparse; as part of the next prompt it would be dense.
    await session.next(7, 'dense', PROMPT.length);
    expect(session.reusable([...PROMPT, 7, 8], 'dense')).to.equal(6);
  });

  it('keeps what was computed before it was stopped', async () => {
    const {session, calls} = start();
    const long = randomIds(600, config.vocabularySize, 2);
    const controller = new AbortController();
    const work = session.prefill(long, 'sparse', controller.signal);
    controller.abort(new Error('enough'));
    let reason: unknown;
    await work.catch((error: unknown) => (reason = error));
    expect(reason).to.have.property('message', 'enough');
    expect(calls.map(([, ids]) => ids.length)).to.deep.equal([512]);
    expect(session.reusable(long, 'sparse')).to.equal(512);
  });

  it('gives several sessions a step together, and each knows its own tokens', async () => {
    const [a, b] = [start(), start()];
    await a.session.prefill(PROMPT, 'dense');
    await b.session.prefill(PROMPT.slice(0, 3), 'sparse');
    const step = {policy: 'sparse' as const, promptLength: 6};
    await DecoderSession.nextTogether([
      {session: a.session, id: 5, policy: 8, promptLength: 6},
      {session: b.session, id: 9, ...step},
    ]);
    expect(a.session.reusable([...PROMPT, 5, 1], 8)).to.equal(7);
    expect(a.session.reusable([...PROMPT, 5, 1], 6)).to.equal(6);
    expect(b.session.reusable([...PROMPT.slice(0, 3), 9, 1], 'sparse')).to.equal(4);
    expect([a.decoder.length, b.decoder.length]).to.deep.equal([7, 4]);
  });
});
