/**
 * @file Requests of all kinds and sizes, some of them wrong and some abandoned, while versions are switched and workers
 * killed: each must get an answer, the right one.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {seededRandom, type Random} from '../../lib/stats/seeded-random.js';
import {Client, type Incoming} from './client.js';
import {checkRefusal, wrongQuestion} from './malformed.js';
import {MemoryWatch, type MemoryReport} from './memory-watch.js';
import {saveNamedModel, placeScaled, removeScaled, TINY} from './models.js';
import {BROKEN_OFF, rightQuestion, type KnownText, type Versions} from './questions.js';
import {ServerProcess} from './server-process.js';
import {Tally, type KindReport} from './tally.js';

export interface StressOptions {
  readonly requests: number;
  readonly switches: number;
  readonly kills: number;
  readonly workers: number;
  /** Requests under way at a time. */
  readonly connections: number;
  readonly seed: number;
  /** Folder for the models. */
  readonly folder: string;
  readonly texts: readonly KnownText[];
}

export interface StressReport {
  readonly seconds: number;
  readonly requests: number;
  readonly switches: number;
  readonly kills: number;
  readonly abandoned: number;
  readonly kinds: readonly KindReport[];
  readonly memory: MemoryReport;
  /** What was wrong; empty if nothing was. */
  readonly failures: readonly string[];
}

const WRONG_SHARE = 0.05;
const ABANDONED_SHARE = 0.01;
/** The last part, without switches and kills, in which memory must not grow. */
const CALM_SHARE = 0.2;
/** The server's own default. */
const SEQUENCES_PER_WORKER = 8;
/** A worker that was killed is back by then, with its models. */
const RECOVERY_MS = 20_000;

/** Runs it all; takes minutes. */
export async function stress(options: StressOptions): Promise<StressReport> {
  const folder = join(options.folder, 'scaled');
  mkdirSync(folder);
  await placeScaled(folder, 1);
  await saveNamedModel(join(options.folder, 'named'));
  const server = await ServerProcess.start([
    ...[folder, join(options.folder, 'named'), `tiny=${TINY}`],
    ...['--workers', String(options.workers)],
  ]);
  try {
    return await new Stress(options, folder, server).run();
  } finally {
    await server.stop();
  }
}

class Stress {
  private readonly client: Client;
  private readonly tally = new Tally();
  private readonly random: Random;
  private lowest = 1;
  private highest = 1;
  private lastKill = -Infinity;
  private sent = 0;
  private switched = 0;
  private killed = 0;
  private abandoned = 0;

  constructor(
    private readonly options: StressOptions,
    private readonly folder: string,
    private readonly server: ServerProcess,
  ) {
    this.client = new Client(server.url, options.connections);
    this.random = seededRandom(options.seed);
  }

  async run(): Promise<StressReport> {
    const {requests, connections} = this.options;
    const memory = await MemoryWatch.start(this.server, () => this.fillCaches());
    const start = performance.now();
    const stormy = requests * (1 - CALM_SHARE);
    let isStormy = true;
    const storm = Promise.all([this.switchVersions(stormy), this.killWorkers(stormy)]).then(() => {
      isStormy = false;
      memory.calm();
    });
    // What is left after the last switch and kill is the calm part, however long they took.
    let calm = Math.round(requests * CALM_SHARE);
    const isOver = () => !isStormy && --calm < 0 && this.sent >= requests;
    await Promise.all(
      Array.from({length: connections}, async () => {
        while (!isOver()) await this.one();
      }),
    );
    await storm;
    const seconds = (performance.now() - start) / 1000;
    const report = await memory.report();
    this.client.close();
    return {
      ...{seconds, requests: this.sent, switches: this.switched, kills: this.killed},
      ...{abandoned: this.abandoned, kinds: this.tally.kinds(), memory: report},
      failures: [...this.tally.failures, ...report.failures],
    };
  }

  /** So many generations at a time that every worker keeps as many sequences as it may. */
  private async fillCaches(): Promise<void> {
    const count = SEQUENCES_PER_WORKER * this.options.workers;
    const client = new Client(this.server.url, count);
    const body = JSON.stringify({model: 'tiny', prompt: [1], max_tokens: 60, temperature: 0});
    await Promise.all(Array.from({length: count}, () => client.ask({path: '/v1/completions', body})));
    client.close();
  }

  /** One request, wrong or right; some besides are abandoned. */
  private async one(): Promise<void> {
    const {random, tally} = this;
    if (random() < ABANDONED_SHARE) {
      this.abandoned++;
      const body = JSON.stringify({model: 'tiny', prompt: [1, 2], max_tokens: 200, stream: random() < 0.5});
      await this.client.abandon({path: '/v1/completions', body}, random() * 20);
    }
    this.sent++;
    if (random() < WRONG_SHARE) {
      const question = wrongQuestion(random);
      const answer = await this.client.ask(question);
      tally.add('malformed', answer, this.refusedForKill(answer) ?? checkRefusal(question, answer));
      return;
    }
    const versions: Versions = {lowest: this.lowest, highest: () => this.highest};
    const question = rightQuestion(random, versions, this.options.texts);
    const answer = await this.client.ask(question);
    tally.add(question.kind, answer, this.problemOf(question.check, answer));
  }

  private problemOf(check: (answer: Incoming) => string | null, answer: Incoming): string | null {
    if (answer.status === 503) return this.refusedForKill(answer);
    if (answer.status !== 200) return `status ${answer.status}: ${answer.bytes.toString().slice(0, 200)}`;
    const problem = check(answer);
    return problem === BROKEN_OFF && this.isRecovering() ? null : problem;
  }

  /** 503 may be the answer while a killed worker is missing, with when to ask again; null too if it is no 503. */
  private refusedForKill({status, headers, bytes}: Incoming): string | null {
    if (status !== 503) return null;
    if (headers['retry-after'] === undefined) return '503 without Retry-After';
    return this.isRecovering() ? null : `503 without a killed worker: ${bytes.toString().slice(0, 200)}`;
  }

  private isRecovering(): boolean {
    return performance.now() - this.lastKill < RECOVERY_MS;
  }

  /** Each time a share of the requests is out: a new version, and the one before the last one away. */
  private async switchVersions(until: number): Promise<void> {
    const {switches} = this.options;
    for (let i = 1; i <= switches; i++) {
      await this.outFor((until * i) / (switches + 1));
      await placeScaled(this.folder, ++this.highest);
      while (!(await this.isAvailable(this.highest))) await sleep(20);
      this.lowest = this.highest;
      removeScaled(this.folder, this.highest - 1);
      this.switched++;
    }
  }

  private async isAvailable(version: number): Promise<boolean> {
    const answer = await this.client.ask({method: 'GET', path: '/v1/models/scaled'});
    const {model_version_status: versions} = JSON.parse(answer.bytes.toString()) as {
      model_version_status: {version: string; state: string}[];
    };
    return versions.some((entry) => entry.version === String(version) && entry.state === 'AVAILABLE');
  }

  private async killWorkers(until: number): Promise<void> {
    const {kills} = this.options;
    for (let i = 1; i <= kills; i++) {
      await this.outFor((until * (i - 0.5)) / kills);
      let pids: number[];
      // The last one must be back, or it would be no worker that is killed.
      while ((pids = [...(await this.server.resources()).workers.keys()]).length < this.options.workers)
        await sleep(100);
      this.lastKill = performance.now();
      process.kill(pids[Math.floor(this.random() * pids.length)], 'SIGKILL');
      this.killed++;
    }
    if (kills > 0) await sleep(RECOVERY_MS);
  }

  /** Waits until so many requests were sent. */
  private async outFor(requests: number): Promise<void> {
    while (this.sent < requests) await sleep(5);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
