import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import type {LanguageModel} from '../../models/llama/language-model.js';
import {loadLanguageModel} from '../../models/llama/load-language-model.js';
import {PREFILL, SessionPool} from '../../lib/serve/worker/session-pool.js';
import '../backends.js';

const TINY = fileURLToPath(new URL('../fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url));
const SYSTEM = [1, 2, 3, 4, 5, 6];
const {signal} = new AbortController();

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
    expect(await pool.acquire([2, 2, 2], 10, signal)).to.equal(sessions[1]);
    pool.release(sessions[1]);
    pool.dispose();
  });
});
