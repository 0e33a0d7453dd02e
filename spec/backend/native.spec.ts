import {expect} from 'chai';
import {gpuKernels, loadGpuKernels} from '../../lib/backend/native.js';
import {failure, temporaryFolder, write} from '../support/io/files.js';

describe('loadGpuKernels', () => {
  const at = temporaryFolder();

  for (const [what, content] of [
    ['is not there', undefined],
    ['is no addon', 'text'],
  ] as const) {
    it(`names a file that ${what}, and keeps nothing of it`, async () => {
      const path = at('sparsify-gpu.node');
      if (content !== undefined) write(path, content);
      const error = await failure(() => loadGpuKernels(path));
      expect(error).to.include({name: 'BackendError', code: 'native-kernels-do-not-load'});
      expect(error.message).to.include(path).and.include('doctor');
      expect(gpuKernels()).to.equal(undefined);
    });
  }
});
