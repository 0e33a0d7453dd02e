/** @file A clock that a spec moves: `setTimeout`, `setInterval` and `performance.now` follow it until it is given back. */
import {mock} from 'node:test';

export interface Clock {
  /** Moves on by steps of at most 50 ms, after each of which whatever was due has run, promises too. */
  pass(ms: number): Promise<void>;
  /** Moves on at once, as for a process that stood still. */
  jump(ms: number): void;
  giveBack(): void;
}

const STEP_MS = 50;

/** Stops the clock of this process at 0. */
export function stopClock(): Clock {
  const now = performance.now.bind(performance);
  let time = 0;
  performance.now = () => time;
  mock.timers.enable({apis: ['setTimeout', 'setInterval']});
  return {
    async pass(ms) {
      for (let left = ms; left > 0; left -= STEP_MS) {
        time += Math.min(STEP_MS, left);
        mock.timers.tick(Math.min(STEP_MS, left));
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    jump(ms) {
      time += ms;
    },
    giveBack() {
      mock.timers.reset();
      performance.now = now;
    },
  };
}
