import {expect} from 'chai';
import {doctor, type Diagnosis} from '../../lib/backend/doctor.js';
import {BACKENDS} from '../../lib/backend/names.js';
import {runModule, urlOf, type Finished} from '../support/child.js';

/** Runs a command in a process of its own, as the program would. */
function run(
  command: 'doctor' | 'provision',
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Finished> {
  return runModule(
    `import {Command} from 'commander';
    import {${command}Command} from ${JSON.stringify(urlOf(`lib/cli/commands/${command}.ts`))};
    await new Command('tfjs-sparsify')
      .addCommand(${command}Command())
      .parseAsync(${JSON.stringify([command, ...args])}, {from: 'user'});`,
    {SPARSIFY_BACKEND: undefined, ...env},
  );
}

describe('doctor', () => {
  it('examines every backend and names the one in use', async () => {
    const {backends, used, problem, processor, node} = await doctor();
    expect(backends.map(({name}) => name)).to.deep.equal([...BACKENDS]);
    expect(backends.find(({name}) => name === 'cpu')).to.include({loads: true, reason: ''});
    expect(backends.find(({name}) => name === used?.name)).to.have.property('loads', true);
    expect(problem).to.equal(null);
    expect(processor.threads).to.be.at.least(1);
    expect(node.version).to.equal(process.versions.node);
  });

  it('prints the documented shape with --json', async () => {
    const {stdout, stderr, code} = await run('doctor', ['--json'], {});
    expect({code, stderr}).to.deep.equal({code: 0, stderr: ''});
    const diagnosis = JSON.parse(stdout) as Record<string, object | null> & {backends: object[]};
    expect(diagnosis).to.have.all.keys(
      ...[
        'node',
        'processor',
        'backends',
        'used',
        'problem',
        'tensorflow',
        'native',
        'wasm',
        'faster',
        'gpu',
        'cache',
      ],
    );
    expect(diagnosis.node).to.have.all.keys('version', 'platform', 'arch', 'napi');
    expect(diagnosis.processor).to.have.all.keys('model', 'threads', 'features');
    expect(diagnosis.used).to.have.all.keys('name', 'why');
    for (const backend of diagnosis.backends) {
      expect(backend).to.have.all.keys('name', 'package', 'version', 'loads', 'reason', 'tensorflow');
    }
  });

  it('prints a reader what is used, with the reasons', async () => {
    const {stdout, code} = await run('doctor', [], {SPARSIFY_BACKEND: 'wasm'});
    expect(code).to.equal(0);
    expect(stdout).to.match(/^Used +wasm: it was asked for$/m);
    expect(stdout).to.match(
      /^Kernels +sparse kernels in WebAssembly; the decoder on (one thread|\d+ threads): the machine has/m,
    );
    expect(stdout).to.match(/^ +node-gpu +does not load: not installed/m);
  });

  it('says when SPARSIFY_BACKEND is what keeps a faster backend away', async () => {
    const asked = JSON.parse(
      (await run('doctor', ['--json'], {SPARSIFY_BACKEND: 'cpu'})).stdout,
    ) as Diagnosis;
    expect(asked.faster).to.have.property('command', 'unset SPARSIFY_BACKEND');
    const unasked = JSON.parse((await run('doctor', ['--json'], {})).stdout) as Diagnosis;
    expect(asked.faster!.what).to.match(new RegExp(`^${unasked.used!.name}, `));
    const same = {SPARSIFY_BACKEND: unasked.used!.name};
    expect(JSON.parse((await run('doctor', ['--json'], same)).stdout)).to.deep.include({
      faster: unasked.faster,
    });
  });

  it('ends with 1 when the backend that is asked for does not load', async () => {
    const {stdout, code} = await run('doctor', ['--json'], {SPARSIFY_BACKEND: 'node-gpu'});
    expect(code).to.equal(1);
    const diagnosis = JSON.parse(stdout) as {used: null; problem: string};
    expect(diagnosis.used).to.equal(null);
    expect(diagnosis.problem).to.contain('node-gpu was asked for');
  });

  for (const command of ['doctor', 'provision'] as const) {
    it(`${command} --help has an example and the shape of --json`, async () => {
      const {stdout, code} = await run(command, ['--help'], {});
      expect(code).to.equal(0);
      expect(stdout).to.contain('Example:').and.contain(`tfjs-sparsify ${command}`).and.contain('--json');
    });
  }
});
