/**
 * @file A decoder with the tokens that it holds, so that a prompt that goes on where the last one ended (the next turn
 * of a chat) is not computed again. Which tokens are computed dense follows from their place alone, so what a cache
 * holds never depends on how it came about.
 */
import type {Decoder} from './decoder.js';
import {stepTogether} from './step-together.js';

/**
 * Which tokens are computed with masked activations.
 *
 * `sparse`: all. `dense`: the prompt dense, generated tokens sparse. A number: the first so many tokens dense, the
 * others sparse, whether prompt or generated.
 */
export type PrefillPolicy = 'sparse' | 'dense' | number;

/** Tokens computed between two looks at an abort signal. */
const CHUNK = 512;

/** A generated token for one session: what `next` takes. */
export interface SessionStep {
  readonly session: DecoderSession;
  readonly id: number;
  readonly policy: PrefillPolicy;
  readonly promptLength: number;
}

/** A decoder and its tokens. Not for two generations at a time. */
export class DecoderSession {
  private tokens: number[] = [];
  /** By token of the cache. */
  private isDense: boolean[] = [];

  constructor(readonly decoder: Decoder) {}

  /** How many tokens of a prompt are in the cache already; the last is never counted, since its logits are needed. */
  reusable(prompt: readonly number[], policy: PrefillPolicy): number {
    const most = Math.min(this.tokens.length, prompt.length - 1);
    let same = 0;
    while (
      same < most &&
      this.tokens[same] === prompt[same] &&
      this.isDense[same] === isDense(policy, same, prompt.length)
    )
      same++;
    return same;
  }

  /**
   * Makes the prompt the sequence.
   *
   * @param prompt At least one id.
   * @returns Logits after its last token; valid until the next call.
   * @throws The signal's reason if it is aborted; the tokens computed by then stay in the cache.
   */
  async prefill(
    prompt: readonly number[],
    policy: PrefillPolicy,
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const start = this.reusable(prompt, policy);
    this.truncate(start);
    let logits: Float32Array | null = null;
    for (let i = start; i < prompt.length;) {
      signal?.throwIfAborted();
      const dense = isDense(policy, i, prompt.length);
      let end = Math.min(i + CHUNK, prompt.length);
      if (typeof policy === 'number' && i < policy) end = Math.min(end, policy);
      logits = await this.append(prompt.slice(i, end), dense);
      i = end;
    }
    return logits!;
  }

  /** Appends a token that was generated after a prompt of `promptLength` tokens. Returns the logits after it. */
  async next(id: number, policy: PrefillPolicy, promptLength: number): Promise<Float32Array> {
    return this.append([id], isDense(policy, this.tokens.length, promptLength));
  }

  /**
   * As `next`, for several sessions in one pass over the weights where their decoders can.
   *
   * @param steps Of different sessions.
   * @returns Logits by step; valid until the next call to that session. If it rejects, every sequence is as it was.
   */
  static async nextTogether(steps: readonly SessionStep[]): Promise<Float32Array[]> {
    const dense = steps.map(({session, policy, promptLength}) =>
      isDense(policy, session.tokens.length, promptLength),
    );
    const logits = await stepTogether(
      steps.map(({session, id}, i) => ({decoder: session.decoder, token: id, dense: dense[i]})),
    );
    steps.forEach(({session, id}, i) => {
      session.tokens.push(id);
      session.isDense.push(dense[i]);
    });
    return logits;
  }

  dispose(): void {
    this.decoder.dispose();
  }

  private async append(ids: readonly number[], dense: boolean): Promise<Float32Array> {
    const logits = await this.decoder.append(ids, {dense});
    this.tokens.push(...ids);
    this.isDense.push(...ids.map(() => dense));
    return logits;
  }

  private truncate(length: number): void {
    this.decoder.truncate(length);
    this.tokens.length = length;
    this.isDense.length = length;
  }
}

/** Whether the token at a position is computed dense. */
function isDense(policy: PrefillPolicy, position: number, promptLength: number): boolean {
  if (typeof policy === 'number') return position < policy;
  return policy === 'dense' && position < promptLength;
}
