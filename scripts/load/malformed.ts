/** @file Wrong requests, each with the status that it must be answered, in its protocol's form. */
import type {Random} from '../../lib/stats/seeded-random.js';
import type {Incoming, Outgoing} from './client.js';
import {WIDTH} from './models.js';

/** A request that must be refused. */
export interface WrongQuestion extends Outgoing {
  readonly kind: string;
  readonly status: number;
}

const ROW = Array<number>(WIDTH).fill(1);
const FP32 = {name: 'sums_input', shape: [1, WIDTH], datatype: 'FP32'};

function predict(body: object | string, model = 'scaled'): Outgoing {
  return {path: `/v1/models/${model}:predict`, body: typeof body === 'string' ? body : JSON.stringify(body)};
}

function infer(input: object, bytes = 0, header?: string): Outgoing {
  const json = Buffer.from(JSON.stringify({inputs: [{...FP32, ...input}]}));
  return {
    path: '/v2/models/scaled/infer',
    headers: {'inference-header-content-length': header ?? String(json.length)},
    body: Buffer.concat([json, Buffer.alloc(bytes)]),
  };
}

function complete(body: object): Outgoing {
  return {path: '/v1/completions', body: JSON.stringify({model: 'tiny', prompt: [1], ...body})};
}

const DEEP = '['.repeat(50_000) + ']'.repeat(50_000);

const WRONG: readonly (readonly [status: number, kind: string, outgoing: Outgoing])[] = [
  [400, 'wrong shape', predict({instances: [ROW.slice(1)]})],
  [400, 'wrong dtype', predict({instances: [{a: [1, 2], b: [1.5]}]}, 'named')],
  [400, 'NaN text', predict(`{"instances": [[${ROW.slice(1).join(',')},NaN]]}`)],
  [400, 'ragged rows', predict({instances: [ROW, ROW.slice(1)]})],
  [400, 'malformed JSON', predict('{"instances": [[1,')],
  [400, 'empty body', predict('')],
  [400, 'deep nesting', predict(`{"instances": ${DEEP}}`)],
  [400, 'prototype keys', predict('{"inputs": {"__proto__": [[1]], "constructor": [[1]]}}')],
  [404, 'unknown model', predict({instances: [ROW]}, 'scale')],
  [404, 'unknown version', predict({instances: [ROW]}, 'scaled/versions/999')],
  [404, 'path traversal', predict({instances: [ROW]}, '..%2f..%2f..%2fetc%2fpasswd')],
  [400, 'binary length', infer({parameters: {binary_data_size: 4 * WIDTH}}, 4 * WIDTH - 1)],
  [400, 'binary behind nothing', infer({data: ROW}, 12)],
  [400, 'negative sizes', infer({shape: [-1, -WIDTH], parameters: {binary_data_size: 4 * WIDTH}}, 4 * WIDTH)],
  [400, 'huge shape', infer({shape: [2 ** 40, 2 ** 40], parameters: {binary_data_size: 4}}, 4)],
  [400, 'header length', infer({data: ROW}, 0, '99999999')],
  [404, 'unknown language model', complete({model: 'tinny'})],
  [400, 'bad temperature', complete({temperature: -1})],
  [400, 'token beyond the vocabulary', complete({prompt: [1e9]})],
  [404, 'unknown path', {path: '/v3/models', body: '{}'}],
];

/** A wrong request. */
export function wrongQuestion(random: Random): WrongQuestion {
  const [status, kind, outgoing] = WRONG[Math.floor(random() * WRONG.length)];
  return {...outgoing, status, kind};
}

/** What is wrong with how it was refused, or null. */
export function checkRefusal({kind, status, path}: WrongQuestion, answer: Incoming): string | null {
  if (answer.status !== status) return `${kind} was answered ${answer.status} instead of ${status}`;
  const {error} = JSON.parse(answer.bytes.toString()) as {error?: string | {message?: string}};
  const text = path.startsWith('/v1/completions') ? (error as {message?: string})?.message : error;
  return typeof text === 'string' && text.length > 0 ? null : `${kind}: the refusal says nothing`;
}
