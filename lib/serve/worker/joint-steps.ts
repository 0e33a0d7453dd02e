/**
 * @file Continuous batching: the tokens that running generations have chosen, gathered so that one pass over the weights
 * computes what follows each. A generation joins with its first token and leaves when it ends.
 */
import {DecoderSession, type SessionStep} from '../../language/decoding/decoder-session.js';

interface Waiting {
  readonly step: SessionStep;
  readonly resolve: (logits: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

export class JointSteps {
  private waiting: Waiting[] = [];
  /** Sessions that the last pass gave logits, and that have neither come back nor left: the next pass waits for them. */
  private readonly choosing = new Set<DecoderSession>();
  private isComputing = false;

  /**
   * The logits after a token, once the pass has come that computes it.
   *
   * @param step Of a session that waits for no other; `leave` must be called once it takes no more steps.
   * @returns As `DecoderSession.next`: valid until the session's next call.
   */
  next(step: SessionStep): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.waiting.push({step, resolve, reject});
      this.choosing.delete(step.session);
      this.computeIfComplete();
    });
  }

  /** A session takes no more steps: nothing waits for it. */
  leave(session: DecoderSession): void {
    if (this.choosing.delete(session)) this.computeIfComplete();
  }

  private computeIfComplete(): void {
    if (this.isComputing || this.choosing.size > 0 || this.waiting.length === 0) return;
    const together = this.waiting.splice(0);
    for (const {step} of together) this.choosing.add(step.session);
    this.isComputing = true;
    void compute(together).finally(() => {
      this.isComputing = false;
      this.computeIfComplete();
    });
  }
}

/** An error in a joint pass may be one session's alone: then each goes by itself. */
async function compute(together: readonly Waiting[]): Promise<void> {
  try {
    const logits = await DecoderSession.nextTogether(together.map(({step}) => step));
    together.forEach(({resolve}, i) => resolve(logits[i]));
  } catch (error) {
    if (together.length === 1) together[0].reject(error);
    else for (const alone of together) await compute([alone]);
  }
}
