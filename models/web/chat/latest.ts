/** @file Work for a value that changes faster than the work is done: what came in between is passed over. */

/** Gives a function that works for the latest value it was given, one at a time. */
export function latest<Value>(work: (value: Value) => Promise<void>): (value: Value) => void {
  let next: {readonly value: Value} | null = null;
  let isWorking = false;
  const run = async () => {
    isWorking = true;
    try {
      while (next !== null) {
        const {value} = next;
        next = null;
        await work(value);
      }
    } finally {
      isWorking = false;
    }
  };
  return (value) => {
    next = {value};
    if (!isWorking) void run();
  };
}
