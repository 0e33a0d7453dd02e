import {expect} from 'chai';
import {readFileSync, truncateSync} from 'node:fs';
import {join} from 'node:path';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {isClosed} from '../../support/io/files.js';
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

  const SIZE = good().length;
  const EMBEDDED = 'tensor "token_embd.weight" of F';
  const DTYPES =
    'F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K can be read: take the model in one of these, such ' +
    'as Q8_0 or Q4_K_M';

  for (const [what, bytes, code, message] of [
    [
      'an empty file',
      () => new Uint8Array(0),
      'not-gguf',
      'F does not start like a GGUF file: check what it is',
    ],
    [
      'a file of 7 bytes',
      () => good().slice(0, 7),
      'not-gguf',
      'F does not start like a GGUF file: check what it is',
    ],
    [
      'another kind of file',
      () => new TextEncoder().encode('%PDF-1.7 and so on'),
      'not-gguf',
      'F does not start like a GGUF file: check what it is',
    ],
    [
      'version 1',
      () => patched(4, 1n),
      'not-gguf',
      'F is GGUF version 1; 2 and 3 (little-endian) can be read: convert the model again',
    ],
    ['big-endian files', () => patched(4, 3n << 24n), 'not-gguf'],
    ['a count of 2^60 tensors', () => patched(8, 2n ** 60n), 'malformed-gguf'],
    ['a count of a million tensors', () => patched(8, 1_000_000n), 'malformed-gguf'],
    ['a count of 2^60 keys', () => patched(16, 2n ** 60n), 'malformed-gguf'],
    ['a key of 2^40 bytes', () => patched(24, 2n ** 40n), 'malformed-gguf'],
    ['a header that was cut off', () => good().slice(0, 200), 'malformed-gguf'],
    [
      'data that was cut off',
      () => good().slice(0, -8),
      'truncated',
      `F is ${SIZE - 8} bytes, but tensor "token_embd.weight" ends at byte ${SIZE}: the file was cut off, download it again`,
    ],
    [
      'a type that is not known',
      () => tensor({type: 20}),
      'unsupported-dtype',
      `tensor "token_embd.weight" of F is IQ4_NL; ${DTYPES}`,
    ],
    [
      'a type that no ggml has',
      () => tensor({type: 4000}),
      'unsupported-dtype',
      `tensor "token_embd.weight" of F is type 4000; ${DTYPES}`,
    ],
    ['a shape larger than the data', () => tensor({shape: [1600, 6]}), 'truncated'],
    ['a shape that overflows', () => tensor({shape: [2 ** 32, 2 ** 32, 2 ** 32]}), 'malformed-gguf'],
    ['a dimension of 2^33', () => tensor({shape: [2 ** 33, 6]}), 'malformed-gguf'],
    [
      'a dimension of 0',
      () => tensor({shape: [0, 6]}),
      'malformed-gguf',
      `${EMBEDDED} has shape [0, 6]; 1 to 4 dimensions of at least 1 are allowed: download it again`,
    ],
    [
      'no dimensions',
      () => tensor({shape: []}),
      'malformed-gguf',
      `${EMBEDDED} has shape []; 1 to 4 dimensions of at least 1 are allowed: download it again`,
    ],
    [
      'more dimensions than ggml has',
      () => tensor({shape: [16, 1, 1, 1, 6]}),
      'malformed-gguf',
      `${EMBEDDED} has shape [16, 1, 1, 1, 6]; 1 to 4 dimensions of at least 1 are allowed: download it again`,
    ],
    [
      'rows that are no whole blocks',
      () => tensor({type: GGML_TYPE.Q4_0}),
      'malformed-gguf',
      `${EMBEDDED} has rows of 6, no whole number of Q4_0 blocks of 32, or too many: download it again`,
    ],
    ['an offset behind the file', () => tensor({offset: 2 ** 40}), 'truncated'],
    [
      'an offset off the alignment',
      () => tensor({offset: 4}),
      'malformed-gguf',
      `${EMBEDDED} starts at 4, no multiple of the alignment 32: download it again`,
    ],
    [
      'overlapping tensors',
      () => writeGguf(metadataOf('llama'), [EMBEDDING, {...counting('output.weight', [16, 6]), offset: 32}]),
      'overlapping-tensors',
      'tensors "token_embd.weight" and "output.weight" of F overlap: download it again',
    ],
    [
      'two tensors of one name',
      () => writeGguf(metadataOf('llama'), [EMBEDDING, EMBEDDING]),
      'duplicate-tensor',
      'F lists tensor "token_embd.weight" twice, so it is not clear which is meant: download it again',
    ],
    [
      'two tensors that are one in the model',
      () =>
        writeGguf(metadataOf('llama'), [
          EMBEDDING,
          counting('blk.0.attn_norm.weight', [6]),
          counting('blk.00.attn_norm.weight', [6]),
        ]),
      'duplicate-tensor',
      'F has two tensors for "model.layers.0.input_layernorm.weight": download it again',
    ],
    [
      'a part of a file',
      () => writeGguf(metadataOf('llama', {'split.count': 3}), [EMBEDDING]),
      'unsupported-format',
      'F is one of 3 parts; one file can be read: join them with llama-gguf-split --merge',
    ],
    [
      'factors of the rotation in two dimensions',
      () => writeGguf(metadataOf('llama'), [EMBEDDING, counting('rope_freqs.weight', [2, 1])]),
      'malformed-gguf',
      'tensor "rope_freqs.weight" of F has shape [2, 1]; it must be one row of at most 4096',
    ],
    [
      'more factors than a head can have',
      () => writeGguf(metadataOf('llama'), [EMBEDDING, counting('rope_factors_short.weight', [4097])]),
      'malformed-gguf',
      'tensor "rope_factors_short.weight" of F has shape [4097]; it must be one row of at most 4096',
    ],
    [
      'an alignment of 3',
      () => writeGguf(metadataOf('llama', {'general.alignment': 3}), [EMBEDDING]),
      'malformed-gguf',
      'the header of F is damaged: general.alignment is 3, no power of two up to 65536; download it again',
    ],
    [
      'an alignment of 2^17',
      () => writeGguf(metadataOf('llama', {'general.alignment': 2 ** 17}), [EMBEDDING]),
      'malformed-gguf',
      'the header of F is damaged: general.alignment is 131072, no power of two up to 65536; download it again',
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
      'the header of F is damaged: its metadata has a key "__proto__"; download it again',
    ],
  ] as [string, () => Uint8Array, string, string?][]) {
    it(`rejects ${what}`, async () => {
      const error = await rejection(() => open(bytes()), code);
      const path = join(folder.path, 'hostile.gguf');
      expect(error.message).to.contain(path);
      if (message !== undefined) expect(error.message).to.equal(message.replace('F', path));
      expect(error.data['path'] ?? path).to.equal(path);
    });
  }

  it('rejects heads that do not divide the rows of q, naming the tensor', async () => {
    const path = write(metadataOf('llama'), [EMBEDDING, counting('blk.0.attn_q.weight', [7, 6])]);
    await using(path, async (checkpoint) => {
      const error = await rejection(
        () => checkpoint.read('model.layers.0.self_attn.q_proj.weight'),
        'malformed-tensor',
      );
      expect(error.message).to.equal(
        `tensor "model.layers.0.self_attn.q_proj.weight" of ${path} has shape [7, 6], which 2 heads of even size do not divide`,
      );
      expect(error.data).to.deep.equal({path, tensor: 'model.layers.0.self_attn.q_proj.weight'});
      const missing = await rejection(() => checkpoint.read('lm_head.weight'), 'missing-tensor');
      expect(missing.message).to.equal(`${path} has no tensor "lm_head.weight": is it complete?`);
      expect(missing.data).to.deep.equal({path, tensor: 'lm_head.weight'});
    });
  });

  for (const rows of [6, 2]) {
    it(`rejects heads of odd size: ${rows} rows for 2 of them`, async () => {
      const path = write(metadataOf('llama'), [EMBEDDING, counting('blk.0.attn_q.weight', [rows, 6])]);
      await using(path, async (checkpoint) => {
        await rejection(() => checkpoint.read('model.layers.0.self_attn.q_proj.weight'), 'malformed-tensor');
      });
    });
  }

  it('says of a header that is cut off where it ends', async () => {
    for (const length of [25, 60, 200]) {
      const error = await rejection(() => open(good().slice(0, length)), 'malformed-gguf');
      expect(error.message).to.match(
        /hostile\.gguf is damaged: its header ends at byte \d+, behind the end of the file; download it again$/,
      );
      expect(error.data).to.deep.equal({path: join(folder.path, 'hostile.gguf')});
    }
  });

  it('reads no header of more than 40 MB', async () => {
    const tokens = Array<string>(1000).fill('x'.repeat(45_000));
    const bytes = writeGguf(metadataOf('llama', {'tokenizer.ggml.tokens': tokens}), [EMBEDDING]);
    const error = await rejection(() => open(bytes), 'malformed-gguf');
    expect(error.message).to.include('its header is longer than 40000000 bytes');
  });

  it('reads version 2, which differs in nothing that is read here', async () => {
    const bytes = good();
    new DataView(bytes.buffer).setUint32(4, 2, true);
    await using(folder.write('version2.gguf', bytes), async (checkpoint) => {
      expect(await checkpoint.read('model.embed_tokens.weight')).to.have.length(96);
    });
  });

  it('takes tensors in another order than their data, but none within another', async () => {
    const norm = counting('output_norm.weight', [6]);
    const swapped = [
      {...EMBEDDING, offset: 32},
      {...norm, offset: 0},
    ];
    const bytes = writeGguf(metadataOf('llama'), swapped);
    const data = bytes.length - 384 - 32;
    bytes.set(norm.data, data);
    bytes.set(EMBEDDING.data, data + 32);
    await using(folder.write('swapped.gguf', bytes), async (checkpoint) => {
      expect([...(await checkpoint.read('model.norm.weight'))]).to.deep.equal([0, 1, 2, 3, 4, 5]);
      expect((await checkpoint.read('model.embed_tokens.weight'))[95]).to.equal(95);
    });
    const within = writeGguf(metadataOf('llama'), [
      {...norm, offset: 64},
      {...EMBEDDING, offset: 0},
    ]);
    const error = await rejection(() => open(within), 'overlapping-tensors');
    expect(error.message).to.include('tensors "token_embd.weight" and "output_norm.weight" of');
    expect(error.data).to.include({tensor: 'output_norm.weight'});
  });

  it('says how large a file would have to be', async () => {
    const error = await rejection(() => open(good().slice(0, -8)), 'truncated');
    const path = join(folder.path, 'hostile.gguf');
    expect(error.data).to.deep.equal({path, size: SIZE - 8, needed: SIZE, tensor: 'token_embd.weight'});
  });

  it('names a tensor in short', async () => {
    const long = {...EMBEDDING, name: 't'.repeat(300)};
    const rows = await rejection(
      () => open(writeGguf(metadataOf('llama'), [{...long, shape: [0, 6]}])),
      'malformed-gguf',
    );
    expect(rows.message).to.include(`tensor "${'t'.repeat(200)}" of`);
    expect(rows.data).to.include({tensor: long.name});
    const twice = await rejection(
      () => open(writeGguf(metadataOf('llama'), [long, long])),
      'duplicate-tensor',
    );
    expect(twice.message).to.include(`tensor "${'t'.repeat(200)}" twice`);
    expect(twice.data).to.include({tensor: long.name});
    const type = await rejection(
      () => open(writeGguf(metadataOf('llama'), [{...long, type: 20}])),
      'unsupported-dtype',
    );
    expect(type.message).to.include(`tensor "${'t'.repeat(200)}" of`);
  });

  it('lets go of the file when it is closed, and when it is malformed', async () => {
    const path = write(metadataOf('llama'), [EMBEDDING]);
    await using(path, () => undefined);
    const hostile = folder.write('hostile.gguf', good().slice(0, -8));
    await rejection(() => openGguf(hostile), 'truncated');
    for (const each of [path, hostile]) expect(await isClosed(each)).to.not.equal(false);
  });

  it('rejects a tensor beyond a typed array before it takes memory', async () => {
    // The data is a hole in the file, which takes no disk.
    const shape = [2 ** 15, 32 * 1025];
    const bytes = writeGguf(metadataOf('llama'), [
      EMBEDDING,
      {name: 'output.weight', shape, type: GGML_TYPE.Q4_0, data: new Uint8Array(0)},
    ]);
    const path = folder.write('large.gguf', bytes);
    truncateSync(path, bytes.length + 2 ** 15 * 1025 * 18);
    await using(path, async (checkpoint) => {
      const error = await rejection(() => checkpoint.read('lm_head.weight'), 'too-large');
      const values = 2 ** 20 * 1025;
      expect(error.message).to.equal(
        `tensor "lm_head.weight" of ${path} takes ${4 * values} bytes as float32; at most 4294967288 can be read`,
      );
      expect(error.data).to.deep.equal({path, tensor: 'lm_head.weight', values});
    });
  });

  it('finds the data at the next multiple of the alignment', async () => {
    const alignment = 256; // the writer lays the data at the next multiple of 32
    const bytes = readFileSync(write(metadataOf('llama', {'general.alignment': alignment}), [EMBEDDING]));
    const at = bytes.length - EMBEDDING.data.length;
    const gap = Buffer.alloc((alignment - (at % alignment)) % alignment, 0xff);
    const moved = Buffer.concat([bytes.subarray(0, at), gap, bytes.subarray(at)]);
    await using(folder.write('aligned.gguf', moved), async (checkpoint) => {
      const values = await checkpoint.read('model.embed_tokens.weight');
      expect([...values]).to.deep.equal(Array.from({length: 96}, (_, i) => i));
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
