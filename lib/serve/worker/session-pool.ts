/**
 * @file The decoder sessions of one language model: one for each running generation, and idle ones that are kept for
 * the prefix they hold, so that a system prompt is computed once a session. All of them together stay within a budget.
 */
import {DecoderSession, type PrefillPolicy} from '../../../models/llama/decoder-session.js';
import type {LanguageModel} from '../../../models/llama/language-model.js';
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
    return this.idleBytes() + this.activeBytes();
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
    signal.throwIfAborted();
    if (this.waiting.length > 0 || !this.fits(bytes)) await this.turn(bytes, signal);
    const session = this.take(prompt);
    this.active.set(session, bytes);
    while (this.bytes > this.budgetBytes && this.idle.length > 0) this.idle.shift()!.dispose();
    return session;
  }

  /** Gives a session back; its tokens stay for prompts that begin alike. */
  release(session: DecoderSession): void {
    this.active.delete(session);
    this.idle.push(session);
    while (this.idle.length > this.maxIdle) this.idle.shift()!.dispose();
    while (this.waiting.length > 0 && this.fits(this.waiting[0].bytes)) this.waiting.shift()!.start();
  }

  /** Frees the idle sessions; nothing may be running. */
  dispose(): void {
    for (const session of this.idle.splice(0)) session.dispose();
  }

  /** Whether a new sequence fits once idle ones have gone. */
  private fits(bytes: number): boolean {
    return this.activeBytes() + bytes <= this.budgetBytes;
  }

  private async turn(bytes: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((start) => {
      const entry = {bytes, start};
      this.waiting.push(entry);
      signal.addEventListener('abort', () => {
        const place = this.waiting.indexOf(entry);
        if (place >= 0) this.waiting.splice(place, 1);
        start();
      });
    });
    signal.throwIfAborted();
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

  private activeBytes(): number {
    return [...this.active.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}
