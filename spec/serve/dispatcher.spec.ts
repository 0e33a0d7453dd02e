import {expect} from 'chai';
import {Dispatcher} from '../../lib/serve/dispatcher.js';
import {ServeError} from '../../lib/serve/http-errors.js';
import type {Generation} from '../../lib/language/decoding/generate.js';
import type {GenerationRequest} from '../../lib/serve/messages.js';
import {DEFAULT_QUEUE, type QueueOptions} from '../../lib/serve/server-options.js';
import type {ModelVersion} from '../../lib/serve/model-repository.js';
import type {WireTensor} from '../../lib/serve/tensors.js';
import type {WorkerPool} from '../../lib/serve/worker-pool.js';
import {WorkerGone} from '../../lib/serve/worker-process.js';

/** What a worker was asked, to be answered when the spec says so. */
interface Asked {
  readonly kind: 'predict' | 'generate';
  /** The first value of every row. */
  readonly rows: readonly number[];
  readonly shape: readonly number[];
  readonly signal: AbortSignal | undefined;
  readonly onText: (text: string) => void;
  /** Gives every row as its own answer. */
  readonly answer: () => Promise<void>;
  readonly finish: (generation: Generation) => Promise<void>;
  readonly fail: (error: Error) => Promise<void>;
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const row = (value: number, width = 1, rows = 1): WireTensor => ({
  ...{dtype: 'float32', shape: [rows, width]},
  values: new Float32Array(rows * width).fill(value),
});
const REQUEST: GenerationRequest = {prompt: 'a', temperature: 0, topP: 1, stop: []};
const GENERATION: Generation = {
  ...{text: 'ab', tokens: [1, 2], finishReason: 'stop', promptTokens: 1},
  ...{timeToFirstTokenMs: 1, tokensPerSecond: 1},
};
const {signal: never} = new AbortController();

/** A dispatcher before one worker whose answers the spec gives, so that what waits and what runs is known. */
function dispatching(options: QueueOptions = {}, {maxSequences = 2, canBatch = true} = {}) {
  const asked: Asked[] = [];
  const batches: number[] = [];
  const busy = {predict: 0, generate: 0};
  let isThere = true;
  const worker = {
    ask: (
      kind: 'predict' | 'generate',
      {tensors = []}: {tensors?: readonly WireTensor[]},
      {signal, onText = () => {}}: {signal?: AbortSignal; onText?: (text: string) => void} = {},
    ) => {
      busy[kind]++;
      return new Promise((resolve, reject) => {
        const end = (how: () => void) => {
          busy[kind]--;
          how();
          return settled();
        };
        const [{shape = [], values = []} = {}] = tensors as readonly Partial<WireTensor>[];
        const [rows = 0, width = 1] = shape;
        asked.push({
          ...{kind, shape, signal, onText},
          rows: Array.from({length: rows}, (_, i) => values[i * width]),
          answer: () => end(() => resolve(tensors)),
          finish: (generation) => end(() => resolve(generation)),
          fail: (error) => end(() => reject(error)),
        });
      });
    },
  };
  const pool = {
    has: () => isThere,
    freeWorker: (_key: string, kind: 'predict' | 'generate', most: number) =>
      isThere && busy[kind] < most ? worker : undefined,
  } as unknown as WorkerPool;
  const onBatch = (_model: string, rows: number) => void batches.push(rows);
  const dispatcher = new Dispatcher(pool, {...DEFAULT_QUEUE, ...options}, maxSequences, {onBatch});
  const version = {
    model: 'm',
    version: 1,
    key: 'm/1',
    running: 0,
    info: {canBatch},
  } as unknown as ModelVersion;
  const predict = (tensor: WireTensor, signal = never, timeoutMs?: number) =>
    dispatcher.predict(version, [tensor], {signal, ...(timeoutMs === undefined ? {} : {timeoutMs})}).then(
      ([{values}]) => Array.from(values),
      (error: ServeError) => error.code,
    );
  const generate = (onText: (text: string) => void = () => {}, signal = never, timeoutMs?: number) =>
    dispatcher
      .generate(version, REQUEST, onText, {signal, ...(timeoutMs === undefined ? {} : {timeoutMs})})
      .catch((error: ServeError) => error.code);
  return {
    asked,
    batches,
    dispatcher,
    version,
    predict,
    generate,
    setThere: (there: boolean) => (isThere = there),
  };
}

describe('the dispatcher', () => {
  it('gives a worker two batches at a time, and lets the others wait', async () => {
    const {asked, predict, dispatcher} = dispatching({maxBatch: 1});
    const answers = [1, 2, 3].map((value) => predict(row(value)));
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2]]);
    expect([...dispatcher.waiting()]).to.deep.equal([['m', 1]]);
    await asked[0].answer();
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2], [3]]);
    for (const each of asked.slice(1)) await each.answer();
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3]]);
    expect(dispatcher.waiting().size).to.equal(0);
  });

  it('lets exactly maxQueue wait, and refuses the next with 429 and when to ask again', async () => {
    const {asked, predict, dispatcher, version} = dispatching({maxBatch: 1, maxQueue: 3});
    const answers = [1, 2, 3, 4, 5].map((value) => predict(row(value)));
    expect([...dispatcher.waiting()]).to.deep.equal([['m', 3]]);
    const error = await dispatcher
      .predict(version, [row(6)], {signal: never})
      .catch((error: unknown) => error);
    expect(error).to.include({status: 429, code: 'queue-full', retryAfterSeconds: 1});
    expect(version.running).to.equal(5);
    for (let i = 0; i < 5; i++) await asked[i].answer();
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3], [4], [5]]);
    expect(version.running).to.equal(0);
  });

  it('joins what waits up to exactly maxBatch rows, and gives each its own', async () => {
    const {asked, batches, predict} = dispatching({maxBatch: 4});
    const answers = [[1], [2], [3, 2], [4], [5]].map(([value, rows]) => predict(row(value, 1, rows)));
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2]]);
    await asked[0].answer();
    expect(asked[2].rows).to.deep.equal([3, 3, 4, 5]);
    expect(asked[2].shape).to.deep.equal([4, 1]);
    expect(batches).to.deep.equal([1, 1, 4]);
    for (const each of asked.slice(1)) await each.answer();
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3, 3], [4], [5]]);
  });

  it('joins no more than maxBatch rows, but a smaller one behind that fits', async () => {
    const {asked, predict} = dispatching({maxBatch: 4});
    const answers = [[1], [2], [3, 3], [4, 2], [5]].map(([value, rows]) => predict(row(value, 1, rows)));
    await asked[0].answer();
    expect(asked[2].rows).to.deep.equal([3, 3, 3, 5]);
    await asked[1].answer();
    expect(asked[3].rows).to.deep.equal([4, 4]);
    for (const each of asked.slice(2)) await each.answer();
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3, 3, 3], [4, 4], [5]]);
  });

  it('joins only what has one shape, and nothing to what is a batch by itself', async () => {
    const {asked, predict} = dispatching({maxBatch: 4});
    const inputs = [row(1), row(2), row(3, 2), row(4), row(5, 2), row(6, 1, 4), row(7)];
    const answers = inputs.map((tensor) => predict(tensor));
    for (let i = 0; i < asked.length; i++) await asked[i].answer();
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2], [3, 5], [4, 7], [6, 6, 6, 6]]);
    expect((await Promise.all(answers))[2]).to.deep.equal([3, 3]);
  });

  it('joins nothing where a trial showed that it changes the answers', async () => {
    const {asked, predict} = dispatching({}, {canBatch: false});
    const answers = [1, 2, 3, 4].map((value) => predict(row(value)));
    for (let i = 0; i < asked.length; i++) await asked[i].answer();
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2], [3], [4]]);
    await Promise.all(answers);
  });

  it('waits maxDelayMs for others to join, and not when the batch is full', async () => {
    const {asked, predict} = dispatching({maxBatch: 3, maxDelayMs: 60});
    const start = performance.now();
    const answers = [predict(row(1)), predict(row(2))];
    await settled();
    expect(asked).to.have.length(0);
    while (asked.length === 0) await sleep(5);
    expect(performance.now() - start).to.be.at.least(55);
    expect(asked[0].rows).to.deep.equal([1, 2]);
    answers.push(...[3, 4, 5].map((value) => predict(row(value))));
    expect(asked[1].rows).to.deep.equal([3, 4, 5]);
    for (const each of asked) await each.answer();
    await Promise.all(answers);
  });

  it('asks each of a failed batch once more, alone and in its order, so that one fails alone', async () => {
    const {asked, predict} = dispatching({maxBatch: 4});
    const answers = [1, 2, 3, 4, 5].map((value) => predict(row(value)));
    await asked[0].answer();
    expect(asked[2].rows).to.deep.equal([3, 4, 5]);
    await asked[2].fail(new ServeError(400, 'cannot-compute', 'wrong'));
    await asked[1].answer();
    await asked[3].answer();
    await asked[4].fail(new ServeError(400, 'cannot-compute', 'wrong'));
    await asked[5].answer();
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2], [3, 4, 5], [3], [4], [5]]);
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3], 'cannot-compute', [5]]);
  });

  it('asks once more when a worker ends, before what came later, and no third time', async () => {
    const {asked, predict} = dispatching({maxBatch: 1});
    const answers = [1, 2, 3].map((value) => predict(row(value)));
    await asked[0].fail(new WorkerGone());
    expect(asked[2].rows).to.deep.equal([1]);
    await asked[2].fail(new WorkerGone());
    await asked[1].answer();
    await asked[3].answer();
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2], [1], [3]]);
    expect(await Promise.all(answers)).to.deep.equal(['worker-gone', [2], [3]]);
  });

  it('asks nothing more that a model could not compute alone', async () => {
    const {asked, predict} = dispatching();
    const answer = predict(row(1));
    await asked[0].fail(new ServeError(500, 'worker-failed', 'broken'));
    expect(asked).to.have.length(1);
    expect(await answer).to.equal('worker-failed');
  });

  it('says 503 while no worker has the model', async () => {
    const {predict, setThere, version} = dispatching();
    setThere(false);
    expect(await predict(row(1))).to.equal('no-worker');
    expect(version.running).to.equal(0);
  });

  it('drops what a client that went away was waiting for, and answers those behind it', async () => {
    const {asked, predict, dispatcher} = dispatching({maxBatch: 1});
    const answers = [predict(row(1)), predict(row(2))];
    const controller = new AbortController();
    answers.push(predict(row(3), controller.signal), predict(row(4)));
    controller.abort();
    expect([...dispatcher.waiting()]).to.deep.equal([['m', 1]]);
    expect(await answers[2]).to.equal('cancelled');
    for (let i = 0; i < asked.length; i++) await asked[i].answer();
    expect(asked.map(({rows}) => rows)).to.deep.equal([[1], [2], [4]]);
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], 'cancelled', [4]]);
  });

  it('sends nothing for a client that has gone before', async () => {
    const {asked, predict, generate, version} = dispatching();
    expect(await predict(row(1), AbortSignal.abort())).to.equal('cancelled');
    expect(await generate(undefined, AbortSignal.abort())).to.equal('cancelled');
    expect(asked).to.have.length(0);
    expect(version.running).to.equal(0);
  });

  it('asks nothing more for a client that went away while a worker ended on its request', async () => {
    const {asked, predict} = dispatching();
    const controller = new AbortController();
    const answer = predict(row(1), controller.signal);
    controller.abort();
    await asked[0].fail(new WorkerGone());
    expect(asked).to.have.length(1);
    expect(await answer).to.equal('cancelled');
  });

  it('answers 504 at the deadline, the request own one before the server', async () => {
    const {asked, predict, dispatcher} = dispatching({maxBatch: 1, timeoutMs: 40});
    const answers = [predict(row(1), never, 5000), predict(row(2)), predict(row(3), never, 1)];
    expect(await answers[2]).to.equal('deadline');
    expect(dispatcher.waiting().size).to.equal(1);
    expect(await answers[1]).to.equal('deadline');
    await asked[0].answer();
    expect(await answers[0]).to.deep.equal([1]);
    await asked[1].answer(); // too late for anyone
  });

  it('gives text as it comes, then the generation, in as many sequences as a worker takes', async () => {
    const {asked, generate} = dispatching({}, {maxSequences: 2});
    const texts: string[] = [];
    const answers = [1, 2, 3].map(() => generate((text) => texts.push(text)));
    expect(asked.map(({kind}) => kind)).to.deep.equal(['generate', 'generate']);
    asked[0].onText('a');
    asked[0].onText('b');
    expect(texts).to.deep.equal(['a', 'b']);
    await asked[0].finish(GENERATION);
    expect(asked).to.have.length(3);
    for (const each of asked.slice(1)) await each.finish(GENERATION);
    expect(await Promise.all(answers)).to.deep.equal([GENERATION, GENERATION, GENERATION]);
  });

  it('tells the worker to stop when the client goes away or the deadline comes, and only then', async () => {
    const {asked, generate} = dispatching();
    const controller = new AbortController();
    const left = generate(undefined, controller.signal);
    const late = generate(undefined, never, 20);
    expect(asked.map(({signal}) => signal!.aborted)).to.deep.equal([false, false]);
    controller.abort();
    expect(await left).to.equal('cancelled');
    expect(asked[0].signal!.aborted).to.equal(true);
    expect(asked[1].signal!.aborted).to.equal(false);
    expect(await late).to.equal('deadline');
    expect(asked[1].signal!.aborted).to.equal(true);
    for (const each of asked) await each.fail(new ServeError(500, 'cancelled', 'stopped'));
  });

  it('has no deadline once there is text', async () => {
    const {asked, generate} = dispatching();
    const answer = generate(undefined, never, 20);
    asked[0].onText('a');
    await sleep(60);
    await asked[0].finish(GENERATION);
    expect(await answer).to.equal(GENERATION);
  });

  it('generates anew when a worker ends before the first text', async () => {
    const {asked, generate} = dispatching();
    const first = generate();
    await asked[0].fail(new WorkerGone());
    expect(asked).to.have.length(2);
    await asked[1].finish(GENERATION);
    expect(await first).to.equal(GENERATION);
  });

  it('says 503 when a worker ends amid the text, whose beginning the client would read twice', async () => {
    const {asked, dispatcher, version} = dispatching();
    const texts: string[] = [];
    const answer = dispatcher
      .generate(version, REQUEST, (text) => texts.push(text), {signal: never})
      .catch((error: unknown) => error);
    asked[0].onText('a');
    await asked[0].fail(new WorkerGone());
    expect(asked).to.have.length(1);
    expect(await answer)
      .to.include({status: 503, code: 'worker-gone', retryAfterSeconds: 1})
      .and.have.property('message')
      .that.contains('amid the answer');
    expect(texts).to.deep.equal(['a']);
  });

  it('gives a worker as many sequences as it takes, apart from its batches', async () => {
    const {asked, generate, predict} = dispatching({maxBatch: 1}, {maxSequences: 3});
    const generations = [1, 2, 3, 4].map(() => generate());
    const answers = [1, 2, 3].map((value) => predict(row(value)));
    // A queue for each version: what waits in front of it waits for its own kind.
    expect(asked.filter(({kind}) => kind === 'generate')).to.have.length(3);
    for (let i = 0; i < asked.length; i++) {
      if (asked[i].kind === 'generate') await asked[i].finish(GENERATION);
      else await asked[i].answer();
    }
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3]]);
    expect(await Promise.all(generations)).to.deep.equal([GENERATION, GENERATION, GENERATION, GENERATION]);
  });

  it('sends alone and at once what a batch failed with, whatever came meanwhile', async () => {
    const {asked, predict} = dispatching({maxBatch: 3, maxDelayMs: 10_000});
    const answers = [1, 2, 3].map((value) => predict(row(value)));
    expect(asked[0].rows).to.deep.equal([1, 2, 3]);
    const later = predict(row(4));
    await asked[0].fail(new ServeError(400, 'cannot-compute', 'wrong'));
    expect(asked.slice(1).map(({rows}) => rows)).to.deep.equal([[1], [2]]);
    await asked[1].answer();
    expect(asked[3].rows).to.deep.equal([3]);
    for (const each of asked.slice(2)) await each.answer();
    answers.push(later, predict(row(5)), predict(row(6)));
    expect(asked.at(-1)!.rows).to.deep.equal([4, 5, 6]);
    await asked.at(-1)!.answer();
    expect(await Promise.all(answers)).to.deep.equal([[1], [2], [3], [4], [5], [6]]);
  });

  it('leaves no deadline behind that would keep the process alive', async () => {
    const {asked, predict, generate} = dispatching({timeoutMs: 12_345});
    const started: NodeJS.Timeout[] = [];
    const {setTimeout: original} = globalThis;
    globalThis.setTimeout = ((work: () => void, ms: number) => {
      const timer = original(work, ms);
      if (ms === 12_345) started.push(timer);
      return timer;
    }) as typeof setTimeout;
    const answers = [predict(row(1)), generate()];
    globalThis.setTimeout = original;
    await asked[0].answer();
    await asked[1].fail(new ServeError(500, 'worker-failed', 'broken'));
    await Promise.all(answers);
    expect(started.map((timer) => (timer as unknown as {_destroyed: boolean})._destroyed)).to.deep.equal([
      true,
      true,
    ]);
  });
});
