/** @file The sides of the comparison, and the files that they need. */
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {cacheFolder} from '../../../lib/provision/cache.js';
import {copyGguf} from './gguf-copy.js';
import {llamaCppEntry} from './llama-cpp.js';

/** What the others are compared with: no fused decoder. */
export const LAYERS = 'layers of tfjs-node';

export interface Contestant {
  readonly side: string;
  /** Of the weights; `as shipped`: those of the file itself. */
  readonly precision: 'float32' | 'bfloat16' | 'float16' | 'int8' | 'Q8_0' | 'as shipped';
  readonly sparsity: number;
  readonly file: string;
  /** Arguments of its process but for the threads, which come last. */
  readonly args: readonly string[];
  readonly isLlamaCpp: boolean;
}

/** Whether a side takes part. */
export type Wanted = (contestant: Contestant) => boolean;

/** Our sides that take part: the layers of tfjs-node one by one, then the decoder; of a GGUF file also with its own weights. */
export function ours(model: string, isWanted: Wanted): Contestant[] {
  const file = fileURLToPath(new URL('own-side.ts', import.meta.url));
  const make = (
    side: string,
    kind: string,
    precision: 'float32' | 'bfloat16' | 'int8' | 'as shipped',
    sparsity: number,
  ) => ({
    side,
    precision,
    sparsity,
    file,
    args: [model, kind, precision, String(sparsity)],
    isLlamaCpp: false,
  });
  const all: Contestant[] = [
    make(LAYERS, 'layers', 'float32', 0),
    make('tfjs-sparsify', 'native', 'float32', 0),
    make('tfjs-sparsify', 'native', 'float32', 0.5),
    make('tfjs-sparsify', 'native', 'bfloat16', 0),
    make('tfjs-sparsify', 'native', 'bfloat16', 0.5),
    make('tfjs-sparsify', 'native', 'int8', 0),
    make('tfjs-sparsify', 'native', 'int8', 0.5),
  ];
  if (model.endsWith('.gguf')) {
    all.push(make('tfjs-sparsify', 'native', 'as shipped', 0));
    all.push(make('tfjs-sparsify', 'native', 'as shipped', 0.5));
  }
  return all.filter(isWanted);
}

/** llama.cpp with `model` itself, and with float32, float16 and 8-bit weights, which are those of `model` in that form. */
export async function llamaCpp(model: string, isWanted: Wanted): Promise<Contestant[]> {
  const file = fileURLToPath(new URL('llama-cpp-side.ts', import.meta.url));
  const make = (precision: Contestant['precision'], suffix?: 'F32' | 'F16' | 'Q8_0') => ({
    contestant: {side: 'llama.cpp', precision, sparsity: 0, file, args: [], isLlamaCpp: true},
    suffix,
  });
  const all = [
    make('as shipped'),
    make('float32', 'F32'),
    make('float16', 'F16'),
    make('Q8_0', 'Q8_0'),
  ].filter(({contestant}) => isWanted(contestant));
  if (all.length === 0) return [];
  if (!model.endsWith('.gguf')) throw new Error('llama.cpp reads GGUF files only: add --without-llama-cpp');
  const entry = await llamaCppEntry();
  const contestants: Contestant[] = [];
  for (const {contestant, suffix} of all) {
    const path = suffix === undefined ? model : await copyOf(model, suffix);
    contestants.push({...contestant, args: [entry, path]});
  }
  return contestants;
}

/** The file's weights in another precision, in the cache. */
async function copyOf(model: string, suffix: 'F32' | 'F16' | 'Q8_0'): Promise<string> {
  const copy = join(cacheFolder(), `bench-${model.replace(/^.*[\\/]|\.gguf$/g, '')}-${suffix}.gguf`);
  if (!existsSync(copy)) {
    console.error(`writing the weights in ${suffix} for llama.cpp`);
    await copyGguf(model, copy, suffix);
  }
  return copy;
}

export function nameOf({side, precision, sparsity}: Contestant): string {
  return `${side}, ${precision}, ${sparsity * 100} %`;
}
