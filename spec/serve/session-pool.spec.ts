import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import type {DecoderSession} from '../../lib/language/decoding/decoder-session.js';
import type {LanguageModel} from '../../lib/language/language-model.js';
import {loadLanguageModel} from '../../lib/language/load-language-model.js';
import {PREFILL, SessionPool} from '../../lib/serve/worker/session-pool.js';
import '../support/backends.js';

const TINY = fileURLToPath(new URL('../fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url));
const SYSTEM = [1, 2, 3, 4, 5, 6];
const {signal} = new AbortController();
/** After everything that was only waiting for its turn. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the sessions of a language model', () => {
  let lm: LanguageModel;
  let bytesPerToken: number;
  before(async () => {
    lm = await loadLanguageModel(TINY);
    const {layers, keyHeads, headSize} = lm.config;
    bytesPerToken = layers * 2 * keyHeads * headSize * 4; // keys and values, float32
  });
  after(() => lm.dispose());
  const poolOf = (tokens: number, maxIdle = 4) => new SessionPool(lm, tokens * bytesPerToken, maxIdle);

  it('are taken again by a prompt that begins alike, which computes the rest alone', async () => {
    const pool = poolOf(100);
    const first = await pool.acquire([...SYSTEM, 7], 20, signal);
    await first.prefill([...SYSTEM, 7], PREFILL);
    await first.next(8, PREFILL, SYSTEM.length + 1);
    const other = await pool.acquire([9], 20, signal);
    await other.prefill([9], PREFILL);
    pool.release(first);
    pool.release(other);
    const again = await pool.acquire([...SYSTEM, 10, 11], 20, signal);
    expect(again).to.equal(first);
    expect(again.reusable([...SYSTEM, 10, 11], PREFILL)).to.equal(SYSTEM.length);
    const logits = Array.from(await again.prefill([...SYSTEM, 10, 11], PREFILL));
    const decoder = lm.decoder();
    const fresh = await decoder.append([...SYSTEM, 10, 11], {dense: true});
    const scale = Math.max(...fresh.map(Math.abs));
    fresh.forEach((value, i) => expect(logits[i]).to.be.closeTo(value, 1e-5 * scale)); // other orders of summing
    decoder.dispose();
    pool.release(again);
    pool.dispose();
  });

  it('wait while the others have what the cache may take, in their order', async () => {
    const pool = poolOf(30);
    const first = await pool.acquire([1], 20, signal);
    const order: string[] = [];
    const second = pool.acquire([1], 20, signal).then((session) => (order.push('second'), session));
    const third = pool.acquire([1], 5, signal).then((session) => (order.push('third'), session));
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).to.deep.equal([]); // the third would fit, and would overtake
    expect(pool.bytes).to.equal(20 * bytesPerToken);
    pool.release(first);
    for (const session of [await second, await third]) pool.release(session);
    expect(order).to.deep.equal(['second', 'third']);
    pool.dispose();
  });

  it('are refused to what the cache never holds, and to who has gone while waiting', async () => {
    const pool = poolOf(30);
    const tooMany = await pool.acquire([1], 31, signal).catch((error: Error) => error);
    expect(tooMany).to.have.property('code', 'cache-too-small');
    const first = await pool.acquire([1], 30, signal);
    const controller = new AbortController();
    const waiting = pool.acquire([1], 1, controller.signal).catch((error: Error) => error);
    controller.abort(new Error('gone'));
    expect(await waiting).to.have.property('message', 'gone');
    pool.release(first);
    pool.release(await pool.acquire([1], 30, signal));
    pool.dispose();
  });

  it('start together only where they fit together', async () => {
    const pool = poolOf(30);
    const first = await pool.acquire([1], 30, signal);
    const started: DecoderSession[] = [];
    const waiting = [20, 20, 10].map((tokens) =>
      pool.acquire([1], tokens, signal).then((session) => started.push(session)),
    );
    pool.release(first);
    await waiting[0];
    await settled();
    expect(started).to.have.length(1); // 20 fit alone, and 40 do not
    expect(pool.bytes).to.equal(20 * bytesPerToken);
    pool.release(started[0]);
    await Promise.all(waiting);
    expect(started).to.have.length(3);
    expect(pool.bytes).to.equal(30 * bytesPerToken);
    started.slice(1).forEach((session) => pool.release(session));
    pool.dispose();
  });

  it('are not held up by one that has gone from the front', async () => {
    const pool = poolOf(30);
    const first = await pool.acquire([1], 20, signal);
    const controller = new AbortController();
    const large = pool.acquire([1], 30, controller.signal).catch((error: Error) => error.message);
    const small = pool.acquire([1], 10, signal);
    controller.abort(new Error('gone'));
    expect(await large).to.equal('gone');
    pool.release(await small); // while the first still has its 20
    pool.release(first);
    pool.release(await pool.acquire([1], 30, signal)); // nothing is promised to who has gone
    pool.dispose();
  });

  it('are taken by nobody who had gone before', async () => {
    const pool = poolOf(30);
    const gone = AbortSignal.abort(new Error('gone'));
    for (const held of [0, 30]) {
      const others = held === 0 ? [] : [await pool.acquire([1], held, signal)];
      const error = await pool.acquire([1], 10, gone).catch((error: Error) => error);
      expect(error).to.have.property('message', 'gone');
      expect(pool.bytes).to.equal(held * bytesPerToken);
      others.forEach((session) => pool.release(session));
    }
    pool.dispose();
  });

  it('keep what they were promised when the signal comes after they have started', async () => {
    const pool = poolOf(30);
    const first = await pool.acquire([1], 30, signal);
    const controller = new AbortController();
    const waiting = pool.acquire([1], 30, controller.signal);
    pool.release(first);
    controller.abort(new Error('gone'));
    pool.release(await waiting);
    pool.release(await pool.acquire([1], 30, signal));
    pool.dispose();
  });

  it('promise nothing to one that cannot be made', async () => {
    const broken = {config: lm.config, decoder: () => { throw new Error('no memory'); }} as unknown as LanguageModel; // prettier-ignore
    const pool = new SessionPool(broken, 30 * bytesPerToken, 4);
    for (const _ of [1, 2]) {
      const error = await pool.acquire([1], 30, signal).catch((error: Error) => error);
      expect(error).to.have.property('message', 'no memory');
    }
    expect(pool.bytes).to.equal(0);
  });

  it('are left to whom they are of use by a prompt that begins otherwise', async () => {
    const pool = poolOf(100);
    const idle = await pool.acquire([2, 2], 10, signal);
    await idle.prefill([2, 2], PREFILL);
    pool.release(idle);
    const other = await pool.acquire([9, 9], 10, signal);
    expect(other).not.to.equal(idle);
    expect(await pool.acquire([2, 2, 2], 10, signal)).to.equal(idle);
    for (const session of [idle, other]) pool.release(session);
    pool.dispose();
  });

  it('go before the cache would hold more than it may, the oldest first', async () => {
    const pool = poolOf(10);
    const sessions: DecoderSession[] = [];
    for (const id of [1, 2, 3]) {
      const session = await pool.acquire([id, id], 2, signal);
      await session.prefill([id, id], PREFILL);
      sessions.push(session);
    }
    sessions.forEach((session) => pool.release(session)); // idle with 2 tokens each
    const large = await pool.acquire([9], 8, signal);
    expect(pool.bytes).to.equal(10 * bytesPerToken); // one of them is left: the newest
    pool.release(large);
    expect(await pool.acquire([3, 3, 3], 3, signal)).to.equal(sessions[2]);
    pool.release(sessions[2]);
    pool.dispose();
  });

  it('are as many as are kept, and the one that was not used for longest goes first', async () => {
    const pool = poolOf(100, 2);
    const sessions = [];
    for (const id of [1, 2, 3]) {
      const session = await pool.acquire([id, id], 10, signal);
      await session.prefill([id, id], PREFILL);
      sessions.push(session);
    }
    for (const session of sessions) pool.release(session);
    expect(pool.bytes).to.equal(2 * 2 * bytesPerToken);
    const [second, third, first] = [
      await pool.acquire([2, 2, 2], 10, signal),
      await pool.acquire([3, 3, 3], 10, signal),
      await pool.acquire([1, 1, 1], 10, signal),
    ];
    expect([second, third]).to.deep.equal([sessions[1], sessions[2]]);
    expect(first).not.to.equal(sessions[0]); // that one has gone, with its tokens
    expect(first.decoder.length).to.equal(0);
    for (const session of [first, second, third]) pool.release(session);
    pool.dispose();
  });
});
