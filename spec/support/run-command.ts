/** @file Runs a command of the command line in this process, which takes milliseconds; what it prints and throws is given back. */
import type {Command} from 'commander';

export interface Run {
  readonly stdout: string;
  readonly stderr: string;
  /** What the command threw, null if it ended well. */
  readonly error: (Error & {readonly code?: string}) | null;
}

/** Runs a command on the cpu backend, unless the arguments name another one. */
export async function runCommand(command: Command, args: readonly string[]): Promise<Run> {
  const texts = {stdout: '', stderr: ''};
  const {log, error: say} = console;
  const writes = (['stdout', 'stderr'] as const).map(
    (name) => [name, process[name].write.bind(process[name])] as const,
  );
  console.log = (text: string) => (texts.stdout += `${text}\n`);
  console.error = (text: string) => (texts.stderr += `${text}\n`);
  for (const [name] of writes) process[name].write = (text) => ((texts[name] += String(text)), true);
  let error: Run['error'] = null;
  try {
    await command
      .exitOverride()
      .configureOutput({writeErr: (text) => (texts.stderr += text)})
      .parseAsync(['--backend', 'cpu', ...args], {from: 'user'});
  } catch (thrown) {
    error = thrown as Error;
  } finally {
    console.log = log;
    console.error = say;
    for (const [name, write] of writes) process[name].write = write;
  }
  return {...texts, error};
}
