/** @file Runs the examples of the README and of the guides as they stand, so that they go on to work. */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import {Command} from 'commander';
import {commandsFor} from '../lib/cli/command-list.js';
import {quietly} from './support/child.js';
import {ROOT, blocks, commandsIn, guides} from './support/guides.js';

/** The JavaScript blocks of a guide are one program; what it prints. */
const PROGRAMS: Readonly<Record<string, (output: string) => void>> = {
  'README.md': (output) => expect(output).to.match(/path: 'hidden_1',\s+target: 0.5,\s+actual: 0\.[45]\d/),
  'lib/allocation/README.md': (output) => {
    expect(output).to.match(/^0\.(7|6999|7000)\d* \[/m);
    const targets = [...output.matchAll(/\[ '(hidden_\d|digits)', (0\.\d+) \]/g)].map(([, , target]) =>
      Number(target),
    );
    expect(targets).to.have.lengthOf(3);
    for (const target of targets) expect(target).to.be.within(0.1, 0.9);
    expect(output).to.match(/^met: true, mean sparsity 0\.\d+/m);
  },
  'lib/backend/README.md': (output) => expect(output).to.match(/^(node-gpu|node|wasm|cpu): \w/),
  'lib/calibration/README.md': (output) => {
    expect(output).to.include('batch 5 of 5');
    expect(output).to.match(/'hidden_1' +│ +0\.7 +│ +0\.(69|70)/);
    expect(output).to.match(/'hidden_2' +│ +0\.7 +│ +0\.(69|70)/);
  },
  'lib/kernels/README.md': (output) =>
    expect(output).to.match(/^\d+: (one thread|\d+ threads): the machine has \d+ cores?$/m),
  'lib/language/README.md': (output) => {
    expect(output).to.include('Paris');
    expect(output).to.match(/'sparse_activation' +│ +0\.3\d+/);
  },
  'lib/quantization/README.md': (output) => {
    // One byte a weight, and a scale and a zero point for each of 512 units.
    expect(output).to.match(/'hidden_1' .*'int8_asym' +│ +40[2-6]\d{3} /);
    expect(output).to.include('SparsifyingDense Dense');
  },
  'lib/scope/README.md': (output) => {
    expect(output).to.match(/'hidden_1' +│ +784 +│ +512/);
    expect(output).to.match(/'hidden_1' +│ +0\.4 +│ +0\.\d+/);
    expect(output).to.match(/'hidden_2' +│ +0\.6 +│ +0\.\d+/);
    expect(output).to.match(/'digits' +│ +null +│ +null/);
  },
  'lib/serve/README.md': (output) => {
    const shares = (output.match(/\d\.\d+(e-\d+)?/g) ?? []).map(Number);
    expect(shares).to.have.lengthOf(10);
    expect(shares.reduce((sum, share) => sum + share)).to.be.closeTo(1, 1e-5); // probabilities as float32
  },
  'models/digits/README.md': (output) => expect(output).to.include('672842 weights, 500 images'),
};

/** Blocks of commands on the digits model, run one after another in one folder; what they print and write. */
const COMMANDS: Readonly<Record<string, (output: string, folder: string) => void>> = {
  'lib/cli/README.md': (output) => expect(output).to.include('accuracy').and.include('saved to sparser'),
  'lib/quantization/README.md': (output, folder) => {
    expect(output).to.include('int8_asym');
    expect(existsSync(join(folder, 'small', 'model.json'))).to.equal(true);
    expect(existsSync(join(folder, 'small-sparse', 'model.json'))).to.equal(true);
  },
  'lib/report/README.md': (_, folder) => expect(existsSync(join(folder, 'report.html'))).to.equal(true),
  'lib/scope/README.md': (output) => expect(output).to.match(/hidden_1 .*784 .*512/),
};

const GUIDES = guides();
const withPrograms = GUIDES.filter((guide) => blocks(guide, 'js').length > 0);
const digitsBlocks = (guide: (typeof GUIDES)[number]) =>
  blocks(guide, 'bash').filter(
    (code) => code.includes('npx tfjs-sparsify') && code.includes('models/digits/'),
  );

describe('README and guides', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(ROOT, 'dist', 'readme-'));
    symlinkSync(join(ROOT, 'models'), join(folder, 'models'));
  });
  afterEach(() => rmSync(folder, {recursive: true}));

  const run = (command: string, args: string[]) => {
    const {status, stdout, stderr} = spawnSync(command, args, {
      cwd: folder,
      encoding: 'utf8',
      env: quietly(),
    });
    expect(status, stderr).to.equal(0);
    return stdout;
  };

  it('have programs and commands that this spec knows', () => {
    const paths = (list: typeof GUIDES) => list.map(({path}) => path).sort();
    expect(paths(withPrograms)).to.deep.equal(Object.keys(PROGRAMS).sort());
    expect(paths(GUIDES.filter((guide) => digitsBlocks(guide).length > 0))).to.deep.equal(
      Object.keys(COMMANDS).sort(),
    );
    // An example in another language would not be run.
    for (const guide of GUIDES)
      expect(guide.text, guide.path).to.not.match(/^```(ts|typescript|javascript|mjs)$/m);
  });

  it('README is 200 lines long at most', () => {
    const {text} = GUIDES.find(({path}) => path === 'README.md')!;
    expect(text.split('\n').length).to.be.at.most(201);
  });

  for (const guide of withPrograms) {
    it(`${guide.path} has a program that runs`, function () {
      this.timeout(600_000);
      // Several specs may run at a time, so the server of the guide takes any port.
      const program = blocks(guide, 'js').join('\n').replace('port: 8501', 'port: 0');
      writeFileSync(join(folder, 'program.mjs'), program);
      PROGRAMS[guide.path](run(process.execPath, ['program.mjs']));
    });
  }

  for (const guide of GUIDES.filter(({path}) => path in COMMANDS)) {
    it(`${guide.path} has commands that run`, function () {
      this.timeout(300_000);
      const main = join(ROOT, 'dist', 'lib', 'cli', 'main.js');
      const script = digitsBlocks(guide)
        .join('\n')
        .replaceAll('npx tfjs-sparsify', `'${process.execPath}' '${main}'`);
      COMMANDS[guide.path](run('sh', ['-e', '-c', script]), folder);
    });
  }

  for (const guide of GUIDES.filter((each) => commandsIn(each).length > 0)) {
    it(`${guide.path} has commands that the command line takes`, async () => {
      for (const args of commandsIn(guide)) await parse(args);
    });
  }

  it('would find a command that the command line does not take', async () => {
    const guide = {path: '', folder: '', prose: 'as `npx tfjs-sparsify doctor --loud`', text: ''};
    const block = '```bash\nnpx tfjs-sparsify chat "$(npx tfjs-sparsify fetch)" # talk\n```\n';
    const found = commandsIn({...guide, text: block});
    expect(found).to.deep.equal([['chat', 'MADE'], ['fetch'], ['doctor', '--loud']]);
    await parse(found[0]);
    for (const [args, complaint] of [
      [found[1], "missing required argument 'NAME'"],
      [found[2], "unknown option '--loud'"],
    ] as const) {
      const error: unknown = await parse(args).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(String(error)).to.include(complaint);
    }
  });
});

/** Parses a command line as the real command does, and runs nothing. */
async function parse(args: readonly string[]): Promise<void> {
  const program = new Command('tfjs-sparsify').exitOverride().configureOutput({writeErr: () => undefined});
  for (const command of await commandsFor(args)) {
    program.addCommand(command.copyInheritedSettings(program).action(() => undefined));
  }
  await program.parseAsync([...args], {from: 'user'});
}
