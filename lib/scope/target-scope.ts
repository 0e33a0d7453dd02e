/**
 * @file The two kinds of scope: rules that name nodes of a model, either to sparsify them or to leave them
 * alone. Fields and equality follow NNCF's `TargetScope` and `IgnoredScope` (nncf/scopes.py). A scope only
 * holds its rules: which nodes they match is `match-scope.ts`'s matter, as is whether a pattern is well-formed.
 */
import {ScopeError} from '../errors.js';
import {CHECKED_LATER, checkOptions, optional, type OptionRules} from '../option-rules.js';
import {isObject} from '../plain-object.js';

/** All nodes on directed paths from one of `inputs` to one of `outputs`, ends included. Names are exact. */
export interface Subgraph {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** The rules of a scope; a node is in the scope when at least one of them matches it. */
export interface ScopeOptions {
  /** Exact node names. */
  readonly names?: readonly string[];
  /** Regular expressions, anchored at the start of the name and open at its end. */
  readonly patterns?: readonly string[];
  /** Exact node types, for example `Dense`. */
  readonly types?: readonly string[];
  readonly subgraphs?: readonly Subgraph[];
  /** Whether a rule that matches nothing is an error; true by default. */
  readonly validate?: boolean;
}

const LIST_OPTIONS = ['names', 'patterns', 'types'] as const;

/** What the options hold is checked below, entry by entry. */
const OPTIONS: OptionRules<ScopeOptions> = {
  names: CHECKED_LATER,
  patterns: CHECKED_LATER,
  types: CHECKED_LATER,
  subgraphs: CHECKED_LATER,
  validate: CHECKED_LATER,
};
const SUBGRAPH: OptionRules<Subgraph> = {inputs: CHECKED_LATER, outputs: CHECKED_LATER};

/** What both kinds of scope share: their rules, checked and frozen. */
export abstract class Scope {
  /** What the scope is for. */
  abstract readonly role: 'target' | 'ignored';
  readonly names: readonly string[];
  readonly patterns: readonly string[];
  readonly types: readonly string[];
  readonly subgraphs: readonly Subgraph[];
  readonly validate: boolean;

  /**
   * @param options the rules; lists are copied.
   * @throws ScopeError `unknown-option` for a field that does not exist; `invalid-option` for a field of the
   *   wrong type.
   */
  constructor(options: ScopeOptions = {}) {
    checkRules(options);
    this.names = Object.freeze([...(options.names ?? [])]);
    this.patterns = Object.freeze([...(options.patterns ?? [])]);
    this.types = Object.freeze([...(options.types ?? [])]);
    this.subgraphs = Object.freeze(
      (options.subgraphs ?? []).map(({inputs, outputs}) =>
        Object.freeze({inputs: Object.freeze([...inputs]), outputs: Object.freeze([...outputs])}),
      ),
    );
    this.validate = options.validate ?? true;
  }

  /**
   * Whether `other` is of the same kind and holds the same rules in the same order.
   * @param other any scope.
   */
  equals(other: Scope): boolean {
    return (
      this.role === other.role &&
      this.validate === other.validate &&
      LIST_OPTIONS.every((option) => sameStrings(this[option], other[option])) &&
      this.subgraphs.length === other.subgraphs.length &&
      this.subgraphs.every(
        ({inputs, outputs}, i) =>
          sameStrings(inputs, other.subgraphs[i].inputs) && sameStrings(outputs, other.subgraphs[i].outputs),
      )
    );
  }

  /** The rules in short, for messages: `patterns ".*up_proj.*"`. */
  describe(): string {
    const parts = LIST_OPTIONS.filter((option) => this[option].length > 0).map(
      (option) => `${option} ${this[option].map((rule) => `"${rule}"`).join(', ')}`,
    );
    if (this.subgraphs.length > 0) {
      parts.push(`subgraphs ${this.subgraphs.map(describeSubgraph).join(', ')}`);
    }
    return parts.length > 0 ? parts.join(', ') : 'no rules';
  }
}

/**
 * The nodes that get one target sparsity.
 *
 * @example
 * new TargetScope({patterns: ['.*up_proj.*', '.*gate_proj.*']})
 */
export class TargetScope extends Scope {
  override readonly role = 'target';
}

/**
 * The nodes that stay as they are, whatever a target scope says.
 *
 * @example
 * new IgnoredScope({names: ['lm_head']})
 */
export class IgnoredScope extends Scope {
  override readonly role = 'ignored';
}

/** For options that leave layers as they are; a target scope serves too. */
export const IGNORED_SCOPE = optional(
  "a scope or null: write new IgnoredScope({names: ['head']})",
  (value) => value === null || value instanceof Scope,
);

/** A subgraph in short, for messages: `"a" -> "b"`. */
export function describeSubgraph({inputs, outputs}: Subgraph): string {
  const quote = (names: readonly string[]) => names.map((name) => `"${name}"`).join(' | ');
  return `${quote(inputs)} -> ${quote(outputs)}`;
}

/** Rejects what a caller without types, or a parsed file, can get wrong. */
function checkRules(options: unknown): void {
  if (!isObject(options)) {
    throw invalidOption('the options of a scope', options, "an object: write {patterns: ['.*up_proj.*']}");
  }
  checkOptions('a scope', options, OPTIONS, ScopeError);
  for (const option of LIST_OPTIONS) {
    checkStrings(option, options[option]);
  }
  const {subgraphs, validate} = options;
  if (validate !== undefined && typeof validate !== 'boolean') {
    throw invalidOption('validate', validate, 'true or false');
  }
  if (subgraphs === undefined) {
    return;
  }
  if (!Array.isArray(subgraphs)) {
    throw invalidOption('subgraphs', subgraphs, "an array: write [{inputs: ['a'], outputs: ['b']}]");
  }
  for (const [i, subgraph] of (subgraphs as unknown[]).entries()) {
    if (!isObject(subgraph) || subgraph.inputs === undefined || subgraph.outputs === undefined) {
      throw invalidOption(`subgraphs[${i}]`, subgraph, "an object: write {inputs: ['a'], outputs: ['b']}");
    }
    checkOptions(`subgraphs[${i}]`, subgraph, SUBGRAPH, ScopeError);
    checkStrings(`subgraphs[${i}].inputs`, subgraph.inputs);
    checkStrings(`subgraphs[${i}].outputs`, subgraph.outputs);
  }
}

function checkStrings(option: string, value: unknown): void {
  if (value === undefined) {
    return;
  }
  if (!Array.isArray(value)) {
    const hint = typeof value === 'string' ? `: write [${JSON.stringify(value)}]` : '';
    throw invalidOption(option, value, `an array of strings${hint}`);
  }
  for (const [i, element] of (value as unknown[]).entries()) {
    if (typeof element !== 'string') {
      const hint =
        option === 'patterns' && element instanceof RegExp
          ? `: write its source, ${JSON.stringify(element.source)}`
          : '';
      throw invalidOption(`${option}[${i}]`, element, `a string${hint}`);
    }
  }
}

function invalidOption(option: string, value: unknown, allowed: string): ScopeError {
  return new ScopeError('invalid-option', `${option} is ${show(value)}; it must be ${allowed}`, {
    option,
    value,
  });
}

function show(value: unknown): string {
  return typeof value === 'string' ? `the string ${JSON.stringify(value)}` : String(value);
}

function sameStrings(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
