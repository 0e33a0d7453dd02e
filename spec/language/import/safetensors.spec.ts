import {expect} from 'chai';
import {truncateSync} from 'node:fs';
import {join} from 'node:path';
import {LocalFile} from '../../../lib/io/files/local-file.js';
import {safetensorsFile} from '../../../lib/language/import/safetensors.js';
import {isClosed} from '../../support/io/files.js';
import {rejection} from '../../support/rejection.js';
import {temporaryFolder} from '../../support/temporary-folder.js';

interface Entry {
  dtype?: unknown;
  shape?: unknown;
  data_offsets?: unknown;
}

/** A file of a header and so many bytes of data; `length` stands in for the header's true one. */
function safetensors(header: Record<string, Entry> | string, data: Uint8Array, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const TWO_VALUES = {dtype: 'F32', shape: [2], data_offsets: [0, 8]};

const openSafetensors = async (path: string) => safetensorsFile(await LocalFile.open(path));

describe('safetensors', () => {
  const folder = temporaryFolder();
  const openBytes = async (bytes: Uint8Array) => {
    const file = await openSafetensors(folder.write('model.safetensors', bytes));
    await file.close();
  };

  it('widens F32, F16 and BF16 exactly', async () => {
    const data = new Uint8Array(16);
    const view = new DataView(data.buffer);
    view.setFloat32(0, -1.5, true);
    view.setFloat32(4, 1e-40, true); // subnormal
    view.setUint16(8, 0x3c01, true); // 1 + 2^-10
    view.setUint16(10, 0x8001, true); // -2^-24
    view.setUint16(12, 0x3f81, true); // 1 + 2^-7
    view.setUint16(14, 0xff80, true); // -Infinity
    const path = folder.write(
      'dtypes.safetensors',
      safetensors(
        {
          halves: {dtype: 'F16', shape: [2, 1], data_offsets: [8, 12]},
          brains: {dtype: 'BF16', shape: [2], data_offsets: [12, 16]},
          floats: TWO_VALUES,
        },
        data,
      ),
    );
    const file = await openSafetensors(path);
    expect([...(await file.read('floats'))]).to.deep.equal([-1.5, Math.fround(1e-40)]);
    expect([...(await file.read('halves'))]).to.deep.equal([1 + 2 ** -10, -(2 ** -24)]);
    expect([...(await file.read('brains'))]).to.deep.equal([1 + 2 ** -7, -Infinity]);
    await file.close();
  });

  it('reads scalars and empty tensors', async () => {
    const header = {
      empty: {dtype: 'F16', shape: [0, 4], data_offsets: [0, 0]},
      scalar: {dtype: 'F32', shape: [], data_offsets: [0, 4]},
    };
    const file = await openSafetensors(
      folder.write('scalar.safetensors', safetensors(header, new Uint8Array(4))),
    );
    expect((await file.read('empty')).length).to.equal(0);
    expect([...(await file.read('scalar'))]).to.deep.equal([0]);
    await file.close();
  });

  const overflow = 2 ** 52;
  for (const [what, header, bytes, code] of [
    ['a header that is no JSON', '{"a": ', 8, 'malformed-header'],
    ['a header that is a list', '[]', 0, 'malformed-header'],
    ['a tensor that is no object', '{"a": 3}', 8, 'malformed-tensor'],
    ['an unknown dtype', {a: {...TWO_VALUES, dtype: 'F31'}}, 8, 'malformed-tensor'],
    ['a dtype that is an object', {a: {...TWO_VALUES, dtype: {toString: 1}}}, 8, 'malformed-tensor'],
    ['a negative dimension', {a: {...TWO_VALUES, shape: [-2]}}, 8, 'malformed-tensor'],
    ['a broken dimension', {a: {...TWO_VALUES, shape: [0.5, 4]}}, 8, 'malformed-tensor'],
    [
      'dimensions whose product overflows',
      {a: {...TWO_VALUES, shape: [overflow, overflow]}},
      8,
      'malformed-tensor',
    ],
    ['a shape that contradicts the byte range', {a: {...TWO_VALUES, shape: [3]}}, 8, 'malformed-tensor'],
    [
      'a byte range that ends before it starts',
      {a: {...TWO_VALUES, data_offsets: [8, 0]}},
      8,
      'malformed-tensor',
    ],
    ['no byte range', {a: {dtype: 'F32', shape: [2]}}, 8, 'malformed-tensor'],
    [
      'overlapping tensors',
      {a: TWO_VALUES, b: {...TWO_VALUES, data_offsets: [4, 12]}},
      12,
      'overlapping-tensors',
    ],
    [
      'a hole between tensors',
      {a: TWO_VALUES, b: {...TWO_VALUES, data_offsets: [12, 20]}},
      20,
      'overlapping-tensors',
    ],
    [
      'a hole before the first tensor',
      {a: {...TWO_VALUES, data_offsets: [4, 12]}},
      12,
      'overlapping-tensors',
    ],
    ['bytes behind the last tensor', {a: TWO_VALUES}, 9, 'overlapping-tensors'],
    ['data that was cut off', {a: TWO_VALUES}, 7, 'truncated'],
    [
      'two tensors of one name',
      `{"a": ${JSON.stringify(TWO_VALUES)}, "a": ${JSON.stringify(TWO_VALUES)}}`,
      8,
      'duplicate-tensor',
    ],
  ] as const) {
    it(`rejects ${what}`, async () => {
      const error = await rejection(() => openBytes(safetensors(header, new Uint8Array(bytes))), code);
      expect(error.message).to.contain('model.safetensors');
      if (code !== 'malformed-header') expect(error.message).to.match(/"[ab]"/);
    });
  }

  it('rejects a header longer than the limit without reading it', async () => {
    const error = await rejection(
      () => openBytes(safetensors('{}', new Uint8Array(0), 2n ** 63n)),
      'malformed-header',
    );
    expect(error.message).to.equal(
      `${join(folder.path, 'model.safetensors')} announces a header of ${2 ** 63} bytes; at most 100000000 are read: ` +
        'this is no safetensors file, or a damaged one',
    );
    expect(error.data).to.deep.equal({path: join(folder.path, 'model.safetensors'), length: 2 ** 63});
  });

  for (const [what, bytes, said, needed, part] of [
    [
      'a header longer than the file, the longest that is read',
      safetensors('{}', new Uint8Array(0), 100_000_000n),
      'is 10 bytes, but the header ends at byte 100000008',
      100_000_008,
      'the header',
    ],
    [
      'a file of less than 8 bytes',
      new Uint8Array(5),
      'is 5 bytes, but the length of the header ends at byte 8',
      8,
      'the length of the header',
    ],
  ] as const) {
    it(`rejects ${what}`, async () => {
      const path = join(folder.path, 'model.safetensors');
      const error = await rejection(() => openBytes(bytes), 'truncated');
      expect(error.message).to.equal(`${path} ${said}: the file was cut off, copy or download it again`);
      expect(error.data).to.deep.equal({path, size: bytes.length, needed, what: part});
    });
  }

  it('rejects a folder, and what is no regular file', async function () {
    await rejection(() => openSafetensors(folder.path), 'not-a-file');
    if (process.platform !== 'linux') this.skip();
    const error = await rejection(() => openSafetensors('/dev/null'), 'not-a-file');
    expect(error.message).to.equal('/dev/null is no regular file: name a file of weights');
    expect(error.data).to.deep.equal({path: '/dev/null'});
  });

  it('rejects a tensor beyond a typed array before it takes memory', async () => {
    const values = 2 ** 30 - 1;
    const header = JSON.stringify({a: {dtype: 'BF16', shape: [values], data_offsets: [0, 2 * values]}});
    const path = folder.write('large.safetensors', safetensors(header, new Uint8Array(0)));
    truncateSync(path, 8 + header.length + 2 * values); // a hole, which takes no disk
    const file = await openSafetensors(path);
    const error = await rejection(() => file.read('a'), 'too-large');
    expect(error.message).to.equal(
      `tensor "a" of ${path} takes 4294967292 bytes as float32; at most 4294967288 can be read`,
    );
    expect(error.data).to.deep.equal({path, tensor: 'a', values});
    await file.close();
  });

  it('widens a tensor that is larger than a piece, from where it lies', async () => {
    const values = 4 * 1024 ** 2 + 5;
    const halves = Uint16Array.from({length: values}, (_, i) => 0x3f80 + (i % 100));
    const data = Buffer.concat([Buffer.alloc(6, 0x41), Buffer.from(halves.buffer)]);
    const header = {
      first: {dtype: 'BF16', shape: [3], data_offsets: [0, 6]},
      large: {dtype: 'BF16', shape: [values], data_offsets: [6, 6 + 2 * values]},
    };
    const file = await openSafetensors(folder.write('pieces.safetensors', safetensors(header, data)));
    const got = await file.read('large');
    const wrong = got.findIndex((value, i) => value !== 1 + (i % 100) / 128);
    expect([got.length, wrong]).to.deep.equal([values, -1]);
    await file.close();
  });

  it('lets go of the file when it is closed, and when the header is wrong', async () => {
    const good = folder.write('closed.safetensors', safetensors({a: TWO_VALUES}, new Uint8Array(8)));
    const file = await openSafetensors(good);
    await file.close();
    const bad = folder.write('bad.safetensors', safetensors('[]', new Uint8Array(0)));
    await rejection(() => openSafetensors(bad), 'malformed-header');
    for (const path of [good, bad]) expect(await isClosed(path)).to.not.equal(false);
  });

  it('rejects shapes nested deeper than a stack', async () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    await rejection(
      () =>
        openBytes(
          safetensors(`{"a": {"dtype": "F32", "shape": ${deep}, "data_offsets": [0, 8]}}`, new Uint8Array(8)),
        ),
      'malformed-tensor',
    );
  });

  it('takes a tensor called __proto__ for what it is', async () => {
    const file = await openSafetensors(
      folder.write(
        'proto.safetensors',
        safetensors(`{"__proto__": ${JSON.stringify(TWO_VALUES)}}`, new Uint8Array(8)),
      ),
    );
    expect([...file.entries.keys()]).to.deep.equal(['__proto__']);
    await file.close();
  });

  it('rejects reading integers as weights, naming the tensor', async () => {
    const header = {a: {dtype: 'I64', shape: [1], data_offsets: [0, 8]}};
    const file = await openSafetensors(
      folder.write('int.safetensors', safetensors(header, new Uint8Array(8))),
    );
    expect((await rejection(() => file.read('a'), 'unsupported-dtype')).message)
      .to.contain('"a"')
      .and.contain('I64');
    const unsupported = await rejection(() => file.read('a'), 'unsupported-dtype');
    expect(unsupported.message).to.include(
      'is I64; F32, F16 and BF16 can be read: use the checkpoint before it was quantized',
    );
    expect(unsupported.data).to.deep.equal({path: file.path, tensor: 'a', dtype: 'I64'});
    const missing = await rejection(() => file.read('b'), 'missing-tensor');
    expect(missing.message).to.equal(`${file.path} has no tensor "b"`);
    expect(missing.data).to.deep.equal({path: file.path, tensor: 'b'});
    await file.close();
  });

  it('says that a file which became shorter was cut off', async () => {
    const path = folder.write('shrinks.safetensors', safetensors({a: TWO_VALUES}, new Uint8Array(8)));
    const file = await openSafetensors(path);
    folder.write('shrinks.safetensors', new Uint8Array(20));
    const error = await rejection(() => file.read('a'), 'truncated');
    expect(error.message).to.match(/but tensor "a" ends at byte \d+: the file was cut off/);
    expect(error.data).to.include({what: 'tensor "a"', needed: error.data['size']});
    await file.close();
  });

  it('says which file does not exist', async () => {
    const path = join(folder.path, 'nowhere.safetensors');
    expect((await rejection(() => openSafetensors(path), 'missing-file')).message).to.contain(path);
  });
});
