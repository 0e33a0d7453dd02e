import {expect} from 'chai';
import {parseSafetensorsHeader} from '../../../lib/language/import/safetensors-header.js';
import {rejection} from '../../support/rejection.js';

/** Data starts at byte 100 of a file that is called f. */
const parse = (header: unknown, size: number) =>
  parseSafetensorsHeader(typeof header === 'string' ? header : JSON.stringify(header), 100, 100 + size, 'f');

const tensor = (start: number, end: number, shape: unknown = [end - start], dtype: unknown = 'U8') => ({
  dtype,
  shape,
  data_offsets: [start, end],
});

const DTYPES =
  'F64, I64, U64, C64, F32, I32, U32, F16, BF16, I16, U16, F8_E4M3, F8_E5M2, F8_E8M0, I8, U8, BOOL';

/** The code of a header that is refused, how the error starts after the file's or tensor's name, and the header. */
const MALFORMED: readonly (readonly [said: string, value: unknown])[] = [
  ['is described by no object', null],
  ['is described by no object', 'U8'],
  [`has dtype "F31"; known are ${DTYPES}`, tensor(0, 4, [4], 'F31')],
  [`has dtype none; known are ${DTYPES}`, {...tensor(0, 4), dtype: undefined}],
  [`has dtype …; known are ${DTYPES}`, tensor(0, 4, [4], {a: 1})],
  [`has dtype null; known are ${DTYPES}`, tensor(0, 4, [4], null)],
  [`has dtype "toString"; known are ${DTYPES}`, tensor(0, 4, [4], 'toString')],
  ['has shape [-4]; at most 8 whole numbers are allowed', tensor(0, 4, [-4])],
  ['has shape [4, -1, 0.5]; at most 8 whole numbers are allowed', tensor(0, 4, [4, -1, 0.5])],
  ['has shape 4; at most 8 whole numbers are allowed', tensor(0, 4, 4)],
  ['has shape none; at most 8 whole numbers are allowed', {dtype: 'U8', data_offsets: [0, 4]}],
  ['has shape […, null, "4"]; at most 8 whole numbers are allowed', tensor(0, 4, [[4], null, '4'])],
  [
    'has shape [1, 2, 3, 4, 5, 6, 7, 8, 9]; at most 8 whole numbers are allowed',
    tensor(0, 4, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
  ],
  [`has shape "${'x'.repeat(79)}; at most 8 whole numbers are allowed`, tensor(0, 4, 'x'.repeat(200))],
  ['has data_offsets none; they are [first byte, byte behind the last]', {dtype: 'U8', shape: [4]}],
  ['has data_offsets [4, 0]; they are [first byte, byte behind the last]', tensor(4, 0, [4])],
  [
    'has data_offsets [0, 4, 8]; they are [first byte, byte behind the last]',
    {...tensor(0, 4), data_offsets: [0, 4, 8]},
  ],
  ['has data_offsets [0]; they are [first byte, byte behind the last]', {...tensor(0, 4), data_offsets: [0]}],
  ['has 4 bytes of data, but its shape [2, 3] of U8 takes 6', tensor(0, 4, [2, 3])],
  ['has 4 bytes of data, but its shape [] of F64 takes 8', tensor(0, 4, [], 'F64')],
];

describe('the header of a safetensors file', () => {
  for (const [said, value] of MALFORMED) {
    it(`says of a tensor that it ${said.slice(0, 70)}`, async () => {
      const error = await rejection(() => parse({'a"b': value}, 4), 'malformed-tensor');
      expect(error.message).to.equal(`tensor "a\\"b" in f ${said}: download the file again`);
      expect(error.data).to.deep.equal({path: 'f', tensor: 'a"b'});
    });
  }

  it('cuts a name that is too long', async () => {
    const name = 'n'.repeat(300);
    const malformed = await rejection(() => parse({[name]: 1}, 0), 'malformed-tensor');
    expect(malformed.message).to.include(`tensor "${'n'.repeat(200)}" in f`);
    const twice = `{"${name}": ${JSON.stringify(tensor(0, 4))}, "${name}": ${JSON.stringify(tensor(0, 4))}}`;
    const error = await rejection(() => parse(twice, 4), 'duplicate-tensor');
    expect(error.message).to.equal(
      `f lists tensor "${'n'.repeat(199)} twice, so it is not clear which is meant: download it again`,
    );
    expect(error.data).to.deep.equal({path: 'f', tensor: `"${name}"`});
  });

  for (const [dtype, bytes] of [
    ...['F64', 'I64', 'U64', 'C64'].map((name) => [name, 8] as const),
    ...['F32', 'I32', 'U32'].map((name) => [name, 4] as const),
    ...['F16', 'BF16', 'I16', 'U16'].map((name) => [name, 2] as const),
    ...['F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'I8', 'U8', 'BOOL'].map((name) => [name, 1] as const),
  ]) {
    it(`counts ${bytes} bytes for a value of ${dtype}`, async () => {
      const size = 6 * bytes;
      expect(parse({a: tensor(0, size, [2, 3], dtype)}, size)).to.deep.equal([
        {name: 'a', dtype, shape: [2, 3], start: 100, bytes: size},
      ]);
      await rejection(() => parse({a: tensor(0, size, [2, 2], dtype)}, size), 'malformed-tensor');
    });
  }

  it('gives the tensors in the order of their data, empty ones first where several start', () => {
    const entries = parse(
      {
        __metadata__: {format: 'pt', shape: 'none'},
        c: tensor(4, 7),
        b: tensor(4, 4, [0, 5]),
        a: tensor(0, 4, [1, 1, 1, 1, 1, 1, 1, 4]),
      },
      7,
    );
    expect(entries.map(({name, start, bytes}) => [name, start, bytes])).to.deep.equal([
      ['a', 100, 4],
      ['b', 104, 0],
      ['c', 104, 3],
    ]);
    expect(parse({}, 0)).to.deep.equal([]);
  });

  for (const [what, header, size, code, message, data] of [
    [
      'an overlap',
      {a: tensor(0, 8), b: tensor(5, 9)},
      9,
      'overlapping-tensors',
      'tensor "b" in f overlaps "a"; tensors lie one behind the other: download the file again',
      {path: 'f', tensor: 'b'},
    ],
    [
      'two tensors in one place',
      {a: tensor(0, 8), b: tensor(0, 8)},
      8,
      'overlapping-tensors',
      'tensor "b" in f overlaps "a"; tensors lie one behind the other: download the file again',
      {path: 'f', tensor: 'b'},
    ],
    [
      'a hole',
      {a: tensor(0, 8), b: tensor(11, 12)},
      12,
      'overlapping-tensors',
      'tensor "b" in f leaves 3 bytes of hole behind "a"; tensors lie one behind the other: download the file again',
      {path: 'f', tensor: 'b'},
    ],
    [
      'a hole before the first tensor',
      {a: tensor(2, 8)},
      8,
      'overlapping-tensors',
      'tensor "a" in f leaves 2 bytes of hole behind the header; tensors lie one behind the other: download the file again',
      {path: 'f', tensor: 'a'},
    ],
    [
      'bytes behind the last tensor',
      {c: tensor(6, 8), b: tensor(4, 6), a: tensor(0, 4)},
      11,
      'overlapping-tensors',
      'f has 3 bytes behind its last tensor "c": download it again',
      {path: 'f', size: 111, needed: 108, tensor: 'c'},
    ],
    [
      'bytes behind a header without tensors',
      {},
      5,
      'overlapping-tensors',
      'f has 5 bytes behind its last tensor the header: download it again',
      {path: 'f', size: 105, needed: 100, tensor: undefined},
    ],
    [
      'data that was cut off',
      {b: tensor(4, 8), a: tensor(0, 4)},
      6,
      'truncated',
      'f is 106 bytes, but tensor "b" ends at byte 108: the file was cut off, download it again',
      {path: 'f', size: 106, needed: 108, tensor: 'b'},
    ],
  ] as const) {
    it(`says where ${what} lies`, async () => {
      const error = await rejection(() => parse(header, size), code);
      expect(error.message).to.equal(message);
      expect(error.data).to.deep.equal(data);
    });
  }

  for (const json of ['[]', 'null', '3', '"a"']) {
    it(`is no ${json}`, async () => {
      const error = await rejection(() => parse(json, 0), 'malformed-header');
      expect(error.message).to.equal('the header of f is no JSON object: download it again');
      expect(error.data).to.deep.equal({path: 'f'});
    });
  }

  it('is JSON, or else it says where not', async () => {
    const error = await rejection(() => parse('{"a": ', 0), 'malformed-header');
    expect(error.message)
      .to.match(/^the header of f is not JSON \(.*JSON.*\): /)
      .and.include('download it again');
    expect(error.cause).to.be.instanceOf(SyntaxError);
    expect(error.data).to.deep.equal({path: 'f'});
  });

  it('holds at most 200,000 tensors', async () => {
    const many = `{${Array.from({length: 200_001}, (_, i) => `"${i}":0`).join(',')}}`;
    const error = await rejection(() => parse(many, 0), 'malformed-header');
    expect(error.message).to.equal(
      'f lists 200001 tensors; at most 200000 are read: this is no checkpoint of these families',
    );
    expect(error.data).to.deep.equal({path: 'f'});
  });

  it('tells two names from two words in values, and from names with quotes', () => {
    const header =
      '{"__metadata__": {"a": "a", "b": "a"}, "a\\"": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, ' +
      '"a\\"\\\\": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}';
    expect(parse(header, 2).map(({name}) => name)).to.deep.equal(['a"', 'a"\\']);
  });
});
