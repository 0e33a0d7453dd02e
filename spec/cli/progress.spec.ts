import {expect} from 'chai';
import {withProgress} from '../../lib/cli/progress.js';
import type {Progress} from '../../lib/calibration/model-batches.js';

/** What is written for steps at given times; `fail` ends the work with an error. */
async function shown(
  steps: readonly (Progress & {at: number})[],
  stream: {isTTY?: boolean; columns?: number} = {},
  fail = false,
): Promise<string> {
  let text = '';
  let time = 0;
  const output = {
    stream: {...stream, write: (part: string) => (text += part)},
    now: () => time,
  };
  const work = withProgress(
    'calibrating',
    'batches',
    (onProgress) => {
      for (const {at, ...progress} of steps) {
        time = at;
        onProgress(progress);
      }
      return fail ? Promise.reject(new Error('stop')) : Promise.resolve('result');
    },
    output,
  );
  if (!fail) {
    expect(await work).to.equal('result');
    return text;
  }
  const error = await work.catch((reason: unknown) => reason);
  expect(error).to.be.an('error').with.property('message', 'stop');
  return text;
}

describe('withProgress', () => {
  describe('where stderr is no terminal', () => {
    it('writes a line every 5 seconds and one at the end', async () => {
      const steps = [1, 2, 3, 4, 5, 6].map((done) => ({done, total: 6, at: done * 2000}));
      expect((await shown(steps)).split('\n')).to.deep.equal([
        'calibrating: 3/6 batches, 0.50 a second, 6 s left',
        'calibrating: 6/6 batches, 0.50 a second',
        '',
      ]);
    });

    it('writes the last step where the total is unknown', async () => {
      const steps = [1, 2, 3].map((done) => ({done, total: null, at: done * 1000}));
      expect(await shown(steps)).to.equal('calibrating: 3 batches, 1.0 a second\n');
    });

    it('writes nothing for work without steps or that fails at once', async () => {
      expect(await shown([])).to.equal('');
      expect(await shown([{done: 1, total: 2, at: 10}], {}, true)).to.equal('');
    });

    for (const [seconds, left] of [
      [119, '119 s'],
      [121, '3 min'],
      [7100, '119 min'],
      [7260, '2 h 1 min'],
    ] as const) {
      it(`writes ${seconds} s as ${left}`, async () => {
        const total = seconds / 10 + 1; // one batch takes 10 s
        expect(await shown([{done: 1, total, at: 10_000}], {}, true)).to.include(`, ${left} left\n`);
      });
    }
  });

  describe('on a terminal', () => {
    const steps = [
      {done: 1, total: 4, at: 500},
      {done: 2, total: 4, at: 550}, // sooner than a rewrite is due
      {done: 4, total: 4, at: 2000},
    ];

    it('rewrites one line and ends it', async () => {
      expect(await shown(steps, {isTTY: true})).to.equal(
        '\r\x1b[Kcalibrating: 1/4 batches, 2.0 a second, 2 s left\r\x1b[Kcalibrating: 4/4 batches, 2.0 a second\n',
      );
    });

    it('shows the last step even if it comes too soon for a rewrite, and where the total is unknown', async () => {
      const open = steps.slice(0, 2).map((step) => ({...step, total: null}));
      expect(await shown(open, {isTTY: true})).to.match(/calibrating: 2 batches, 3\.6 a second\n$/);
    });

    it('ends the line when the work fails, so that the error stands on its own', async () => {
      expect(await shown(steps.slice(0, 1), {isTTY: true}, true)).to.match(/left\n$/);
      expect(await shown([], {isTTY: true}, true)).to.equal('');
    });

    it('cuts the line to the width of the terminal', async () => {
      expect(await shown(steps.slice(2), {isTTY: true, columns: 20})).to.equal(
        '\r\x1b[Kcalibrating: 4/4 ba\n',
      );
    });
  });
});
