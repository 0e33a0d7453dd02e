import {expect} from 'chai';
import type {Command} from 'commander';
import {COMMANDS, commandsFor} from '../../lib/cli/command-list.js';
import {compressCommand} from '../../lib/cli/commands/compress.js';
import {doctorCommand} from '../../lib/cli/commands/doctor.js';
import {evaluateCommand} from '../../lib/cli/commands/evaluate.js';
import {inspectCommand} from '../../lib/cli/commands/inspect.js';
import {provisionCommand} from '../../lib/cli/commands/provision.js';
import {reportCommand} from '../../lib/cli/commands/report.js';
import {retargetCommand} from '../../lib/cli/commands/retarget.js';
import {sparsifyCommand} from '../../lib/cli/commands/sparsify.js';

/** What `--help` prints. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({writeOut: (part) => (text += part)}).outputHelp();
  return text;
}

describe('--help', () => {
  const commands = [
    ...[inspectCommand(), sparsifyCommand(), evaluateCommand(), retargetCommand()],
    ...[compressCommand(), reportCommand(), doctorCommand(), provisionCommand()],
  ];
  for (const command of commands) {
    it(`of ${command.name()} gives an example, the shape of --json and the exit codes`, () => {
      expect(helpOf(command))
        .to.match(new RegExp(`^  \\$ (npx )?tfjs-sparsify ${command.name()}`, 'm'))
        .and.include('Output of --json, one object:')
        .and.include('Exit code: 0, or 1 ');
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
