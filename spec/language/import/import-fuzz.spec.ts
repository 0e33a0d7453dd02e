/** @file Damaged checkpoints: headers of real files, changed at random (seeded), must end in an error of this package. */
import {expect} from 'chai';
import fc from 'fast-check';
import {cpSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {FileError, ModelError} from '../../../lib/errors.js';
import type {Checkpoint} from '../../../lib/language/weights/checkpoint.js';
import {openGguf, openHuggingFaceFolder} from '../../../lib/language/import/local-checkpoints.js';
import {createTokenizer} from '../../../lib/language/tokenizer/tokenizer.js';
import {temporaryFolder} from '../../support/temporary-folder.js';

const TINY = fileURLToPath(new URL('../../fixtures/tiny/', import.meta.url));

/** Both parsers' buffers and what they make of files of 60 to 170 KB; a length that was believed asks for far more. */
const MAX_ALLOCATED_BYTES = 128 * 1024 ** 2;

/** Values that break arithmetic: lengths and counts around what 31, 32, 53, 63 and 64 bits hold. */
const AWKWARD = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** One change of the first `header` bytes. */
type Change = (bytes: Uint8Array) => Uint8Array;

function changes(header: number): fc.Arbitrary<Change> {
  const position = fc.nat(header - 1);
  return fc.oneof(
    fc.tuple(position, fc.nat(255)).map(
      ([at, value]): Change =>
        (bytes) =>
          bytes.with(at, value),
    ),
    fc.tuple(position, fc.nat(7)).map(
      ([at, bit]): Change =>
        (bytes) =>
          bytes.with(at, bytes[at] ^ (1 << bit)),
    ),
    fc.tuple(position, fc.constantFrom(...AWKWARD)).map(([at, value]): Change => (bytes) => {
      const changed = bytes.slice();
      if (at + 8 <= changed.length) new DataView(changed.buffer).setBigUint64(at, value, true);
      return changed;
    }),
    position.map(
      (at): Change =>
        (bytes) =>
          bytes.slice(0, at),
    ),
    fc.tuple(position, fc.integer({min: 1, max: 64})).map(([at, count]): Change => (bytes) => {
      const changed = new Uint8Array(bytes.length - Math.min(count, bytes.length - at));
      changed.set(bytes.subarray(0, at));
      changed.set(bytes.subarray(bytes.length - (changed.length - at)), at);
      return changed;
    }),
    fc.tuple(position, fc.integer({min: 1, max: 64})).map(([at, count]): Change => (bytes) => {
      const changed = new Uint8Array(bytes.length + count);
      changed.set(bytes.subarray(0, at + 1));
      changed.set(bytes.subarray(at + 1), at + 1 + count);
      return changed;
    }),
  );
}

/** In JSON: a run of digits becomes another number, a word another word. */
function jsonChanges(text: string): fc.Arbitrary<(text: string) => string> {
  const tokens = [...text.matchAll(/-?\d+(?:\.\d+)?|"[^"]*"|true|false|null/g)];
  const replacement = fc.constantFrom(
    ...[
      '-1',
      '0',
      '3',
      '1e999',
      '9007199254740993',
      '0.5',
      'null',
      '{}',
      '[]',
      '[[[]]]',
      '"x"',
      '"../x"',
      '"__proto__"',
      'true',
    ],
    ...['"F32"', '"BF16"', '"I64"', '4294967296', '2', ''],
  );
  return fc.tuple(fc.nat(tokens.length - 1), replacement).map(([index, value]) => (original) => {
    const match = [...original.matchAll(/-?\d+(?:\.\d+)?|"[^"]*"|true|false|null/g)].at(
      index % tokens.length,
    );
    if (match === undefined) return original;
    return original.slice(0, match.index) + value + original.slice(match.index + match[0].length);
  });
}

/** Opens and reads all; anything but an error of this package fails, as does too much memory. */
async function mustNotBreak(open: () => Promise<Checkpoint>): Promise<void> {
  const used = () => process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  const before = used();
  let checkpoint: Checkpoint | null = null;
  try {
    checkpoint = await open();
    if (checkpoint.tokenizer !== null) createTokenizer(checkpoint.tokenizer).encode('Hello world');
    for (const name of checkpoint.tensors.keys()) await checkpoint.read(name);
  } catch (error) {
    if (!(error instanceof ModelError || error instanceof FileError)) throw error;
    expect(error.message.length, error.message).to.be.lessThan(2000);
  } finally {
    await checkpoint?.close();
  }
  expect(used() - before).to.be.lessThan(MAX_ALLOCATED_BYTES);
}

describe('damaged checkpoints', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const several = <T>(change: fc.Arbitrary<T>) => fc.array(change, {minLength: 1, maxLength: 3});

  it('end in an error or open: GGUF', async () => {
    const original = new Uint8Array(readFileSync(join(TINY, 'qwen2-bias', 'model-q8_0.gguf')));
    // The tensors' data start behind this: 16 more bytes reach into them.
    const header = original.length - (await dataBytes(join(TINY, 'qwen2-bias', 'model-q8_0.gguf'))) + 16;
    await fc.assert(
      fc.asyncProperty(several(changes(header)), async (list) => {
        const bytes = list.reduce<Uint8Array>(
          (changed, change) => (changed.length >= header ? change(changed) : changed),
          original,
        );
        await mustNotBreak(() => openGguf(folder.write('fuzz.gguf', bytes)));
      }),
      {seed: 11, numRuns: 400},
    );
  });

  it('end in an error or open: safetensors', async () => {
    const dir = join(folder.path, 'bytes');
    cpSync(join(TINY, 'llama-sharded'), dir, {recursive: true});
    const name = 'model-00003-of-00003.safetensors';
    const original = new Uint8Array(readFileSync(join(dir, name)));
    const header = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));
    await fc.assert(
      fc.asyncProperty(several(changes(header)), async (list) => {
        const bytes = list.reduce<Uint8Array>(
          (changed, change) => (changed.length >= header ? change(changed) : changed),
          original,
        );
        writeFileSync(join(dir, name), bytes);
        await mustNotBreak(() => openHuggingFaceFolder(dir));
      }),
      {seed: 12, numRuns: 400},
    );
  });

  it('end in an error or open: values in the JSON of safetensors', async () => {
    const dir = join(folder.path, 'values');
    cpSync(join(TINY, 'llama-sharded'), dir, {recursive: true});
    const name = 'model-00003-of-00003.safetensors';
    const original = new Uint8Array(readFileSync(join(dir, name)));
    const end = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));
    const text = new TextDecoder().decode(original.subarray(8, end));
    await fc.assert(
      fc.asyncProperty(several(jsonChanges(text)), async (list) => {
        const changed = new TextEncoder().encode(list.reduce((json, change) => change(json), text));
        const bytes = new Uint8Array(8 + changed.length + original.length - end);
        new DataView(bytes.buffer).setBigUint64(0, BigInt(changed.length), true);
        bytes.set(changed, 8);
        bytes.set(original.subarray(end), 8 + changed.length);
        writeFileSync(join(dir, name), bytes);
        await mustNotBreak(() => openHuggingFaceFolder(dir));
      }),
      {seed: 13, numRuns: 300},
    );
  });

  for (const name of ['config.json', 'model.safetensors.index.json']) {
    it(`end in an error or open: ${name}`, async () => {
      const dir = join(folder.path, name);
      mkdirSync(dir);
      cpSync(join(TINY, 'llama-sharded'), dir, {recursive: true});
      const text = readFileSync(join(dir, name), 'utf8');
      await fc.assert(
        fc.asyncProperty(several(jsonChanges(text)), async (list) => {
          writeFileSync(
            join(dir, name),
            list.reduce((json, change) => change(json), text),
          );
          await mustNotBreak(() => openHuggingFaceFolder(dir));
        }),
        {seed: 14, numRuns: 200},
      );
    });
  }
});

/** Bytes from the first tensor's data to the end of the file. */
async function dataBytes(path: string): Promise<number> {
  const checkpoint = await openGguf(path);
  await checkpoint.close();
  const starts = [...checkpoint.tensors.values()].map(
    (tensor) => (tensor as unknown as {start: number}).start,
  );
  return readFileSync(path).length - Math.min(...starts);
}
