import {expect} from 'chai';
import {Metrics} from '../../lib/serve/metrics.js';

describe('the text for Prometheus', () => {
  let queues: Map<string, number>;
  let isReady: boolean;
  let workers: {pid: number; residentBytes: number; tensors: number; cacheBytes: number}[];
  let metrics: Metrics;
  beforeEach(() => {
    queues = new Map();
    isReady = false;
    workers = [];
    metrics = new Metrics({queues: () => queues, isReady: () => isReady, workers: () => workers});
  });
  /** The lines of a metric and of what it is made of. */
  const linesOf = async (name: string) => {
    const {text} = await metrics.text();
    return text.split('\n').filter((line) => line.startsWith(name));
  };
  const values = async (name: string) => {
    const lines = await linesOf(name);
    return lines.map((line) => line.slice(name.length));
  };

  it('is of the type that Prometheus reads, and says what each metric is', async () => {
    const {type, text} = await metrics.text();
    expect(type).to.equal('text/plain; version=0.0.4; charset=utf-8');
    const told = Object.fromEntries(
      [...text.matchAll(/^# HELP (\S+) (.+)\n# TYPE \1 (\w+)$/gm)].map(([, name, help, kind]) => [
        name,
        `${kind}: ${help}`,
      ]),
    );
    expect(told).to.deep.equal({
      sparsify_requests_total: 'counter: Answered requests.',
      sparsify_request_duration_seconds: 'histogram: From a request to the end of its answer.',
      sparsify_batch_rows: 'histogram: Rows that were computed together.',
      sparsify_tokens_total: 'counter: Tokens of prompts, and generated ones.',
      sparsify_actual_sparsity:
        'gauge: Share of the inputs of sparsified layers that are masked, mean over the layers.',
      sparsify_worker_restarts_total: 'counter: Worker processes that ended and were replaced.',
      sparsify_queue_length: 'gauge: Requests that wait for a worker.',
      sparsify_ready: 'gauge: 1 if every model can answer.',
      sparsify_resident_memory_bytes: 'gauge: Memory of front and workers.',
      sparsify_tensors: 'gauge: Tensors that a worker holds.',
      sparsify_cache_bytes: 'gauge: Keys and values of language models, estimated.',
    });
  });

  it('counts requests, and how long each took', async () => {
    metrics.answered('m', 'openai', 200, 0.003);
    metrics.answered('m', 'openai', 200, 0.25);
    metrics.answered('m', 'openai', 404, 90);
    expect(await values('sparsify_requests_total')).to.deep.equal([
      '{model="m",protocol="openai",status="200"} 2',
      '{model="m",protocol="openai",status="404"} 1',
    ]);
    const counts = [0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3];
    const limits = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, '+Inf'];
    expect(await values('sparsify_request_duration_seconds')).to.deep.equal([
      ...limits.map((limit, i) => `_bucket{le="${limit}",model="m",protocol="openai"} ${counts[i]}`),
      '_sum{model="m",protocol="openai"} 90.253',
      '_count{model="m",protocol="openai"} 3',
    ]);
  });

  it('counts rows of batches', async () => {
    metrics.batch('m', 1);
    metrics.batch('m', 32);
    const counts = [1, 1, 1, 1, 1, 2, 2, 2, 2, 2];
    expect(await values('sparsify_batch_rows')).to.deep.equal([
      ...[1, 2, 4, 8, 16, 32, 64, 128, 256, '+Inf'].map(
        (limit, i) => `_bucket{le="${limit}",model="m"} ${counts[i]}`,
      ),
      '_sum{model="m"} 33',
      '_count{model="m"} 2',
    ]);
  });

  it('counts tokens by kind', async () => {
    metrics.generated('m', 7, 3);
    metrics.generated('m', 1, 1);
    expect(await values('sparsify_tokens_total')).to.deep.equal([
      '{model="m",kind="prompt"} 8',
      '{model="m",kind="completion"} 4',
    ]);
  });

  it('holds the last actual sparsity, and counts restarts', async () => {
    metrics.sparsified('m', {mean: 0.25, layers: []});
    metrics.sparsified('m', {mean: 0.5, layers: []});
    metrics.restarted();
    metrics.restarted();
    expect(await values('sparsify_actual_sparsity')).to.deep.equal(['{model="m"} 0.5']);
    expect(await values('sparsify_worker_restarts_total')).to.deep.equal([' 2']);
  });

  it('reads queues and readiness when it is asked for, and forgets models that have gone', async () => {
    queues.set('a', 2).set('b', 0);
    expect(await values('sparsify_queue_length')).to.deep.equal(['{model="a"} 2', '{model="b"} 0']);
    expect(await values('sparsify_ready')).to.deep.equal([' 0']);
    queues.delete('a');
    isReady = true;
    expect(await values('sparsify_queue_length')).to.deep.equal(['{model="b"} 0']);
    expect(await values('sparsify_ready')).to.deep.equal([' 1']);
  });

  it('tells what each worker holds, and the memory of the front', async () => {
    workers = [
      {pid: 5, residentBytes: 100, tensors: 3, cacheBytes: 9},
      {pid: 6, residentBytes: 200, tensors: 4, cacheBytes: 0},
    ];
    const memory = await values('sparsify_resident_memory_bytes');
    expect(memory.slice(1)).to.deep.equal([
      '{process="worker",pid="5"} 100',
      '{process="worker",pid="6"} 200',
    ]);
    const [, bytes] = new RegExp(`^{process="front",pid="${process.pid}"} (\\d+)$`).exec(memory[0]) ?? [];
    expect(Number(bytes)).to.be.above(1e7);
    expect(await values('sparsify_tensors')).to.deep.equal(['{pid="5"} 3', '{pid="6"} 4']);
    expect(await values('sparsify_cache_bytes')).to.deep.equal(['{pid="5"} 9', '{pid="6"} 0']);
  });
});
