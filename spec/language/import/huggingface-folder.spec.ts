import {expect} from 'chai';
import {copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {openHuggingFaceFolder} from '../../../lib/language/import/huggingface-folder.js';
import {openCheckpoint} from '../../../lib/language/import/open-checkpoint.js';
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
