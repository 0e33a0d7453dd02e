import {expect} from 'chai';
import {checkJsonCost} from '../../lib/serve/json-limits.js';

/** Below it nothing is looked at. */
const HARMLESS_BYTES = 64 * 1024;
const MAX_DEPTH = 64;
const MAX_PARTS = 1_000_000;

const check = (text: string) => checkJsonCost(Buffer.from(text));
/** Made long enough to be looked at by space that means nothing. */
const long = (text: string) => text.padEnd(HARMLESS_BYTES, ' ');
const nested = (depth: number, open = '[', close = ']') => open.repeat(depth) + close.repeat(depth);
const tooDeep = `nested more than ${MAX_DEPTH} deep`;
const tooMany = `more than ${MAX_PARTS} arrays`;

describe('what JSON may cost', () => {
  it('is not asked of a short body, and is of one byte more', () => {
    const deep = nested(MAX_DEPTH + 1);
    expect(() => check(deep.padEnd(HARMLESS_BYTES - 1, ' '))).not.to.throw();
    expect(() => check(deep.padEnd(HARMLESS_BYTES, ' '))).to.throw(tooDeep);
  });

  for (const [what, open, close] of [
    ['arrays', '[', ']'],
    ['objects', '{"a":', '}'],
    ['both', '[{"a":', '}]'],
  ] as const) {
    const each = open.match(/[[{]/g)!.length;
    it(`is at most ${MAX_DEPTH} ${what} in each other`, () => {
      expect(() => check(long(nested(MAX_DEPTH / each, open, close)))).not.to.throw();
      expect(() => check(long(`[${nested(MAX_DEPTH / each, open, close)}]`)))
        .to.throw(tooDeep)
        .with.property('status', 400);
    });

    it(`is not the number of ${what} beside each other`, () => {
      const beside = Array(10_000)
        .fill(nested(2, open, close))
        .join(',');
      expect(() => check(long(`[${beside}]`))).not.to.throw();
    });
  }

  it('does not count what stands in strings, quotes and backslashes among it', () => {
    for (const inner of ['['.repeat(100), '\\"' + '['.repeat(100), '\\\\\\"' + '{'.repeat(100)]) {
      expect(() => check(long(`["${inner}"]`)), inner).not.to.throw();
    }
    expect(() => check(long(`["${':'.repeat(MAX_PARTS + 1)}"]`))).not.to.throw();
  });

  it('counts what stands behind a string, whatever it ends with', () => {
    const deep = nested(MAX_DEPTH + 1);
    for (const string of ['"a"', '""', '"\\\\"', '"\\""', '"a\\\\\\\\"', '"[]"']) {
      expect(() => check(long(`${string}${deep}`)), string).to.throw(tooDeep);
    }
  });

  it('ends where a string does not', () => {
    expect(() => check(long('["' + '['.repeat(100)))).not.to.throw();
    expect(() => check(`${long('[')}"\\`)).not.to.throw();
  });

  for (const [what, part, each] of [
    ['arrays', '[],', 1],
    ['objects', '{},', 1],
    ['fields', '"a":1,', 1],
    ['objects of a field', '{"a":1},', 2],
  ] as const) {
    it(`is at most a million ${what}`, () => {
      const most = MAX_PARTS / each;
      expect(() => check(part.repeat(most))).not.to.throw();
      expect(() => check(part.repeat(most) + part))
        .to.throw(tooMany)
        .with.property('status', 400);
    });
  }

  it('is nothing for numbers', () => {
    expect(() => check(`[${'1,'.repeat(2 * MAX_PARTS)}1]`)).not.to.throw();
  });
});
