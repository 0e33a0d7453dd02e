/**
 * @file The decoder sessions of one language model: one for each running generation, and idle ones that are kept for
 * the prefix they hold, so that a system prompt is computed once a session. All of them together stay within a budget.
 */
import {DecoderSession, type PrefillPolicy} from '../../language/decoding/decoder-session.js';
import type {LanguageModel} from '../../language/language-model.js';
import {SparsifyError} from '../../errors.js';

/** What generations compute dense: what one leaves is of use to another only if both say the same. */
export const PREFILL: PrefillPolicy = 'dense';

/** Keys and values are float32. */
const BYTES_PER_VALUE = 4;

interface Waiting {
  readonly bytes: number;
  readonly start: () => void;
}

export class SessionPool {
  private readonly idle: DecoderSession[] = []; // the one that was used last stands last
  private readonly active = new Map<DecoderSession, number>(); // bytes that each may grow to
  private readonly waiting: Waiting[] = [];
  /** Bytes of the active ones, and of those that may start and have not yet. */
  private promisedBytes = 0;
  private readonly bytesPerToken: number;

  constructor(
    private readonly lm: LanguageModel,
    private readonly budgetBytes: number,
    private readonly maxIdle: number,
  ) {
    const {layers, keyHeads, headSize} = lm.config;
    this.bytesPerToken = layers * 2 * keyHeads * headSize * BYTES_PER_VALUE;
  }

  /** What the sessions hold or are promised. */
  get bytes(): number {
    return this.idleBytes() + this.promisedBytes;
  }

  /**
   * A session for a prompt: the idle one that holds most of it, else a new one. Waits, first come first served, while
   * the budget is used up.
   *
   * @param tokens Most that prompt and answer take together.
   * @throws {SparsifyError} `cache-too-small` if the budget never holds so many; the signal's reason.
   */
  async acquire(prompt: readonly number[], tokens: number, signal: AbortSignal): Promise<DecoderSession> {
    const bytes = tokens * this.bytesPerToken;
    if (bytes > this.budgetBytes) {
      throw new SparsifyError(
        'cache-too-small',
        `prompt and answer may take ${tokens} tokens; the server's cache holds ` +
          `${Math.floor(this.budgetBytes / this.bytesPerToken)}: shorten the prompt or ask for fewer tokens`,
        {tokens},
      );
    }
    await this.turn(bytes, signal);
    let session: DecoderSession;
    try {
      session = this.take(prompt);
    } catch (error) {
      this.promisedBytes -= bytes;
      this.startWaiting();
      throw error;
    }
    this.active.set(session, bytes);
    while (this.bytes > this.budgetBytes && this.idle.length > 0) this.idle.shift()!.dispose();
    return session;
  }

  /** Gives a session back; its tokens stay for prompts that begin alike. */
  release(session: DecoderSession): void {
    this.promisedBytes -= this.active.get(session) ?? 0;
    this.active.delete(session);
    this.idle.push(session);
    while (this.idle.length > this.maxIdle) this.idle.shift()!.dispose();
    this.startWaiting();
  }

  /** Frees the idle sessions; nothing may be running. */
  dispose(): void {
    for (const session of this.idle.splice(0)) session.dispose();
  }

  /** Waits until the bytes are promised, which they are when it returns. */
  private async turn(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    let leave = () => {};
    try {
      await new Promise<void>((start, reject) => {
        const entry = {bytes, start};
        leave = () => {
          const place = this.waiting.indexOf(entry);
          if (place < 0) return; // it has started, and ends by the signal itself
          this.waiting.splice(place, 1);
          reject(signal.reason as Error);
          this.startWaiting(); // what stood behind it may fit
        };
        signal.addEventListener('abort', leave);
        this.waiting.push(entry);
        this.startWaiting();
      });
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Promises what fits once idle sessions have gone, in the order in which it was asked for. */
  private startWaiting(): void {
    while (this.waiting.length > 0 && this.promisedBytes + this.waiting[0].bytes <= this.budgetBytes) {
      const {bytes, start} = this.waiting.shift()!;
      this.promisedBytes += bytes;
      start();
    }
  }

  private take(prompt: readonly number[]): DecoderSession {
    let best = -1;
    let most = 0;
    for (const [i, session] of this.idle.entries()) {
      const reusable = session.reusable(prompt, PREFILL);
      if (reusable <= most) continue;
      best = i;
      most = reusable;
    }
    if (best >= 0) return this.idle.splice(best, 1)[0];
    return new DecoderSession(this.lm.decoder());
  }

  private idleBytes(): number {
    return this.idle.reduce((sum, {decoder}) => sum + decoder.length * this.bytesPerToken, 0);
  }
}
