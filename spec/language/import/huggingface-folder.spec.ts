import {expect} from 'chai';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {openHuggingFaceFolder} from '../../../lib/language/import/local-checkpoints.js';
import {openCheckpoint} from '../../../lib/language/import/open-checkpoint.js';
import {isClosed} from '../../support/io/files.js';
import {rejection} from '../../support/rejection.js';
import {temporaryFolder} from '../../support/temporary-folder.js';

const TINY = fileURLToPath(new URL('../../fixtures/tiny/', import.meta.url));
const SHARDED = join(TINY, 'llama-sharded');
const INDEX = 'model.safetensors.index.json';

describe('a Hugging Face folder', () => {
  const folder = temporaryFolder();
  let count = 0;

  /** A copy of a checkpoint, changed. */
  const copyOf = (name: string, change: (dir: string) => void = () => {}) => {
    const dir = join(folder.path, `copy-${count++}`);
    cpSync(join(TINY, name), dir, {recursive: true});
    change(dir);
    return dir;
  };
  const editJson = (path: string, edit: (json: Record<string, unknown>) => void) => {
    const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    edit(json);
    writeFileSync(path, JSON.stringify(json));
  };

  const editWeightMap = (dir: string, entries: Record<string, unknown>) =>
    editJson(join(dir, INDEX), (json) => Object.assign(json['weight_map'] as object, entries));

  for (const name of readdirSync(TINY).filter((entry) => !entry.endsWith('.md'))) {
    it(`opens ${name} and reads every tensor in its shape`, async () => {
      const checkpoint = await openCheckpoint(join(TINY, name));
      const {config, tensors} = checkpoint;
      expect(tensors.get('model.embed_tokens.weight')?.shape).to.deep.equal([
        config.vocabularySize,
        config.hiddenSize,
      ]);
      expect(tensors.has('lm_head.weight')).to.equal(!config.tiedEmbedding);
      for (const tensor of tensors.values()) {
        const values = await checkpoint.read(tensor.name);
        expect(values.length).to.equal(tensor.shape.reduce((product, size) => product * size, 1));
        expect(values.every(Number.isFinite), tensor.name).to.equal(true);
      }
      expect(checkpoint.tokenizer).to.equal(null);
      expect(checkpoint.normOffset).to.equal(0);
      await checkpoint.close();
    });
  }

  it('reads the tensors of all shards', async () => {
    const checkpoint = await openHuggingFaceFolder(SHARDED);
    const {weight_map: map} = JSON.parse(readFileSync(join(SHARDED, INDEX), 'utf8')) as {weight_map: object};
    expect([...checkpoint.tensors.keys()]).to.have.members(Object.keys(map));
    await checkpoint.close();
  });

  it('takes end tokens from generation_config.json, and chat template and tokenizer where there are any', async () => {
    const dir = copyOf('llama2-mha', (path) => {
      writeFileSync(join(path, 'generation_config.json'), '{"eos_token_id": [7, 9], "bos_token_id": 3}');
      writeFileSync(join(path, 'tokenizer.json'), '{"model": {"type": "BPE"}}');
      writeFileSync(join(path, 'tokenizer_config.json'), '{"eos_token": "</s>", "chat_template": "old"}');
      writeFileSync(join(path, 'chat_template.jinja'), '{{ messages }}');
    });
    const checkpoint = await openHuggingFaceFolder(dir);
    expect(checkpoint.config.eosTokenIds).to.deep.equal([7, 9]);
    expect(checkpoint.config.bosTokenId).to.equal(3);
    expect(checkpoint.tokenizer).to.deep.equal({
      tokenizer: {model: {type: 'BPE'}},
      config: {eos_token: '</s>', chat_template: '{{ messages }}'},
    });
    await checkpoint.close();
  });

  it('says that the norms of gemma lack their 1', async () => {
    const dir = copyOf('llama2-mha', (path) => {
      editJson(join(path, 'config.json'), (json) => Object.assign(json, {model_type: 'gemma'}));
    });
    const checkpoint = await openHuggingFaceFolder(dir);
    expect(checkpoint.normOffset).to.equal(1);
    await checkpoint.close();
  });

  const shard = (number: number) => `model-0000${number}-of-00003.safetensors`;
  for (const [what, code, text, change] of [
    ['a missing shard', 'missing-file', shard(2), (dir) => rmSync(join(dir, shard(2)))],
    [
      'an index that leads out of the folder',
      'unsafe-path',
      'lm_head.weight',
      (dir) => editWeightMap(dir, {'lm_head.weight': `../llama2-mha/model.safetensors`}),
    ],
    [
      'an index with an absolute path',
      'unsafe-path',
      'lm_head',
      (dir) => editWeightMap(dir, {lm_head: '/etc/passwd'}),
    ],
    [
      'an index that places a tensor nowhere',
      'unsafe-path',
      'lm_head',
      (dir) => editWeightMap(dir, {lm_head: 3}),
    ],
    [
      'an index that places a tensor in the wrong file',
      'missing-tensor',
      'lm_head.weight',
      (dir) => editWeightMap(dir, {'lm_head.weight': shard(1)}),
    ],
    [
      'an index without a map',
      'malformed-index',
      INDEX,
      (dir) => writeFileSync(join(dir, INDEX), '{"weight_map": []}'),
    ],
    ['an index that is no JSON', 'malformed-json', INDEX, (dir) => writeFileSync(join(dir, INDEX), '{')],
    [
      'a tensor that is in two shards',
      'duplicate-tensor',
      shard(2),
      (dir) => copyFileSync(join(dir, shard(1)), join(dir, shard(2))),
    ],
    ['shards without an index', 'missing-file', INDEX, (dir) => rmSync(join(dir, INDEX))],
    [
      'a quantized checkpoint',
      'unsupported-dtype',
      'config.json',
      (dir) =>
        editJson(join(dir, 'config.json'), (json) => Object.assign(json, {quantization_config: {bits: 4}})),
    ],
    [
      'a tokenizer.json that is no JSON',
      'malformed-json',
      'tokenizer.json',
      (dir) => writeFileSync(join(dir, 'tokenizer.json'), '<html>'),
    ],
  ] as [string, string, string, (dir: string) => void][]) {
    it(`rejects ${what}`, async () => {
      const error = await rejection(() => openHuggingFaceFolder(copyOf('llama-sharded', change)), code);
      expect(error.message).to.contain(text);
    });
  }

  for (const [what, code, message, change] of [
    [
      'a missing shard',
      'missing-file',
      `D/${shard(2)} does not exist, but ${INDEX} places tensors in it: download it too`,
      (dir) => rmSync(join(dir, shard(2))),
    ],
    [
      'a path out of the folder',
      'unsafe-path',
      `D/${INDEX} places tensor "x" in "../model.safetensors"; it must be the name of a .safetensors file in the same folder`,
      (dir) => editWeightMap(dir, {x: '../model.safetensors'}),
    ],
    [
      'a path into a folder below',
      'unsafe-path',
      `D/${INDEX} places tensor "x" in "a/model.safetensors"; it must be the name of a .safetensors file in the same folder`,
      (dir) => editWeightMap(dir, {x: 'a/model.safetensors'}),
    ],
    [
      'a file of another kind',
      'unsafe-path',
      `D/${INDEX} places tensor "x" in "model.safetensors.bin"; it must be the name of a .safetensors file in the same folder`,
      (dir) => editWeightMap(dir, {x: 'model.safetensors.bin'}),
    ],
    [
      'a place that is no text',
      'unsafe-path',
      `D/${INDEX} places tensor "x" in a number; it must be the name of a .safetensors file in the same folder`,
      (dir) => editWeightMap(dir, {x: 3}),
    ],
    [
      'a name that is too long',
      'unsafe-path',
      `D/${INDEX} places tensor "${'x'.repeat(200)}" in "${'y'.repeat(200)}"; it must be the name of a .safetensors file in the same folder`,
      (dir) => editWeightMap(dir, {['x'.repeat(300)]: 'y'.repeat(300)}),
    ],
    [
      'a tensor in the wrong file',
      'missing-tensor',
      `${INDEX} says that tensor "lm_head.weight" is in ${shard(1)}, which does not have it: download both again`,
      (dir) => editWeightMap(dir, {'lm_head.weight': shard(1)}),
    ],
    [
      'a tensor that is in no file',
      'missing-tensor',
      `${INDEX} says that tensor "more" is in ${shard(1)}, which does not have it: download both again`,
      (dir) => editWeightMap(dir, {more: shard(1)}),
    ],
    [
      'an index without a map',
      'malformed-index',
      `D/${INDEX} has no object "weight_map": download it again`,
      (dir) => writeFileSync(join(dir, INDEX), '{"weight_map": []}'),
    ],
    [
      'an index of nothing',
      'malformed-index',
      `D/${INDEX} lists 0 files; 1 to 1000 are read: download it again`,
      (dir) => writeFileSync(join(dir, INDEX), '{"weight_map": {}}'),
    ],
    [
      'an index of too many files',
      'malformed-index',
      `D/${INDEX} lists 1001 files; 1 to 1000 are read: download it again`,
      (dir) => {
        const places = Array.from({length: 1001}, (_, i) => [`${i}`, `${i}.safetensors`]);
        writeFileSync(join(dir, INDEX), JSON.stringify({weight_map: Object.fromEntries(places) as object}));
      },
    ],
    [
      'shards without an index',
      'missing-file',
      `D has 3 .safetensors files but no ${INDEX} that says what is where: download that too`,
      (dir) => rmSync(join(dir, INDEX)),
    ],
    [
      'no weights',
      'missing-file',
      'D has no .safetensors file: name the folder of a Hugging Face checkpoint',
      (dir) => [INDEX, ...[1, 2, 3].map(shard)].forEach((name) => rmSync(join(dir, name))),
    ],
    [
      'weights as pickles',
      'unsupported-format',
      'D has weights only as model.pth, which can run code when it is read: convert them to safetensors (in Python: ' +
        'AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)), or download a revision that has them',
      (dir) => {
        [INDEX, ...[1, 2, 3].map(shard)].forEach((name) => rmSync(join(dir, name)));
        writeFileSync(join(dir, 'model.pth'), '');
      },
    ],
    [
      'a configuration that is a list',
      'malformed-json',
      'D/config.json is no JSON object: download it again',
      (dir) => writeFileSync(join(dir, 'config.json'), '[]'),
    ],
    [
      'a configuration that is null',
      'malformed-json',
      'D/config.json is no JSON object: download it again',
      (dir) => writeFileSync(join(dir, 'config.json'), 'null'),
    ],
    [
      'quantized weights',
      'unsupported-dtype',
      'D/config.json says that the weights are quantized; F32, F16 and BF16 can be read: use the checkpoint before it ' +
        'was quantized, or a GGUF',
      (dir) =>
        editJson(join(dir, 'config.json'), (json) => Object.assign(json, {quantization_config: {bits: 4}})),
    ],
  ] as [string, string, string, (dir: string) => void][]) {
    it(`says what is wrong with ${what}, and lets go of all files`, async () => {
      const dir = copyOf('llama-sharded', change);
      const error = await rejection(() => openHuggingFaceFolder(dir), code);
      expect(error.message).to.equal(message.replace('D', dir));
      expect(error.data['path']).to.be.a('string').that.includes(dir);
      for (const name of readdirSync(dir)) expect(await isClosed(join(dir, name))).to.not.equal(false);
    });
  }

  it('names both files that have a tensor', async () => {
    const dir = copyOf('llama-sharded', (path) => copyFileSync(join(path, shard(1)), join(path, shard(2))));
    const error = await rejection(() => openHuggingFaceFolder(dir), 'duplicate-tensor');
    const paths = [join(dir, shard(1)), join(dir, shard(2))];
    expect(error.message).to.match(/^tensor "[\w.]+" is in both /);
    expect(error.message).to.include(`is in both ${paths.join(' and ')}: download the checkpoint again`);
    expect(error.data['paths']).to.deep.equal(paths);
  });

  it('takes model.safetensors where there are shards too, and one file of any name', async () => {
    for (const [name, prepare] of [
      ['whole', (dir: string) => cpSync(join(SHARDED, INDEX), join(dir, INDEX))],
      [
        'other name',
        (dir: string) => renameSync(join(dir, 'model.safetensors'), join(dir, 'weights.safetensors')),
      ],
      ['beside another', (dir: string) => writeFileSync(join(dir, 'a.safetensors'), '')],
    ] as const) {
      const checkpoint = await openHuggingFaceFolder(copyOf('llama2-mha', prepare));
      expect(checkpoint.tensors.has('model.norm.weight'), name).to.equal(true);
      const error = await rejection(() => checkpoint.read('nothing'), 'missing-tensor');
      expect(error.message).to.match(/copy-\d+ has no tensor "nothing": is the checkpoint complete\?$/);
      await checkpoint.close();
    }
  });

  it('lets go of all shards when it is closed', async () => {
    const dir = copyOf('llama-sharded');
    const checkpoint = await openHuggingFaceFolder(dir);
    await checkpoint.close();
    for (const name of readdirSync(dir)) expect(await isClosed(join(dir, name))).to.not.equal(false);
  });

  it('takes a tokenizer without configuration and template', async () => {
    for (const [config, expected] of [
      [null, {}],
      ['{"chat_template": "own"}', {chat_template: 'own'}],
    ] as const) {
      const dir = copyOf('llama2-mha', (path) => {
        writeFileSync(join(path, 'tokenizer.json'), '{"model": {}}');
        if (config !== null) writeFileSync(join(path, 'tokenizer_config.json'), config);
      });
      const checkpoint = await openHuggingFaceFolder(dir);
      expect(checkpoint.tokenizer).to.deep.equal({tokenizer: {model: {}}, config: expected});
      await checkpoint.close();
    }
  });

  it('gives a failure of the system on', async () => {
    const dir = copyOf('llama2-mha', (path) => {
      writeFileSync(join(path, 'tokenizer.json'), '{"model": {}}');
      mkdirSync(join(path, 'chat_template.jinja'));
    });
    await rejection(() => openHuggingFaceFolder(dir), 'not-a-file');
    const quantized = copyOf('llama2-mha', (path) =>
      editJson(join(path, 'config.json'), (json) => Object.assign(json, {quantization_config: null})),
    );
    await (await openHuggingFaceFolder(quantized)).close();
  });

  it('takes ids of tokens for what they are', async () => {
    for (const [generation, bos, eos] of [
      ['{"eos_token_id": 9, "bos_token_id": 0}', 0, [9]],
      ['{"eos_token_id": [0, -1, "7", 5], "bos_token_id": -1}', 'own', [0, 5]],
      ['{"eos_token_id": null, "bos_token_id": 1.5}', 'own', 'own'],
      ['{}', 'own', 'own'],
    ] as const) {
      const own = await openHuggingFaceFolder(join(TINY, 'llama2-mha'));
      const dir = copyOf('llama2-mha', (path) =>
        writeFileSync(join(path, 'generation_config.json'), generation),
      );
      const {config, ...checkpoint} = await openHuggingFaceFolder(dir);
      expect(config.bosTokenId).to.equal(bos === 'own' ? own.config.bosTokenId : bos);
      expect(config.eosTokenIds).to.deep.equal(eos === 'own' ? own.config.eosTokenIds : eos);
      await own.close();
      await checkpoint.close();
    }
  });

  it('rejects weights as pickles, and says how to convert them', async () => {
    const dir = copyOf('llama2-mha', (path) => {
      rmSync(join(path, 'model.safetensors'));
      writeFileSync(join(path, 'pytorch_model.bin'), '');
    });
    const error = await rejection(() => openCheckpoint(dir), 'unsupported-format');
    expect(error.message).to.contain('pytorch_model.bin').and.contain('safetensors');
  });

  it('rejects a folder without a model, a file of another kind, and what is not there', async () => {
    const empty = join(folder.path, 'empty');
    mkdirSync(empty);
    await rejection(() => openCheckpoint(empty), 'missing-file');
    await rejection(() => openCheckpoint(folder.write('notes.txt', 'hello')), 'unsupported-format');
    await rejection(() => openCheckpoint(join(folder.path, 'nowhere')), 'missing-file');
  });
});
