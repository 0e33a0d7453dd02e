import {expect} from 'chai';
import type {Command} from 'commander';
import {COMMANDS, commandsFor} from '../../lib/cli/command-list.js';

/** What `--help` prints. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({writeOut: (part) => (text += part)}).outputHelp();
  return text;
}

/** The command of a name, as the command line has it. */
async function commandOf(name: string): Promise<Command> {
  const commands = await commandsFor([name]);
  return commands.find((command) => command.name() === name)!;
}

describe('--help', () => {
  for (const name of Object.keys(COMMANDS)) {
    it(`of ${name} gives an example, the shape of --json and the exit codes`, async () => {
      const command = await commandOf(name);
      expect(helpOf(command))
        .to.match(new RegExp(`^  \\$ (npx )?tfjs-sparsify ${name}`, 'm'))
        .and.match(/^Exit code: 0, or 1 /m);
      if (command.options.some(({long}) => long === '--json'))
        expect(helpOf(command)).to.include('Output of --json, one object');
    });

    it(`of ${name} says what each argument and option is, in a line of its own`, async () => {
      const {options, registeredArguments} = await commandOf(name);
      for (const {flags, description} of options) {
        expect(flags).to.match(/^(-[a-z], )?--[a-z-]+( <.+>)?$/);
        expect(description, flags).to.match(/^\S.{7,}[^.\s]$/);
      }
      for (const argument of registeredArguments)
        expect(argument.description, argument.name()).to.match(/\w{4}/);
      const long = options.map((option) => option.long);
      expect(new Set(long).size).to.equal(long.length);
    });
  }
});

describe('the options of commands', () => {
  const MODEL = ['--backend', '--json'];
  const DATA = ['--data', '--batch-size', '--batches', '--scale'];
  const TEXT = ['--sequence-length', '--sequences'];
  const WINDOWS = ['--windows', '--protocol', '--context-length'];
  const GENERATION = ['--max-tokens', '--temperature', '--top-p', '--top-k', '--seed', '--stop', '--prefill'];
  const ALLOCATION = [
    '--sparsity',
    '--auto',
    '--max-loss',
    '--speedup',
    '--latency',
    '--allocate',
    '--bounds',
  ];
  const INT4 = [
    ...['--group-size', '--ratio', '--all-layers', '--backup-mode', '--group-size-fallback'],
    ...['--min-adjusted-group-size', '--sensitivity-metric'],
  ];
  /** By command: all its options, and those that must be given. */
  const OPTIONS: Readonly<
    Record<string, readonly [options: readonly string[], mandatory: readonly string[]]>
  > = {
    inspect: [MODEL, []],
    sparsify: [
      [
        ...[...MODEL, ...DATA, ...TEXT, ...ALLOCATION, '--target', '--ignore', '--calibration', '--labels'],
        ...[
          '--compress',
          '--formats',
          '--stream',
          '--out',
          '--no-statistics',
          '--report',
          ...INT4,
          '--with-data',
        ],
      ],
      ['--data', '--out'],
    ],
    compress: [
      [...MODEL, ...DATA, ...TEXT, ...INT4, '--with-data', '--mode', '--ignore', '--out'],
      ['--out'],
    ],
    evaluate: [[...MODEL, ...DATA, ...WINDOWS, '--labels', '--baseline', '--report'], ['--data']],
    retarget: [[...MODEL, '--target', '--sparsity', '--ignore', '--out', '--report'], ['--out']],
    bench: [[...MODEL, ...TEXT, '--data', '--scale', '--rows', '--formats', '--max-loss', '--report'], []],
    report: [[...MODEL, ...DATA, ...WINDOWS, '--labels', '--baseline', '--bench', '--card', '--out'], []],
    fetch: [['--json'], []],
    import: [[...MODEL, '--out', '--weights'], ['--out']],
    generate: [[...MODEL, ...GENERATION, '--chat', '--ids'], []],
    chat: [[...MODEL, ...GENERATION, '--system'], []],
    perplexity: [[...MODEL, ...WINDOWS, '--data', '--baseline', '--report'], ['--data']],
    serve: [
      [
        ...[
          '--port',
          '--host',
          '--workers',
          '--label',
          '--all-versions',
          '--max-batch',
          '--max-delay',
          '--max-queue',
        ],
        ...[
          '--timeout',
          '--hang-timeout',
          '--max-sequences',
          '--cache',
          '--api-key',
          '--no-key',
          '--allow-host',
        ],
        ...['--body-limit', '--cors', '--cert', '--key', '--log-level', '--backend'],
      ],
      [],
    ],
    doctor: [['--json'], []],
    provision: [['--gpu', '--json'], []],
  };

  for (const [name, [all, mandatory]] of Object.entries(OPTIONS)) {
    it(`${name} are these`, async () => {
      const {options} = await commandOf(name);
      expect(options.map(({long}) => long)).to.have.members([...all]);
      const must = options.filter((option) => option.mandatory).map(({long}) => long);
      expect(must).to.have.members([...mandatory]);
    });
  }

  for (const [name, defaults] of [
    ['compress', {mode: 'int8_asym'}],
    ['sparsify', {statistics: true}],
    ['bench', {rows: 1}],
    ['report', {out: 'report.html'}],
    ['generate', {maxTokens: 256, temperature: 0}],
    ['chat', {maxTokens: 256, temperature: 0.7}],
    [
      'serve',
      {
        ...{port: 8501, host: '127.0.0.1', workers: 1, label: [], maxBatch: 32, maxDelay: 0, maxQueue: 256},
        ...{timeout: 60_000, hangTimeout: 60_000, maxSequences: 8, cache: 1024, apiKey: [], allowHost: []},
        ...{bodyLimit: 32, cors: [], logLevel: 'info'},
      },
    ],
  ] as const) {
    it(`${name} are these where they are not given`, async () => {
      expect((await commandOf(name)).opts()).to.deep.equal(defaults);
    });
  }

  for (const [args, code] of [
    [['sparsify', 'm', '-d', 'x', '-o', 'y', '-c', 'other'], 'commander.invalidArgument'],
    [['compress', 'm', '-o', 'y', '-m', 'int4'], 'commander.invalidArgument'],
    [['inspect', 'm', '--backend', 'other'], 'commander.invalidArgument'],
    [['evaluate', 'm', '-d', 'x', '--protocol', 'byte'], 'commander.invalidArgument'],
    [['sparsify', 'm', '-d', 'x', '-o', 'y', '--allocate', 'other'], 'commander.invalidArgument'],
    [['bench', 'm', '-r', '0'], 'commander.invalidArgument'],
    [['serve', 'm', '--port', '-1'], 'commander.invalidArgument'],
    [['serve', 'm', '--port', '1e3'], 'commander.invalidArgument'],
    [['serve', 'm', '--workers', '0'], 'commander.invalidArgument'],
    [['serve', 'm', '--timeout', '0'], 'commander.invalidArgument'],
    [['serve', 'm', '--max-delay', 'x'], 'commander.invalidArgument'],
    [['serve', 'm', '--cache', '1234567890123'], 'commander.invalidArgument'],
    [['serve', 'm', '--log-level', 'loud'], 'commander.invalidArgument'],
    [['serve', 'm', '--label', 'm:stable=x'], 'commander.invalidArgument'],
    [['serve', 'm', '--label', 'm=1'], 'commander.invalidArgument'],
    [['serve'], 'commander.missingArgument'],
    [['generate', 'm'], 'commander.missingArgument'],
    [['inspect'], 'commander.missingArgument'],
    [['retarget', 'm', '-t', '.*=0.5'], 'commander.missingMandatoryOptionValue'],
    [['perplexity', 'm'], 'commander.missingMandatoryOptionValue'],
  ] as const) {
    it(`refuse ${args.join(' ')}`, async () => {
      const command = (await commandOf(args[0])).exitOverride().configureOutput({writeErr: () => undefined});
      const error = await command
        .parseAsync(args.slice(1), {from: 'user'})
        .catch((thrown: unknown) => thrown);
      expect(error).to.have.property('code', code);
    });
  }
});

describe('the overview of commands', () => {
  /** What the overview says of each. */
  const saidOf = (commands: readonly Command[]) =>
    commands.map((command) => ({
      name: command.name(),
      args: command.registeredArguments.map((argument) => argument.name()),
      isMany: command.registeredArguments.some(({variadic}) => variadic),
      summary: command.description(),
    }));

  for (const name of Object.keys(COMMANDS)) {
    it(`says of ${name} what the command says of itself`, async () => {
      const [overview, real] = await Promise.all([commandsFor([]), commandsFor([name])]);
      expect(saidOf(overview)).to.deep.equal(saidOf(real));
      expect(real.find((command) => command.name() === name)!.options).to.not.be.empty;
    });
  }
});
