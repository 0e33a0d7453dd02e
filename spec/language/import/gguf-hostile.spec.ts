import {expect} from 'chai';
import {readFileSync} from 'node:fs';
import {openGguf} from '../../../lib/language/import/gguf.js';
import {EMBEDDING, counting, ggufFiles, metadataOf, using} from '../../support/language/gguf-files.js';
import {GGML_TYPE, writeGguf, type GgufTensorSpec} from '../../support/language/gguf-writer.js';
import {rejection} from '../../support/rejection.js';
import {temporaryFolder} from '../../support/temporary-folder.js';

describe('hostile gguf files', () => {
  const write = ggufFiles();
  const folder = temporaryFolder();
  const open = (bytes: Uint8Array) => openGguf(folder.write('hostile.gguf', bytes));
  const good = () => writeGguf(metadataOf('llama'), [EMBEDDING]);
  const patched = (position: number, value: bigint, bytes = good()) => {
    new DataView(bytes.buffer).setBigUint64(position, value, true);
    return bytes;
  };
  const tensor = (more: Partial<GgufTensorSpec>) =>
    writeGguf(metadataOf('llama'), [{...EMBEDDING, ...more}, counting('output_norm.weight', [6])]);

  for (const [what, bytes, code] of [
    ['an empty file', () => new Uint8Array(0), 'not-gguf'],
    ['another kind of file', () => new TextEncoder().encode('%PDF-1.7 and so on'), 'not-gguf'],
    ['version 1', () => patched(4, 1n), 'not-gguf'],
    ['big-endian files', () => patched(4, 3n << 24n), 'not-gguf'],
    ['a count of 2^60 tensors', () => patched(8, 2n ** 60n), 'malformed-gguf'],
    ['a count of a million tensors', () => patched(8, 1_000_000n), 'malformed-gguf'],
    ['a count of 2^60 keys', () => patched(16, 2n ** 60n), 'malformed-gguf'],
    ['a key of 2^40 bytes', () => patched(24, 2n ** 40n), 'malformed-gguf'],
    ['a header that was cut off', () => good().slice(0, 200), 'malformed-gguf'],
    ['data that was cut off', () => good().slice(0, -8), 'truncated'],
    ['a type that is not known', () => tensor({type: 20}), 'unsupported-dtype'],
    ['a type that no ggml has', () => tensor({type: 4000}), 'unsupported-dtype'],
    ['a shape larger than the data', () => tensor({shape: [1600, 6]}), 'truncated'],
    ['a shape that overflows', () => tensor({shape: [2 ** 32, 2 ** 32, 2 ** 32]}), 'malformed-gguf'],
    ['a dimension of 2^33', () => tensor({shape: [2 ** 33, 6]}), 'malformed-gguf'],
    ['a dimension of 0', () => tensor({shape: [0, 6]}), 'malformed-gguf'],
    ['no dimensions', () => tensor({shape: []}), 'malformed-gguf'],
    ['more dimensions than ggml has', () => tensor({shape: [16, 1, 1, 1, 6]}), 'malformed-gguf'],
    ['rows that are no whole blocks', () => tensor({type: GGML_TYPE.Q4_0}), 'malformed-gguf'],
    ['an offset behind the file', () => tensor({offset: 2 ** 40}), 'truncated'],
    ['an offset off the alignment', () => tensor({offset: 4}), 'malformed-gguf'],
    [
      'overlapping tensors',
      () => writeGguf(metadataOf('llama'), [EMBEDDING, {...counting('output.weight', [16, 6]), offset: 32}]),
      'overlapping-tensors',
    ],
    [
      'two tensors of one name',
      () => writeGguf(metadataOf('llama'), [EMBEDDING, EMBEDDING]),
      'duplicate-tensor',
    ],
    [
      'an alignment of 3',
      () => writeGguf(metadataOf('llama', {'general.alignment': 3}), [EMBEDDING]),
      'malformed-gguf',
    ],
    [
      'an alignment of 2^31',
      () => writeGguf(metadataOf('llama', {'general.alignment': 2 ** 31}), [EMBEDDING]),
      'malformed-gguf',
    ],
    [
      'a key __proto__',
      () => writeGguf({...metadataOf('llama'), ['__proto__']: ['x']}, [EMBEDDING]),
      'malformed-gguf',
    ],
  ] as [string, () => Uint8Array, string][]) {
    it(`rejects ${what}`, async () => {
      expect((await rejection(() => open(bytes()), code)).message).to.contain('hostile.gguf');
    });
  }

  it('rejects heads that do not divide the rows of q, naming the tensor', async () => {
    const path = write(metadataOf('llama'), [EMBEDDING, counting('blk.0.attn_q.weight', [7, 6])]);
    await using(path, async (checkpoint) => {
      const error = await rejection(
        () => checkpoint.read('model.layers.0.self_attn.q_proj.weight'),
        'malformed-tensor',
      );
      expect(error.message).to.contain('q_proj');
      await rejection(() => checkpoint.read('lm_head.weight'), 'missing-tensor');
    });
  });

  it('names the tensor when a file becomes shorter while it is read', async () => {
    const path = folder.write('shrinks.gguf', good());
    await using(path, async (checkpoint) => {
      folder.write('shrinks.gguf', readFileSync(path).subarray(0, 300));
      const error = await rejection(() => checkpoint.read('model.embed_tokens.weight'), 'truncated');
      expect(error.message).to.contain('model.embed_tokens.weight');
    });
  });
});
