/** @file Pieces of text of several generations, in the order in which they come, for one reader. */
import type {Generation} from '../../language/decoding/generate.js';

export type TextEvent =
  {readonly index: number; readonly text: string} | {readonly index: number; readonly generation: Generation};

export class TextEvents implements AsyncIterable<TextEvent> {
  private readonly events: TextEvent[] = [];
  private readonly stopped = new AbortController();
  private left: number;
  private failure: {readonly error: unknown} | null = null;
  private wake: () => void = () => {};

  /** @param count How many generations there are. */
  constructor(private readonly count: number) {
    this.left = count;
  }

  /** Aborts when the reader has gone, or nothing that comes is of use any more. */
  get signal(): AbortSignal {
    return this.stopped.signal;
  }

  /** Numbers of the generations. */
  get choices(): readonly number[] {
    return Array.from({length: this.count}, (_, index) => index);
  }

  text(index: number, text: string): void {
    this.events.push({index, text});
    this.wake();
  }

  finish(index: number, generation: Generation): void {
    this.left--;
    this.events.push({index, generation});
    this.wake();
  }

  fail(error: unknown): void {
    this.failure ??= {error};
    this.wake();
  }

  /** What is still generated is of no use. */
  stop(): void {
    this.stopped.abort();
  }

  /**
   * Waits for the first event.
   *
   * @throws What a generation failed with, if that comes first.
   */
  async first(): Promise<void> {
    if (this.events.length === 0) await this.next();
    if (this.events.length === 0 && this.failure !== null) throw this.failure.error;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TextEvent> {
    for (;;) {
      const event = this.events.shift();
      if (event !== undefined) yield event;
      else if (this.failure !== null) throw this.failure.error;
      else if (this.left === 0) return;
      else await this.next();
    }
  }

  private async next(): Promise<void> {
    if (this.failure !== null) return;
    await new Promise<void>((resolve) => (this.wake = resolve));
  }
}
