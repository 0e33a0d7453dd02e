/**
 * @file One side of the comparison: a process of its own that holds one model and decodes when it is asked to, so that
 * sides can take turns, and neither shares threads, memory or caches of a library with another.
 */
import {fork, type ChildProcess} from 'node:child_process';

/** What a side is asked for. */
export interface Request {
  /** Ids that the side has not seen before: no cache may shorten the work. */
  readonly prompt: readonly number[];
  /** Greedy tokens to make after it; 0 for the prompt alone. */
  readonly tokens: number;
}

export interface Answer {
  /** Time from the prompt to the first token, or to the end of the prompt if no token was asked for. */
  readonly promptMs: number;
  /** Time of the tokens after the first. */
  readonly decodeMs: number;
  readonly ids: readonly number[];
  /** Resident memory of the process at its highest, in bytes. */
  readonly peakBytes: number;
}

/** What a side's process does with a request. */
export type Work = (request: Request) => Promise<Omit<Answer, 'peakBytes'>>;

type Message = {readonly ready: true} | {readonly answer: Answer} | {readonly error: string};

/** The process of a side, seen from the bench. */
export class Side {
  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {}

  /**
   * Starts the process and waits until its model is loaded.
   *
   * @throws {Error} With the reason, if it can't load.
   */
  static async start(
    name: string,
    file: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ): Promise<Side> {
    const child = fork(file, args, {
      env: {...process.env, ...env},
      execArgv: process.execArgv,
      stdio: ['ignore', 2, 'inherit', 'ipc'],
    });
    const side = new Side(name, child);
    await side.next();
    return side;
  }

  async ask(request: Request): Promise<Answer> {
    this.child.send(request);
    const message = await this.next();
    if (!('answer' in message)) throw new Error(`${this.name} gave no answer`);
    return message.answer;
  }

  stop(): void {
    this.child.kill('SIGKILL');
  }

  private next(): Promise<Message> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null) => {
        this.child.off('message', onMessage);
        reject(new Error(`the process of ${this.name} ended with ${code}`));
      };
      const onMessage = (message: Message) => {
        this.child.off('exit', onExit);
        if ('error' in message) reject(new Error(`${this.name}: ${message.error}`));
        else resolve(message);
      };
      this.child.once('message', onMessage).once('exit', onExit);
    });
  }
}

/** The main loop of a side's process: loads, says that it is ready, and answers requests one by one. */
export async function serveSide(load: () => Promise<Work>): Promise<void> {
  const send = (message: Message) => process.send!(message);
  const failed = (error: unknown) => send({error: (error as Error).message});
  try {
    const work = await load();
    process.on('message', (request: Request) => {
      work(request).then(
        (answer) => send({answer: {...answer, peakBytes: process.resourceUsage().maxRSS * 1024}}),
        failed,
      );
    });
    send({ready: true});
  } catch (error) {
    failed(error);
  }
}
