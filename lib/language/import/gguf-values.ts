/** @file Typed access to the metadata of a GGUF file: every number is checked where it is taken. */
import {ModelError} from '../../errors.js';
import type {GgufMetadata} from './gguf-header.js';

/** The largest size or id of any key here: context lengths reach 10 million. */
const MAX_COUNT = 2 ** 31 - 1;

/** Metadata of one architecture: keys are given without `llama.` in front. */
export class GgufValues {
  /** Keys that were asked for. */
  readonly read = new Set<string>();

  constructor(
    private readonly metadata: GgufMetadata,
    private readonly architecture: string,
    private readonly path: string,
  ) {}

  /** A whole number of at least 1 that must be there. */
  size(key: string): number {
    const value = this.number(key);
    if (value !== undefined && Number.isSafeInteger(value) && value >= 1 && value <= MAX_COUNT) return value;
    throw this.error(key, `a whole number from 1 to ${MAX_COUNT}`);
  }

  /** A whole number of at least 0. */
  count(key: string, otherwise: number): number {
    const value = this.number(key) ?? otherwise;
    if (Number.isSafeInteger(value) && value >= 0 && value <= MAX_COUNT) return value;
    throw this.error(key, `a whole number from 0 to ${MAX_COUNT}`);
  }

  /** A positive, finite number. */
  positive(key: string, otherwise?: number): number {
    const value = this.number(key) ?? otherwise;
    if (value !== undefined && value > 0 && Number.isFinite(value)) return value;
    throw this.error(key, 'a positive number');
  }

  /** A factor of at least 0, where 0 says that there is none: 1. Null if the key is not there. */
  scale(key: string): number | null {
    const value = this.number(key);
    if (value === undefined) return null;
    if (value >= 0 && Number.isFinite(value)) return value === 0 ? 1 : value;
    throw this.error(key, 'a positive number, or 0 for none');
  }

  text(key: string, otherwise: string): string {
    const value = this.of(key) ?? otherwise;
    if (typeof value === 'string') return value;
    throw this.error(key, 'a text');
  }

  /** A value under `tokenizer.ggml.`. */
  tokenizer(key: string): unknown {
    return this.metadata.get(`tokenizer.ggml.${key}`);
  }

  /** A token id under `tokenizer.ggml.`; null if it is not there. */
  tokenId(key: string): number | null {
    const value = this.tokenizer(key);
    if (value === undefined) return null;
    const id = Number(value);
    return Number.isSafeInteger(id) && id >= 0 && id <= MAX_COUNT ? id : null;
  }

  /** The error that a key is not what it must be. */
  error(key: string, allowed: string): ModelError {
    const value = this.of(key);
    const got = Array.isArray(value)
      ? `a list of ${value.length}`
      : ['number', 'bigint', 'string'].includes(typeof value)
        ? String(value).slice(0, 80)
        : value === undefined
          ? 'missing'
          : `a ${typeof value}`;
    return new ModelError(
      'malformed-config',
      `"${this.architecture}.${key}" of ${this.path} is ${got}; it must be ${allowed}`,
      {path: this.path, key},
    );
  }

  private number(key: string): number | undefined {
    const value = this.of(key);
    if (value === undefined) return undefined;
    if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
    throw this.error(key, 'one number');
  }

  private of(key: string): unknown {
    this.read.add(key);
    return this.metadata.get(`${this.architecture}.${key}`);
  }
}
