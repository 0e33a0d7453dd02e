/** @file What Prometheus scrapes: requests, latency, queues, batches, tokens, actual sparsity, memory, restarts. */
import {Counter, Gauge, Histogram, Registry} from 'prom-client';
import type {ActualSparsity} from './messages.js';

/** Read when a scrape comes. */
export interface MetricsSource {
  readonly queues: () => ReadonlyMap<string, number>;
  readonly workers: () => readonly {
    readonly pid: number;
    readonly residentBytes: number;
    readonly tensors: number;
    readonly cacheBytes: number;
  }[];
  readonly isReady: () => boolean;
}

const LATENCIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BATCH_ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

export class Metrics {
  private readonly registry = new Registry();
  private readonly registers = [this.registry];
  private readonly requests = new Counter({
    name: 'sparsify_requests_total',
    help: 'Answered requests.',
    labelNames: ['model', 'protocol', 'status'],
    registers: this.registers,
  });
  private readonly latency = new Histogram({
    name: 'sparsify_request_duration_seconds',
    help: 'From a request to the end of its answer.',
    labelNames: ['model', 'protocol'],
    buckets: LATENCIES,
    registers: this.registers,
  });
  private readonly batches = new Histogram({
    name: 'sparsify_batch_rows',
    help: 'Rows that were computed together.',
    labelNames: ['model'],
    buckets: BATCH_ROWS,
    registers: this.registers,
  });
  private readonly tokens = new Counter({
    name: 'sparsify_tokens_total',
    help: 'Tokens of prompts, and generated ones.',
    labelNames: ['model', 'kind'],
    registers: this.registers,
  });
  private readonly sparsity = new Gauge({
    name: 'sparsify_actual_sparsity',
    help: 'Share of the inputs of sparsified layers that are masked, mean over the layers.',
    labelNames: ['model'],
    registers: this.registers,
  });
  private readonly restarts = new Counter({
    name: 'sparsify_worker_restarts_total',
    help: 'Worker processes that ended and were replaced.',
    registers: this.registers,
  });

  constructor(source: MetricsSource) {
    this.gauge('sparsify_queue_length', 'Requests that wait for a worker.', ['model'], () =>
      [...source.queues()].map(([model, value]) => ({labels: {model}, value})),
    );
    this.gauge('sparsify_ready', '1 if every model can answer.', [], () => [
      {labels: {}, value: source.isReady() ? 1 : 0},
    ]);
    const perProcess = ['process', 'pid'];
    this.gauge('sparsify_resident_memory_bytes', 'Memory of front and workers.', perProcess, () => [
      {labels: {process: 'front', pid: process.pid}, value: process.memoryUsage.rss()},
      ...source.workers().map(({pid, residentBytes: value}) => ({labels: {process: 'worker', pid}, value})),
    ]);
    this.gauge('sparsify_tensors', 'Tensors that a worker holds.', ['pid'], () =>
      source.workers().map(({pid, tensors: value}) => ({labels: {pid}, value})),
    );
    this.gauge('sparsify_cache_bytes', 'Keys and values of language models, estimated.', ['pid'], () =>
      source.workers().map(({pid, cacheBytes: value}) => ({labels: {pid}, value})),
    );
  }

  /** An answered request. */
  answered(model: string, protocol: string, status: number, seconds: number): void {
    this.requests.inc({model, protocol, status});
    this.latency.observe({model, protocol}, seconds);
  }

  /** A batch that was sent. */
  batch(model: string, rows: number): void {
    this.batches.observe({model}, rows);
  }

  /** A generation that has ended. */
  generated(model: string, prompt: number, completion: number): void {
    this.tokens.inc({model, kind: 'prompt'}, prompt);
    this.tokens.inc({model, kind: 'completion'}, completion);
  }

  /** What a worker measured. */
  sparsified(model: string, {mean}: ActualSparsity): void {
    this.sparsity.set({model}, mean);
  }

  /** A worker was replaced. */
  restarted(): void {
    this.restarts.inc();
  }

  /** The text, and its content type. */
  async text(): Promise<{readonly type: string; readonly text: string}> {
    return {type: this.registry.contentType, text: await this.registry.metrics()};
  }

  private gauge(
    name: string,
    help: string,
    labelNames: string[],
    values: () => {readonly labels: Record<string, string | number>; readonly value: number}[],
  ): void {
    new Gauge({
      ...{name, help, labelNames, registers: this.registers},
      collect() {
        this.reset();
        for (const {labels, value} of values()) this.set(labels, value);
      },
    });
  }
}
