import {expect} from 'chai';
import {GgufValues} from '../../../lib/language/import/gguf-values.js';
import {rejection} from '../../support/rejection.js';

const LARGEST = 2 ** 31 - 1;

/** Metadata of the architecture llama in the file f. */
const values = (own: Record<string, unknown>, tokenizer: Record<string, unknown> = {}) =>
  new GgufValues(
    new Map([
      ...Object.entries(own).map(([key, value]) => [`llama.${key}`, value] as const),
      ...Object.entries(tokenizer).map(([key, value]) => [`tokenizer.ggml.${key}`, value] as const),
    ]),
    'llama',
    'f',
  );

type Read = (of: GgufValues) => unknown;
const SIZE: Read = (of) => of.size('k');
const COUNT: Read = (of) => of.count('k', 5);
const POSITIVE: Read = (of) => of.positive('k', 0.5);
const NEEDED: Read = (of) => of.positive('k');
const SCALE: Read = (of) => of.scale('k');
const TEXT: Read = (of) => of.text('k', 'none');

const TAKEN: readonly (readonly [read: Read, value: unknown, got: unknown])[] = [
  [SIZE, 1, 1],
  [SIZE, 7n, 7],
  [SIZE, LARGEST, LARGEST],
  [COUNT, 0, 0],
  [COUNT, undefined, 5],
  [COUNT, LARGEST, LARGEST],
  [POSITIVE, 1e-9, 1e-9],
  [POSITIVE, undefined, 0.5],
  [NEEDED, 3n, 3],
  [SCALE, undefined, null],
  [SCALE, 0, 1],
  [SCALE, 0.25, 0.25],
  [TEXT, 'linear', 'linear'],
  [TEXT, '', ''],
  [TEXT, undefined, 'none'],
];

const REFUSED: readonly (readonly [read: Read, value: unknown, got: string, allowed: string])[] = [
  ...[0, -1, 1.5, LARGEST + 1, NaN].map(
    (value) => [SIZE, value, String(value), `a whole number from 1 to ${LARGEST}`] as const,
  ),
  [SIZE, undefined, 'missing', `a whole number from 1 to ${LARGEST}`],
  [SIZE, [1, 2], 'a list of 2', 'one number'],
  [SIZE, '7', '7', 'one number'],
  [SIZE, true, 'a boolean', 'one number'],
  [SIZE, 'x'.repeat(100), 'x'.repeat(80), 'one number'],
  ...[-1, 0.5, LARGEST + 1].map(
    (value) => [COUNT, value, String(value), `a whole number from 0 to ${LARGEST}`] as const,
  ),
  ...[0, -1, Infinity, NaN].map((value) => [POSITIVE, value, String(value), 'a positive number'] as const),
  [NEEDED, undefined, 'missing', 'a positive number'],
  ...[-1, Infinity, NaN].map(
    (value) => [SCALE, value, String(value), 'a positive number, or 0 for none'] as const,
  ),
  [TEXT, 3, '3', 'a text'],
  [TEXT, 3n, '3', 'a text'],
  [TEXT, {}, 'a object', 'a text'],
];

describe('values of a gguf file', () => {
  for (const [read, value, got] of TAKEN) {
    it(`are taken: ${String(value)} by ${String(read).slice(6, 40)}`, () => {
      expect(read(values({k: value}))).to.equal(got);
    });
  }

  for (const [read, value, got, allowed] of REFUSED) {
    it(`are refused: ${String(value).slice(0, 20)} by ${String(read).slice(6, 40)}`, async () => {
      const error = await rejection(() => read(values({k: value})), 'malformed-config');
      expect(error.message).to.equal(`"llama.k" of f is ${got}; it must be ${allowed}`);
      expect(error.data).to.deep.equal({path: 'f', key: 'k'});
    });
  }

  it('are of one architecture, and those of the tokenizer apart', () => {
    const own = values({'attention.head_count': 3}, {model: 'gpt2', bos_token_id: 7});
    expect(own.size('attention.head_count')).to.equal(3);
    expect(own.tokenizer('model')).to.equal('gpt2');
    expect(own.tokenizer('attention.head_count')).to.equal(undefined);
    expect([...own.read]).to.deep.equal(['attention.head_count']);
  });

  it('are ids of tokens, or none', () => {
    const id = (value: unknown) => values({}, {bos_token_id: value}).tokenId('bos_token_id');
    expect([0, 7, 9n, LARGEST].map(id)).to.deep.equal([0, 7, 9, LARGEST]);
    expect([undefined, -1, 0.5, 'x', LARGEST + 1, 0xffffffff].map(id)).to.deep.equal(Array(6).fill(null));
  });
});
