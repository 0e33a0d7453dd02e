import {expect} from 'chai';
import {openHuggingFaceFolder} from '../../../lib/language/import/local-checkpoints.js';
import {referenceForward} from '../../support/language/reference-forward.js';
import {
  expectedOf,
  relativeError,
  TINY_CHECKPOINTS,
  tinyFolder,
} from '../../support/language/tiny-checkpoints.js';

describe('the plain forward pass that other specs are held against', () => {
  for (const name of TINY_CHECKPOINTS) {
    it(`gives the reference logits of ${name}`, async () => {
      const checkpoint = await openHuggingFaceFolder(tinyFolder(name));
      const weights = new Map<string, Float32Array>();
      for (const tensor of checkpoint.tensors.keys()) weights.set(tensor, await checkpoint.read(tensor));
      await checkpoint.close();
      const {input_ids, logits_last} = expectedOf(name);
      input_ids.forEach((ids, row) => {
        const logits = referenceForward(checkpoint.config, (tensor) => weights.get(tensor), ids, 0);
        // float32 in the reference, float64 here: 2.1e-5 absolute at most, of logits up to 8 (fixtures' README).
        expect(relativeError(logits[ids.length - 1], logits_last[row])).to.be.below(1e-5);
      });
    });
  }
});
