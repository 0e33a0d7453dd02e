/**
 * @file Who may use a model at a time: many that only read it, or one that changes it. In the order in which they came, so
 * that nobody waits for ever.
 */

export class Turns {
  /** Ends when those that read have ended. */
  private readers: Promise<unknown> = Promise.resolve();
  /** Ends when the last one that changes has ended. */
  private writer: Promise<unknown> = Promise.resolve();

  /** Runs `work` beside others that read. */
  async shared<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = this.writer.then(work);
    this.readers = Promise.allSettled([this.readers, turn]);
    return turn;
  }

  /** Runs `work` alone: once all that came before has ended, and before all that comes later. */
  async alone<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = Promise.allSettled([this.readers, this.writer]).then(work);
    this.writer = turn.catch(() => undefined);
    return turn;
  }
}
