/** @file Native decoders for specs: built, loaded, and created or else a failure. */
import type {Suite} from 'mocha';
import * as tf from '@tensorflow/tfjs';
import {registerWasmKernels} from '../../../lib/kernels/register-wasm-kernels.js';
import {loadNativeKernels} from '../../../lib/backend/native.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {
  createNativeDecoder,
  type NativeDecoderOptions,
} from '../../../lib/language/decoding/native-decoder.js';
import {cpuAddon} from '../../../lib/provision/addons/cpu-addon.js';
import {provideAddon} from '../../../lib/provision/addons/provide-addon.js';
import {packageFolderOf} from '../../../lib/provision/node-package/package-folder.js';
import {BACKENDS} from '../backends.js';

/** Describes the decoder of tfjs-node, and that in WebAssembly. */
export function describeNative(title: string, define: (this: Suite) => void): void {
  describeTfjsNode(`${title} on tfjs-node`, define);
  describe(`${title} in WebAssembly`, function () {
    before(async () => {
      await tf.setBackend('wasm');
      await registerWasmKernels();
    });

    define.call(this);
  });
}

/** Skips what is described where there is no tfjs-node or nothing to build with; else loads the kernels before it. */
export function describeTfjsNode(title: string, define: (this: Suite) => void): void {
  describe(title, function () {
    before(async function () {
      if (!BACKENDS.includes('tensorflow')) this.skip();
      this.timeout(300_000); // built here if it is not yet
      const tfjsNodeDir = packageFolderOf('@tensorflow/tfjs-node', [import.meta.dirname])!;
      const built = await provideAddon(cpuAddon, {packageFolder: tfjsNodeDir});
      if ('reason' in built) {
        if (built.reason.includes('no C++ compiler') || process.env.SPARSIFY_NATIVE === 'off') this.skip();
        throw new Error(built.reason);
      }
      loadNativeKernels(built.path);
      await tf.setBackend('tensorflow');
    });

    define.call(this);
  });
}

/** The native decoder of a model, which must be there. */
export function native(model: tf.LayersModel, config: LlamaConfig, options?: NativeDecoderOptions): Decoder {
  const decoder = createNativeDecoder(model, config, options);
  if (decoder === null) throw new Error('there is no native decoder');
  return decoder;
}
