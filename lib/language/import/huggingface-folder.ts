/** @file A checkpoint as Hugging Face publishes it: a folder with config.json, safetensors and tokenizer files. */
import {FileError, ModelError} from '../../errors.js';
import type {FileFolder} from '../../io/files/file-folder.js';
import type {Checkpoint, CheckpointTensor} from '../weights/checkpoint.js';
import type {LlamaConfig} from '../config/llama-config.js';
import {parseConfig} from '../config/parse-config.js';
import type {TokenizerSource} from '../tokenizer/source.js';
import {readJsonFile, readOptionalJsonFile, readTextFile, type JsonObject} from './json-file.js';
import {openShards} from './safetensors-shards.js';

/**
 * A Hugging Face folder as a checkpoint. Weights are read one tensor at a time, when asked for.
 *
 * @param folder Has `config.json`, `model.safetensors` or shards with `model.safetensors.index.json` (F32, F16 or
 *   BF16), and if there, `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`, `generation_config.json`.
 * @returns The checkpoint; close it when all is read.
 * @throws {FileError} If a file is missing or is no JSON.
 * @throws {ModelError} If the architecture is unknown, or a file of weights is malformed; it names file and tensor.
 */
export async function huggingFaceCheckpoint(folder: FileFolder): Promise<Checkpoint> {
  const path = folder.pathOf('config.json');
  const json = await readJsonFile(folder, 'config.json');
  if (json['quantization_config'] !== undefined && json['quantization_config'] !== null) {
    throw new ModelError(
      'unsupported-dtype',
      `${path} says that the weights are quantized; F32, F16 and BF16 can be read: use the checkpoint before it was quantized, or a GGUF`,
      {path},
    );
  }
  const config = withGenerationTokens(
    parseConfig(json),
    await readOptionalJsonFile(folder, 'generation_config.json'),
  );
  const tokenizer = await readTokenizer(folder);
  const {fileOf, files} = await openShards(folder);
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, file] of fileOf) tensors.set(name, file.entries.get(name)!);
  return {
    config,
    tensors,
    normOffset: config.architecture === 'gemma' ? 1 : 0,
    tokenizer,
    read: (name) => {
      const file = fileOf.get(name);
      if (file !== undefined) return file.read(name);
      throw new ModelError(
        'missing-tensor',
        `${folder.name} has no tensor "${name}": is the checkpoint complete?`,
        {
          path: folder.name,
          tensor: name,
        },
      );
    },
    close: async () => {
      for (const file of files) await file.close();
    },
  };
}

/** generation_config.json wins: instruction-tuned models name the end of a turn only there. */
function withGenerationTokens(config: LlamaConfig, generation: JsonObject | null): LlamaConfig {
  const bos = generation?.['bos_token_id'];
  const eos = generation?.['eos_token_id'];
  const eosTokenIds = (Array.isArray(eos) ? eos : [eos]).filter(isTokenId);
  return {
    ...config,
    bosTokenId: isTokenId(bos) ? bos : config.bosTokenId,
    eosTokenIds: eosTokenIds.length > 0 ? eosTokenIds : config.eosTokenIds,
  };
}

function isTokenId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

async function readTokenizer(folder: FileFolder): Promise<TokenizerSource | null> {
  const tokenizer = await readOptionalJsonFile(folder, 'tokenizer.json');
  if (tokenizer === null) return null;
  const config = (await readOptionalJsonFile(folder, 'tokenizer_config.json')) ?? {};
  const template = await readOptionalText(folder, 'chat_template.jinja');
  return {tokenizer, config: template === null ? config : {...config, chat_template: template}};
}

async function readOptionalText(folder: FileFolder, file: string): Promise<string | null> {
  try {
    return await readTextFile(folder, file);
  } catch (error) {
    if (error instanceof FileError && error.code === 'missing-file') return null;
    throw error;
  }
}
