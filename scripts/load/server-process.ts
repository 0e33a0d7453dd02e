/** @file `tfjs-sparsify serve` out of dist/ as a process of its own, and what its /metrics tell from outside. */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {fileURLToPath} from 'node:url';

const CLI = fileURLToPath(new URL('../../dist/lib/cli/main.js', import.meta.url));

/** What one scrape of /metrics holds of the processes. */
export interface Resources {
  /** Bytes resident in memory. */
  readonly front: number;
  /** By process id. */
  readonly workers: ReadonlyMap<number, {readonly bytes: number; readonly tensors: number}>;
}

export class ServerProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  /**
   * Starts the server on a free port and waits until its models answer.
   *
   * @param args Models and options of `serve`.
   */
  static async start(args: readonly string[]): Promise<ServerProcess> {
    const child = spawn(process.execPath, [CLI, 'serve', ...args, '--port', '0', '--log-level', 'silent'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    while (!said.includes('ready\n')) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${said}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return new ServerProcess(child, /listening at (\S+)/.exec(said)![1]);
  }

  /** Memory and tensors of front and workers. */
  async resources(): Promise<Resources> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const samples = [...text.matchAll(/^(sparsify_\w+)\{(.*)\} (\S+)$/gm)].map(([, name, labels, value]) => ({
      name,
      pid: Number(/pid="(\d+)"/.exec(labels)?.[1]),
      isFront: labels.includes('process="front"'),
      value: Number(value),
    }));
    const tensors = samples.filter(({name}) => name === 'sparsify_tensors');
    const memory = samples.filter(({name}) => name === 'sparsify_resident_memory_bytes');
    const workers = tensors.map(({pid, value}) => {
      const bytes = memory.find((sample) => sample.pid === pid)?.value ?? 0;
      return [pid, {bytes, tensors: value}] as const;
    });
    return {front: memory.find(({isFront}) => isFront)?.value ?? 0, workers: new Map(workers)};
  }

  /** Sends SIGTERM; gives the exit code. */
  async stop(): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const ended = once(this.child, 'exit') as Promise<[number | null]>;
    this.child.kill('SIGTERM');
    return (await ended)[0];
  }
}
