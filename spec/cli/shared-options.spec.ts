import {expect} from 'chai';
import {Command, CommanderError, type Option} from 'commander';
import {
  countOption,
  ignoreOption,
  ignoredScopeOf,
  numberOption,
  shareOption,
  targetOption,
  type TargetOption,
} from '../../lib/cli/shared-options.js';

/** What an option gives for arguments; undefined without any. */
function parse(option: Option, ...args: string[]): unknown {
  const command = new Command().exitOverride().configureOutput({writeErr: () => undefined});
  return command.addOption(option).parse(args, {from: 'user'}).opts<Record<string, unknown>>()[
    option.attributeName()
  ];
}

/** What is said about wrong arguments. */
function refusal(option: Option, ...args: string[]): string {
  try {
    parse(option, ...args);
  } catch (error) {
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
  throw new Error(`${args.join(' ')} was accepted`);
}

describe('--target', () => {
  const targets = (...texts: string[]) =>
    (parse(targetOption(), ...texts.flatMap((text) => ['--target', text])) as TargetOption[]).map(
      ([scope, target]) => [scope.patterns, target],
    );

  it('takes a share or per cent, with spaces, several times', () => {
    expect(targets('.*up=0.5', 'head=50%', 'a = 70 %', 'b=0', 'c=1')).to.deep.equal([
      [['.*up'], 0.5],
      [['head'], 0.5],
      [['a'], 0.7],
      [['b'], 0],
      [['c'], 1],
    ]);
  });

  it('splits at the last =, so that a pattern may hold one', () => {
    expect(targets('(?=up).*=0.5')).to.deep.equal([[['(?=up).*'], 0.5]]);
  });

  for (const text of ['up', '=0.5', 'up=', 'up=half', 'up=%']) {
    it(`refuses "${text}"`, () => {
      expect(refusal(targetOption(), '--target', text)).to.include(
        "Write PATTERN=TARGET, as in '.*up_proj=0.5'.",
      );
    });
  }

  for (const text of ['up=1.2', 'up=-0.1', 'up=120%']) {
    it(`refuses "${text}", naming the range`, () => {
      expect(refusal(targetOption(), '--target', text)).to.include('[0, 1]');
    });
  }
});

describe('--ignore', () => {
  it('collects patterns into one scope, and is none if it is not given', () => {
    const patterns = parse(ignoreOption(), '--ignore', 'a', '-i', 'b') as string[];
    expect(ignoredScopeOf(patterns)?.patterns).to.deep.equal(['a', 'b']);
    expect(ignoredScopeOf(parse(ignoreOption()) as undefined)).to.equal(null);
  });
});

describe('shares', () => {
  const share = () => shareOption('--share <S>', '');

  for (const [text, value] of [
    ['0.5', 0.5],
    ['50%', 0.5],
    [' 12.5 % ', 0.125],
    ['0', 0],
    ['150%', 1.5], // the option that takes it says what it allows
  ] as const) {
    it(`read "${text}" as ${value}`, () => {
      expect(parse(share(), `--share=${text}`)).to.equal(value);
    });
  }

  for (const text of ['abc', '', '%', '5%%', 'NaN', 'Infinity', '1e400', '0.5x']) {
    it(`refuse "${text}"`, () => {
      expect(refusal(share(), `--share=${text}`)).to.include('0.5 or 50%');
    });
  }
});

describe('numbers', () => {
  const count = () => countOption('--count <N>', '');
  const number = () => numberOption('--number <X>', '');

  it('are read as they are written', () => {
    expect(parse(count(), '--count', '12')).to.equal(12);
    expect(parse(number(), '--number', '1e-3')).to.equal(0.001);
  });

  for (const text of ['0', '-1', '1.5', 'many', 'abc', 'Infinity', '']) {
    it(`refuse "${text}" as a count`, () => {
      expect(refusal(count(), `--count=${text}`)).to.include('whole number');
    });
  }

  for (const text of ['x', 'abc', '12abc', '', ' ', 'NaN', 'Infinity', '1e400']) {
    it(`refuse "${text}" as a number`, () => {
      expect(refusal(number(), `--number=${text}`)).to.include('must be a number');
    });
  }
});
