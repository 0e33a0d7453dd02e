/** @file Which specs belong to a source: those of the same folder under spec/, and those of the pipeline that runs through it. */
import {existsSync, readdirSync} from 'node:fs';
import {dirname} from 'node:path';
import {inRoot} from '../set-up/repository.mjs';

/** The command was called wrongly. */
export class UsageError extends Error {}

const PIPELINE = ['spec/sparsify.spec.ts', 'spec/nncf.spec.ts', 'spec/nncf-edges.spec.ts'];
const COMPRESSION = ['spec/compress.spec.ts', 'spec/nncf-int8.spec.ts'];

/** Specs beside the folder's own that hold what a room does, as other rooms see it. */
const ALSO = {
  'lib/allocation': ['spec/allocate.spec.ts'],
  'lib/allocate.ts': ['spec/eval/held-out.spec.ts'],
  'lib/calibration': [...PIPELINE, 'spec/dataset.spec.ts'],
  'lib/compress.ts': COMPRESSION,
  'lib/dataset.ts': PIPELINE,
  'lib/layers': [...PIPELINE, ...COMPRESSION],
  'lib/model': [...PIPELINE, ...COMPRESSION],
  'lib/scope': ['spec/nncf-edges.spec.ts'],
  'lib/sparsify.ts': [...PIPELINE, 'spec/retarget.spec.ts'],
  'lib/tfjs.ts': [...PIPELINE, ...COMPRESSION, 'spec/model/**/*.spec.ts'],
  'lib/quantization': ['spec/nncf-int8.spec.ts'],
};

/**
 * @param {readonly string[]} files Sources or patterns of sources, as paths from the top folder.
 * @returns {string[]} Paths and patterns of specs, each once.
 */
export function specsOf(files) {
  const specs = new Set(files.flatMap((file) => [...ownSpecs(file), ...otherSpecs(file)]));
  if (specs.size === 0) {
    throw new UsageError(`no spec belongs to ${files.join(', ')}; name some with --specs`);
  }
  return [...specs];
}

/** @param {string} file */
function ownSpecs(file) {
  const own = file.replace(/^lib\//, '').replace(/\.ts$/, '.spec.ts');
  // A file at the top of lib/ has a spec of its name; others share the specs of their folder.
  if (!own.includes('/')) return existsSync(inRoot('spec', own)) ? [`spec/${own}`] : [];
  for (let folder = dirname(own.replace(/\/\*\*.*$/, '/x')); folder !== '.'; folder = dirname(folder)) {
    if (holdsSpecs(inRoot('spec', folder))) return [`spec/${folder}/**/*.spec.ts`];
  }
  return [];
}

/** @param {string} folder */
function holdsSpecs(folder) {
  return (
    existsSync(folder) &&
    readdirSync(folder, {recursive: true, encoding: 'utf8'}).some((name) => name.endsWith('.spec.ts'))
  );
}

/** @param {string} file */
function otherSpecs(file) {
  return Object.entries(ALSO)
    .filter(([place]) => file === place || file.startsWith(`${place}/`))
    .flatMap(([, specs]) => specs)
    .filter((spec) => spec.includes('*') || existsSync(inRoot(spec)));
}
