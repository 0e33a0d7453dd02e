/**
 * @file Generations of one language model, any number at a time: each has a session of its own, and the next tokens of
 * all of them are computed together (joint-steps.ts).
 */
import {generateTokens, type Generation} from '../../language/decoding/generate.js';
import type {LanguageModel} from '../../language/language-model.js';
import {sparsityReport} from '../../language/evaluation/sparsity-report.js';
import type {MaskedCount} from '../../language/decoding/decoder.js';
import type {ActualSparsity, GenerationRequest} from '../messages.js';
import {JointSteps} from './joint-steps.js';
import {PREFILL, SessionPool} from './session-pool.js';

export class TextGeneration {
  private readonly sessions: SessionPool;
  private readonly steps = new JointSteps();
  private readonly counts = new Map<string, {masked: number; total: number}>();

  constructor(
    private readonly lm: LanguageModel,
    cacheBytes: number,
    maxSequences: number,
  ) {
    this.sessions = new SessionPool(lm, cacheBytes, maxSequences);
  }

  /** Bytes of keys and values. */
  get cacheBytes(): number {
    return this.sessions.bytes;
  }

  /**
   * Generates after a prompt.
   *
   * @param onText Called with every piece of text as it is certain.
   * @throws As `LanguageModel.generate`; {SparsifyError} `cache-too-small`; the signal's reason.
   */
  async generate(
    {prompt, maxTokens, temperature, topP, topK, minP, seed, stop, dense}: GenerationRequest,
    onText: (text: string) => void,
    signal: AbortSignal,
  ): Promise<Generation> {
    const {lm} = this;
    const ids = lm.encodePrompt(prompt);
    const {contextLength, eosTokenIds} = lm.config;
    const most = Math.min(contextLength, ids.length + (maxTokens ?? contextLength));
    const session = await this.sessions.acquire(ids, most, signal);
    try {
      const tokens = generateTokens(
        {
          session: {
            prefill: async (ids, policy, signal) => {
              const logits = await session.prefill(ids, policy, signal);
              session.decoder.resetCounts(); // of a prompt, which is computed dense
              return logits;
            },
            next: (id, policy, promptLength) => this.steps.next({session, id, policy, promptLength}),
          },
          tokenizer:
            lm.tokenizer === null
              ? null
              : {decode: (ids) => lm.tokenizer!.decode(ids, {skipSpecialTokens: true})},
          endTokens: new Set(eosTokenIds),
          contextLength,
        },
        ids,
        {
          ...{maxTokens: most - ids.length, temperature, topP, topK, minP, seed, stop, signal},
          prefill: dense === true ? contextLength : PREFILL,
        },
      );
      for (;;) {
        const {done, value} = await tokens.next();
        if (done === true) return value;
        onText(value.text);
      }
    } finally {
      this.steps.leave(session);
      if (dense !== true) this.count(session.decoder.counts());
      session.decoder.resetCounts();
      this.sessions.release(session);
    }
  }

  /** Over all that was generated so far; null if no layer is sparsified. */
  sparsity(): ActualSparsity | null {
    const report = sparsityReport(this.lm.model, this.counts);
    return report === null ? null : {mean: report.mean, layers: report.layers};
  }

  dispose(): void {
    this.sessions.dispose();
  }

  private count(counts: ReadonlyMap<string, MaskedCount>): void {
    for (const [path, {masked, total}] of counts) {
      const before = this.counts.get(path) ?? {masked: 0, total: 0};
      this.counts.set(path, {masked: before.masked + masked, total: before.total + total});
    }
  }
}
