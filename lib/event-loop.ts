/**
 * @file The turns of the event loop: long work gives one away now and then, so that timers, messages and signals are heard.
 * `tf.nextFrame` is no such turn in a worker of a page: it waits for the next picture on the screen, which is 16 ms away,
 * and never comes in a tab that is hidden. Nor is a timer: browsers make the sixth in a row wait for 4 ms.
 */

/** Who waits for a turn, in their order. */
const waiting: (() => void)[] = [];
let channel: MessageChannel | null = null;

/** Resolves once timers and messages that are due have had their turn: after a few microseconds where none is. */
export function nextTurn(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve));
  if (channel === null) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => waiting.shift()?.();
  }
  const {port2} = channel;
  return new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(null);
  });
}
