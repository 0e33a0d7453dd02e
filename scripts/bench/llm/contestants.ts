/** @file The sides of the comparison, and the files that they need. */
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {cacheFolder} from '../../../lib/provision/cache.js';
import {copyGguf} from './gguf-copy.js';
import {llamaCppEntry} from './llama-cpp.js';

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

/** Our sides; the first is what the others are compared with. */
export function ours(model: string): Contestant[] {
  const file = fileURLToPath(new URL('own-side.ts', import.meta.url));
  const make = (
    side: string,
    kind: string,
    precision: 'float32' | 'bfloat16' | 'int8',
    sparsity: number,
  ) => ({
    side,
    precision,
    sparsity,
    file,
    args: [model, kind, precision, String(sparsity)],
    isLlamaCpp: false,
  });
  return [
    make('layers of tfjs-node', 'layers', 'float32', 0),
    make('tfjs-sparsify', 'native', 'float32', 0),
    make('tfjs-sparsify', 'native', 'float32', 0.5),
    make('tfjs-sparsify', 'native', 'bfloat16', 0),
    make('tfjs-sparsify', 'native', 'bfloat16', 0.5),
    make('tfjs-sparsify', 'native', 'int8', 0),
    make('tfjs-sparsify', 'native', 'int8', 0.5),
  ];
}

/** llama.cpp with float32, float16 and 8-bit weights, which are those of `model` in that form, and with `model` itself. */
export async function llamaCpp(model: string): Promise<Contestant[]> {
  if (!model.endsWith('.gguf')) throw new Error('llama.cpp reads GGUF files only: add --without-llama-cpp');
  const entry = await llamaCppEntry();
  const file = fileURLToPath(new URL('llama-cpp-side.ts', import.meta.url));
  const make = (precision: Contestant['precision'], path: string): Contestant => ({
    side: 'llama.cpp',
    precision,
    sparsity: 0,
    file,
    args: [entry, path],
    isLlamaCpp: true,
  });
  const contestants = [make('as shipped', model)];
  for (const [suffix, precision] of [
    ['F32', 'float32'],
    ['F16', 'float16'],
    ['Q8_0', 'Q8_0'],
  ] as const) {
    const copy = join(cacheFolder(), `bench-${model.replace(/^.*[\\/]|\.gguf$/g, '')}-${suffix}.gguf`);
    if (!existsSync(copy)) {
      console.error(`writing the weights in ${precision} for llama.cpp`);
      await copyGguf(model, copy, suffix);
    }
    contestants.push(make(precision, copy));
  }
  return contestants;
}

export function nameOf({side, precision, sparsity}: Contestant): string {
  return `${side}, ${precision}, ${sparsity * 100} %`;
}
