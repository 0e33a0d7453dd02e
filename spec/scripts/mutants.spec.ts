import {spawn} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {UsageError, specsOf} from '../../scripts/mutants/specs-of.mjs';
import {finished} from '../support/child.js';

const RUN = fileURLToPath(new URL('../../scripts/run.mjs', import.meta.url));

function mutants(...args: string[]) {
  return finished(spawn(process.execPath, [RUN, 'mutants', ...args], {stdio: ['ignore', 'pipe', 'pipe']}));
}

describe('the specs that belong to a source', () => {
  const cases: [string, string[]][] = [
    ['lib/stats/quantile.ts', ['spec/stats/**/*.spec.ts']],
    ['lib/stats/**/*.ts', ['spec/stats/**/*.spec.ts']],
    // A folder without specs of its own takes those of the folder around it.
    ['lib/cli/commands/inspect.ts', ['spec/cli/**/*.spec.ts']],
    ['lib/scope/select-targets.ts', ['spec/scope/**/*.spec.ts', 'spec/nncf-edges.spec.ts']],
    ['lib/compress.ts', ['spec/compress.spec.ts', 'spec/nncf-int8.spec.ts']],
    ['lib/language/decoding/sampler.ts', ['spec/language/decoding/**/*.spec.ts']],
  ];
  for (const [file, specs] of cases) {
    it(`are ${specs.join(' and ')} for ${file}`, () => {
      expect(specsOf([file])).to.deep.equal(specs);
    });
  }

  it('are named once for several sources', () => {
    expect(specsOf(['lib/stats/quantile.ts', 'lib/stats/histogram.ts'])).to.deep.equal([
      'spec/stats/**/*.spec.ts',
    ]);
  });

  it('are asked for where there are none', () => {
    expect(() => specsOf(['lib/errors.ts'])).to.throw(UsageError, 'no spec belongs to lib/errors.ts');
  });
});

describe('npm run mutants', () => {
  const wrong: [string, string[], string][] = [
    ['no place', [], 'nothing to change is named'],
    ['a folder that is not there', ['lib/nothing'], 'there is no "lib/nothing" among the sources'],
    [
      'a file that is no source',
      ['spec/support/child.ts'],
      'there is no "spec/support/child.ts" among the sources',
    ],
    ['a commit that is not there', ['--since', 'no-such'], '--since no-such: git knows no such commit'],
    ['a number of processes below 1', ['--jobs', '0', 'lib/stats'], '--jobs is 0; write a whole number'],
    ['an option that is not there', ['--fast'], "Unknown option '--fast'"],
  ];
  for (const [what, args, message] of wrong) {
    it(`refuses ${what} with exit code 2 and its usage`, async () => {
      const {code, stderr} = await mutants(...args);
      expect(code).to.equal(2);
      expect(stderr).to.include(message).and.include('Usage: npm run mutants');
    });
  }
});
