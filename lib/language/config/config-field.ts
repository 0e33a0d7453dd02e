/** @file Reading one field of a parsed JSON object: what it may be, and the error that says so. */
import {ModelError} from '../../errors.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Least and greatest allowed value, both included. */
export interface Range {
  readonly least: number;
  readonly most: number;
}

/** The fields of an object of a configuration; absent and null mean the same. */
export class Fields {
  private readonly read = new Set<string>();

  /** @param path What the object is called in errors: `config.json`, `config.json: rope_scaling`. */
  constructor(
    private readonly json: JsonObject,
    readonly path: string,
  ) {}

  has(field: string): boolean {
    this.read.add(field);
    return this.json[field] !== undefined && this.json[field] !== null;
  }

  /** @throws {ModelError} `invalid-config` if it is absent without a default, no integer, or out of range. */
  integer(field: string, range: Range, absent?: number): number {
    const value = this.value(field, absent, `an integer from ${range.least} to ${range.most}`);
    if (Number.isInteger(value) && within(value as number, range)) return value as number;
    throw this.invalid(field, `an integer from ${range.least} to ${range.most}`);
  }

  /** @throws {ModelError} `invalid-config` if it is absent without a default, no number, or out of range. */
  number(field: string, range: Range, absent?: number): number {
    const value = this.value(field, absent, `a number from ${range.least} to ${range.most}`);
    if (typeof value === 'number' && within(value, range)) return value;
    throw this.invalid(field, `a number from ${range.least} to ${range.most}`);
  }

  /** @throws {ModelError} `invalid-config` if it is there and neither true nor false. */
  boolean(field: string, absent: boolean): boolean {
    if (!this.has(field)) return absent;
    const value = this.json[field];
    if (typeof value === 'boolean') return value;
    throw this.invalid(field, 'true or false');
  }

  /** @throws {ModelError} `invalid-config` if it is absent without a default, or not one of `allowed`. */
  oneOf<T extends string>(field: string, allowed: readonly T[], absent?: T): T {
    const names = allowed.map((name) => `"${name}"`).join(', ');
    const value = this.value(field, absent, `one of ${names}`);
    if ((allowed as readonly unknown[]).includes(value)) return value as T;
    throw this.invalid(field, `one of ${names}`);
  }

  /** Numbers of a list; @throws {ModelError} `invalid-config` if it is no list of `length` numbers in range. */
  numbers(field: string, length: number, range: Range): number[] {
    const value = this.raw(field);
    const fits =
      Array.isArray(value) &&
      value.length === length &&
      value.every((item) => typeof item === 'number' && within(item, range));
    if (fits) return value as number[];
    throw this.invalid(field, `a list of ${length} numbers from ${range.least} to ${range.most}`);
  }

  /** Token ids: a number, a list of them, or none. @throws {ModelError} `invalid-config` for anything else. */
  tokenIds(field: string): number[] {
    if (!this.has(field)) return [];
    const value = this.json[field];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0)) return ids as number[];
    throw this.invalid(field, 'a token id (an integer of at least 0) or a list of them');
  }

  /** The object in a field, or null. @throws {ModelError} `invalid-config` if it is something else. */
  object(field: string): Fields | null {
    if (!this.has(field)) return null;
    const value = this.json[field];
    if (isJsonObject(value)) return new Fields(value, `${this.path}: ${field}`);
    throw this.invalid(field, 'an object');
  }

  /** The raw value, for what is none of the above. */
  raw(field: string): unknown {
    this.read.add(field);
    return this.json[field];
  }

  /** Says of fields that they are understood, though nothing depends on them here. */
  ignore(...fields: readonly string[]): void {
    for (const field of fields) this.read.add(field);
  }

  /** Fields with a value that were not asked for. */
  unread(): [string, unknown][] {
    return Object.entries(this.json).filter(([field, value]) => value !== null && !this.read.has(field));
  }

  invalid(field: string, allowed: string): ModelError {
    const got = this.has(field) ? JSON.stringify(this.json[field]).slice(0, 100) : 'missing';
    return new ModelError(
      'invalid-config',
      `${this.path}: "${field}" is ${got}; it must be ${allowed}: use the config.json that belongs to the checkpoint`,
      {field, got: this.json[field], allowed},
    );
  }

  private value(field: string, absent: unknown, allowed: string): unknown {
    if (this.has(field)) return this.json[field];
    if (absent !== undefined) return absent;
    throw this.invalid(field, allowed);
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function within(value: number, {least, most}: Range): boolean {
  return value >= least && value <= most; // NaN is not
}
