import {expect} from 'chai';
import {TextEvents, type TextEvent} from '../../lib/serve/protocols/text-events.js';
import type {Generation} from '../../lib/language/decoding/generate.js';

const GENERATION: Generation = {
  ...{text: 'ab', tokens: [1, 2], finishReason: 'stop', promptTokens: 1},
  ...{timeToFirstTokenMs: 1, tokensPerSecond: 1},
};
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Reads to the end; what was read stands in `events`, and how it ended in `end`. */
function reading(events: TextEvents) {
  const read: TextEvent[] = [];
  const end = (async () => {
    for await (const event of events) read.push(event);
    return 'end';
  })().catch((error: Error) => error.message);
  return {read, end};
}

describe('pieces of text of several generations', () => {
  it('come in the order in which they were given, until all have finished', async () => {
    const events = new TextEvents(2);
    expect(events.choices).to.deep.equal([0, 1]);
    const {read, end} = reading(events);
    events.text(1, 'a');
    events.text(0, 'b');
    await settled();
    expect(read).to.deep.equal([
      {index: 1, text: 'a'},
      {index: 0, text: 'b'},
    ]);
    events.finish(1, GENERATION);
    await settled();
    events.text(0, 'c');
    events.finish(0, GENERATION);
    expect(await end).to.equal('end');
    expect(read.slice(2)).to.deep.equal([
      {index: 1, generation: GENERATION},
      {index: 0, text: 'c'},
      {index: 0, generation: GENERATION},
    ]);
  });

  it('that came before there was a reader are kept', async () => {
    const events = new TextEvents(1);
    events.text(0, 'a');
    events.finish(0, GENERATION);
    await events.first();
    const {read, end} = reading(events);
    expect(await end).to.equal('end');
    expect(read).to.have.length(2);
  });

  it('are read before the failure that ends them, the first of several', async () => {
    const events = new TextEvents(2);
    events.text(0, 'a');
    events.fail(new Error('first'));
    events.fail(new Error('second'));
    const {read, end} = reading(events);
    expect(await end).to.equal('first');
    expect(read).to.deep.equal([{index: 0, text: 'a'}]);
  });

  it('end a reader that waits when one fails', async () => {
    const events = new TextEvents(1);
    const {end} = reading(events);
    await settled();
    events.fail(new Error('failed'));
    expect(await end).to.equal('failed');
  });

  it('are awaited until the first comes, or what fails before it', async () => {
    const good = new TextEvents(1);
    let isThere = false;
    const first = good.first().then(() => (isThere = true));
    await settled();
    expect(isThere).to.equal(false);
    good.text(0, 'a');
    await first;
    const late = new TextEvents(1);
    late.text(0, 'a');
    late.fail(new Error('failed'));
    await late.first(); // the failure is told after the text
    for (const isEarly of [true, false]) {
      const bad = new TextEvents(1);
      if (isEarly) bad.fail(new Error('failed'));
      const failing = bad.first().catch((error: Error) => error.message);
      await settled();
      if (!isEarly) bad.fail(new Error('failed'));
      expect(await failing).to.equal('failed');
    }
  });

  it('are of no use any more once the reader has stopped', () => {
    const events = new TextEvents(1);
    expect(events.signal.aborted).to.equal(false);
    events.stop();
    expect(events.signal.aborted).to.equal(true);
  });
});
