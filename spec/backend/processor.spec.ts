import {expect} from 'chai';
import {existsSync, readFileSync} from 'node:fs';
import {availableParallelism, cpus} from 'node:os';
import {describeProcessor} from '../../lib/backend/processor.js';

describe('describeProcessor', () => {
  it('names the processor and the cores that this process may use', () => {
    const {model, threads} = describeProcessor();
    expect(model).to.equal(cpus()[0]?.model.trim() ?? 'unknown');
    expect(threads).to.equal(availableParallelism());
  });

  it('lists instruction sets of matrix kernels that the kernel lists, and no others', function () {
    if (!existsSync('/proc/cpuinfo')) this.skip();
    const line = /^(flags|Features)\s*:.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0] ?? '';
    const {features} = describeProcessor();
    for (const feature of features) expect(line.split(/\s+/)).to.include(feature);
    for (const feature of ['sse4_2', 'avx', 'avx2', 'avx512f', 'amx_int8', 'asimd', 'sve']) {
      expect(features.includes(feature), feature).to.equal(line.split(/\s+/).includes(feature));
    }
    expect(features).to.not.include('fpu').and.not.include('sse2');
  });
});
