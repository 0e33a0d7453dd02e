/** @file Node without native parts: decoding on backend wasm, by our decoder and by the layers that it goes on with otherwise. */
import {fileURLToPath} from 'node:url';
import {median} from '../../../lib/eval/latency.js';
import {Side} from '../llm/side.js';
import type {Prompts} from './sides.js';

const THREADS = 2;
const PROMPT = 48;
const TOKENS = 33;
/** The layers take a second or so for each. */
const LAYERS_TOKENS = 5;

export interface NodeRow {
  readonly side: string;
  readonly tokensPerSecond: number;
  /** Of our rows: over the layers without the kernels in WebAssembly. */
  readonly vsLayers: number | null;
}

const CONTESTANTS = [
  {side: 'the layers on backend wasm, dense', kind: 'layers', sparsity: 0, tokens: LAYERS_TOKENS},
  {side: 'ours INT8 dense', kind: 'decoder', sparsity: 0, tokens: TOKENS},
  {side: 'ours INT8 50 %', kind: 'decoder', sparsity: 0.5, tokens: TOKENS},
] as const;

/**
 * Measures in turns; each side is a process.
 *
 * @param folder Of the model.
 */
export async function measureNode(folder: string, prompts: Prompts, rounds: number): Promise<NodeRow[]> {
  const file = fileURLToPath(new URL('node-side.ts', import.meta.url));
  const sides: Side[] = [];
  const figures = CONTESTANTS.map((): number[] => []);
  try {
    for (const {side, kind, sparsity} of CONTESTANTS) {
      console.error(`node: loading ${side}`);
      const env = {SPARSIFY_NUM_THREADS: String(THREADS)};
      sides.push(await Side.start(side, file, [folder, kind, String(sparsity)], env));
    }
    for (let round = -1; round < rounds; round++) {
      console.error(round < 0 ? 'node: warming up' : `node: round ${round + 1} of ${rounds}`);
      for (const [i, {tokens}] of CONTESTANTS.entries()) {
        const {ids, decodeMs} = await sides[i].ask({prompt: prompts.next(PROMPT).ids, tokens});
        if (round >= 0) figures[i].push((1000 * (ids.length - 1)) / decodeMs);
      }
    }
  } finally {
    for (const side of sides) side.stop();
  }
  const [layers] = figures.map(median);
  return CONTESTANTS.map(({side, kind}, i) => ({
    side,
    tokensPerSecond: median(figures[i]),
    vsLayers: kind === 'layers' ? null : median(figures[i]) / layers,
  }));
}
