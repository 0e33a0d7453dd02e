/**
 * @file Values of `@huggingface/jinja` with the meaning that Python gives them: what they print as, when they are equal,
 * which comes first. The engine does not export its classes of values, so they are taken from values that it makes.
 */
import {Environment, Interpreter, parseTemplate, type Value} from './engine.js';

export type {Value};

type ValueClass = new (value?: unknown) => Value;
/** What the engine calls: arguments by keyword come last, as one value of type `KeywordArgumentsValue`. */
export type Call = (args: Value[], scope: Environment) => Value;

/** An expression that Python would evaluate and this engine cannot; or that Python refuses too. */
export class TemplateError extends Error {}

const classOf = (value: unknown) => new Environment().set('sample', value).constructor as ValueClass;
const tupleClass = () => {
  const environment = new Environment();
  new Interpreter(environment).evaluate(parseTemplate('{% set sample = (1, 2) %}'), environment);
  return environment.lookupVariable('sample').constructor as ValueClass;
};

const [StringValue, IntegerValue, FloatValue, BooleanValue] = ['', 1, 0.5, true].map(classOf);
const [ArrayValue, ObjectValue, NullValue, UndefinedValue] = [[], {}, null, undefined].map(classOf);
const FunctionValue = classOf(() => null);
const TupleValue = tupleClass();

export const text = (value: string): Value => new StringValue(value);
export const integer = (value: number): Value => {
  if (Number.isSafeInteger(value)) return new IntegerValue(value);
  throw new TemplateError(`${value} is no whole number that is exact`);
};
export const float = (value: number): Value => new FloatValue(value);
export const boolean = (value: boolean): Value => new BooleanValue(value);
export const list = (values: readonly Value[]): Value => new ArrayValue(values);
export const tuple = (values: readonly Value[]): Value => new TupleValue(values);
export const dict = (entries: Iterable<readonly [string, Value]>): Value => new ObjectValue(new Map(entries));
export const none = (): Value => new NullValue();
export const undefinedValue = (): Value => new UndefinedValue();
export const callable = (call: Call): Value => new FunctionValue(call);

/** What Python makes step by step and once: it is true even if it is empty, and has no length and no items by index. */
class Generator extends ArrayValue {
  isUsed = false;
  override __bool__(): {readonly value: boolean} {
    return {value: true};
  }
}
export const generator = (values: readonly Value[]): Value => new Generator(values);
export const isGenerator = (value: Value): boolean => value instanceof Generator;

/** Numbers of `range`, items of a dictionary: like a list, but printed otherwise, and equal to no list. */
class View extends ArrayValue {}
export const view = (values: readonly Value[]): Value => new View(values);

export const isText = (value: Value): value is Value & {value: string} => value instanceof StringValue;
export const isInteger = (value: Value): value is Value & {value: number} => value instanceof IntegerValue;
export const isFloat = (value: Value): value is Value & {value: number} => value instanceof FloatValue;
export const isBoolean = (value: Value): value is Value & {value: boolean} => value instanceof BooleanValue;
export const isTuple = (value: Value): value is Value & {value: Value[]} => value instanceof TupleValue;
/** Lists, tuples, generators and views. */
export const isArray = (value: Value): value is Value & {value: Value[]} => value instanceof ArrayValue;
export const isDict = (value: Value): value is Value & {value: Map<string, Value>} =>
  value instanceof ObjectValue;
export const isNamespace = (value: Value): value is Value & {value: Map<string, Value>} =>
  value.type === 'NamespaceValue';
export const isNone = (value: Value): boolean => value instanceof NullValue;
export const isUndefined = (value: Value): boolean => value instanceof UndefinedValue;
export const isCallable = (value: Value): value is Value & {value: Call} => value instanceof FunctionValue;
/** Lists and tuples: what has a length and items by index. */
export const isSequence = (value: Value): value is Value & {value: Value[]} =>
  isArray(value) && !isGenerator(value) && !(value instanceof View);
/** Whether `if` takes a value for true. */
export const truth = (value: Value): boolean => value.__bool__().value;

/** A number, or true and false as 1 and 0; null for anything else. */
export function numberOf(value: Value): number | null {
  if (isInteger(value) || isFloat(value)) return value.value;
  return isBoolean(value) ? Number(value.value) : null;
}

/** What a loop over a value gives. @throws {TemplateError} If Python cannot loop over it. */
export function itemsOf(value: Value): Value[] {
  if (value instanceof Generator) {
    if (value.isUsed) return [];
    value.isUsed = true;
  }
  if (isArray(value)) return value.value;
  if (isText(value)) return Array.from(value.value, text);
  if (isDict(value)) return [...value.value.keys()].map(text);
  if (isUndefined(value)) return [];
  throw new TemplateError(`${kindOf(value)} cannot be looped over`);
}

/** Python's name of a kind of value, for errors. */
export function kindOf(value: Value): string {
  if (isTuple(value)) return 'a tuple';
  if (isArray(value)) return 'a list';
  if (isCallable(value)) return 'a function';
  return value.type.replace(/Value$/, '').toLowerCase();
}

/** Python's `str`. @throws {TemplateError} For what prints an address in memory, or differs from version to version. */
export function str(value: Value): string {
  if (isText(value)) return value.value;
  return isUndefined(value) ? '' : repr(value);
}

/** Python's `repr`. @throws {TemplateError} As `str`. */
export function repr(value: Value): string {
  if (isText(value)) return quoted(value.value);
  if (isInteger(value)) return String(value.value);
  if (isFloat(value)) return floatText(value.value);
  if (isBoolean(value)) return value.value ? 'True' : 'False';
  if (isNone(value)) return 'None';
  if (isUndefined(value)) return 'Undefined';
  if (isTuple(value)) {
    const inner = value.value.map(repr);
    return inner.length === 1 ? `(${inner[0]},)` : `(${inner.join(', ')})`;
  }
  if (isSequence(value)) return `[${value.value.map(repr).join(', ')}]`;
  if (isDict(value) && !isLoop(value)) {
    return `{${[...value.value].map(([key, item]) => `${quoted(key)}: ${repr(item)}`).join(', ')}}`;
  }
  throw new TemplateError(`${kindOf(value)} is printed by Python in a way that is not known here`);
}

/** The `loop` of a `for`, which the engine takes for a dictionary. */
export function isLoop(value: Value): boolean {
  return isDict(value) && value.value.has('revindex0') && value.value.has('previtem');
}

/** Python's shortest digits: with an exponent below 1e-4 and from 1e16 on. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const [mantissa, power] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (Number.isInteger(value)) return `${BigInt(value)}.0`;
  const digits = mantissa.replace(/[-.]/g, '');
  return exponent >= 0 ? String(value) : `${value < 0 ? '-' : ''}0.${'0'.repeat(-exponent - 1)}${digits}`;
}

const ESCAPES: Readonly<Record<string, string>> = {'\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\'};

function quoted(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const inner = value.replace(/[\\'"\p{C}\p{Z}]/gu, (character) => {
    if (character === ' ' || character === '"' || character === "'") {
      return character === quote ? `\\${quote}` : character;
    }
    if (Object.hasOwn(ESCAPES, character)) return ESCAPES[character];
    const code = character.codePointAt(0)!;
    const [letter, width] = code < 0x100 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8];
    return `\\${letter}${code.toString(16).padStart(width, '0')}`;
  });
  return quote + inner + quote;
}

/** Python's `==`. */
export function equals(a: Value, b: Value): boolean {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null || y !== null) return x === y;
  if (isText(a) || isText(b)) return isText(a) && isText(b) && a.value === b.value;
  if (isSequence(a) && isSequence(b)) {
    if (isTuple(a) !== isTuple(b) || a.value.length !== b.value.length) return false;
    return a.value.every((item, i) => equals(item, b.value[i]));
  }
  if (isDict(a) && isDict(b)) {
    if (a.value.size !== b.value.size) return false;
    return [...a.value].every(([key, item]) => b.value.has(key) && equals(item, b.value.get(key)!));
  }
  if ((isNone(a) && isNone(b)) || (isUndefined(a) && isUndefined(b))) return true;
  return a === b;
}

/** Below 0 if `a` comes first. @throws {TemplateError} If Python does not order the two. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null && y !== null) return x < y ? -1 : x > y ? 1 : 0;
  if (isText(a) && isText(b)) return compareTexts(a.value, b.value);
  throw new TemplateError(`${kindOf(a)} and ${kindOf(b)} cannot be ordered`);
}

/** By code points, as Python orders texts; JavaScript orders by halves of them. */
function compareTexts(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i].codePointAt(0)! - right[i].codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Python's `in`. @throws {TemplateError} If Python cannot look into the second one. */
export function contains(item: Value, inside: Value): boolean {
  if (isText(inside)) {
    if (isText(item)) return inside.value.includes(item.value);
    throw new TemplateError(`${kindOf(item)} cannot be in a text`);
  }
  if (isDict(inside)) return isText(item) && inside.value.has(item.value);
  return itemsOf(inside).some((one) => equals(one, item));
}
