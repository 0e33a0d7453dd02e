import {expect} from 'chai';
import type {Command} from 'commander';
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
