/**
 * @file Chat templates as Python's jinja2 renders them. `@huggingface/jinja` parses them and runs macros; what it computes
 * with other results than jinja2 is computed here: printing, operators, members, filters, tests, loops and their scopes.
 * What cannot be computed as jinja2 does is an error that names the expression, never another text.
 */
import {Environment, expressionText, Interpreter, parseTemplate, type Node} from './engine.js';
import {applyFilter, applyTest, escapeHtml, memberOf} from './filters.js';
import {methodOf} from './methods.js';
import {strftime} from './strftime.js';
import {percent} from './texts.js';
import {
  boolean,
  callable,
  compare,
  contains,
  dict,
  equals,
  float,
  integer,
  isCallable,
  isDict,
  isFloat,
  isInteger,
  isLoop,
  isNamespace,
  isNone,
  isSequence,
  isText,
  isTuple,
  isUndefined,
  itemsOf,
  kindOf,
  list,
  none,
  numberOf,
  str,
  TemplateError,
  text,
  truth,
  tuple,
  undefinedValue,
  view,
  type Value,
} from './values.js';

/** `{% break %}` and `{% continue %}`, with what was printed before them. */
class LoopControl extends Error {
  constructor(
    readonly kind: string,
    readonly printed: string,
  ) {
    super(`{% ${kind.toLowerCase()} %} outside of a loop`);
  }
}

/** A parsed template. */
export class PythonTemplate {
  private readonly program: Node;

  /** @throws {Error} If it is no template. */
  constructor(template: string) {
    this.program = parseTemplate(template);
  }

  /**
   * Renders.
   *
   * @param variables What the template can name; null is Python's None, and undefined is not defined.
   * @throws {Error} What the template raises, or `TemplateError` for what Python refuses or the engine cannot compute.
   */
  render(variables: Readonly<Record<string, unknown>>): string {
    const environment = new Environment();
    for (const [name, value] of GLOBALS) environment.setVariable(name, value);
    for (const [name, value] of Object.entries(variables)) {
      environment.variables.delete(name);
      environment.set(name, value);
    }
    return str(new PythonInterpreter(environment).evaluate(this.program, environment));
  }
}

const constant = (names: readonly string[], value: Value) => names.map((name) => [name, value] as const);
const GLOBALS: ReadonlyMap<string, Value> = new Map([
  ...constant(['true', 'True'], boolean(true)),
  ...constant(['false', 'False'], boolean(false)),
  ...constant(['none', 'None'], none()),
  [
    'raise_exception',
    callable((args) => {
      throw new Raised(args.map(str).join(' '));
    }),
  ],
  [
    'range',
    callable((args) => {
      const [start, stop, step = integer(1)] = args.length === 1 ? [integer(0), args[0]] : args;
      if (![start, stop, step].every((one) => one !== undefined && isInteger(one))) {
        throw new TemplateError('range() takes whole numbers');
      }
      const [from, to, by] = [start, stop, step].map((one) => one.value as number);
      const count = Math.max(0, Math.ceil((to - from) / by));
      if (!(count <= MAX_RANGE))
        throw new TemplateError(`range() of ${count} numbers; at most ${MAX_RANGE} are made`);
      return view(Array.from({length: count}, (_, i) => integer(from + i * by)));
    }),
  ],
  [
    'dict',
    callable((args) => {
      const last = args.at(-1);
      if (args.length === 0) return dict([]);
      if (args.length > 1 || !isDict(last!))
        throw new TemplateError('dict() takes names with values, or a dictionary');
      return dict(last.value);
    }),
  ],
  ['strftime_now', callable((args) => text(strftime(new Date(), str(args[0] ?? undefinedValue()))))],
]);
/** As jinja2's sandbox has it. */
const MAX_RANGE = 100_000;

const STATEMENTS: ReadonlySet<string> = new Set([
  ...[
    'Program',
    'If',
    'For',
    'Set',
    'Macro',
    'CallStatement',
    'FilterStatement',
    'Comment',
    'Break',
    'Continue',
  ],
]);

class PythonInterpreter extends Interpreter {
  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node === undefined) return undefinedValue();
    const compute = () => this.compute(node, environment);
    return STATEMENTS.has(node.type) ? compute() : naming(node, compute);
  }

  private compute(node: Node, environment: Environment): Value {
    const value = (field: string) => this.of(node[field] as Node, environment);
    switch (node.type) {
      case 'Program':
        return text(this.block(node['body'] as Node[], environment));
      case 'If':
        return text(this.block(node[truth(value('test')) ? 'body' : 'alternate'] as Node[], environment));
      case 'For':
        return text(this.loop(node, environment));
      case 'Break':
      case 'Continue':
        throw new LoopControl(node.type, '');
      case 'Set':
        return this.set(node, environment);
      case 'Macro':
        return this.macro(node, environment);
      case 'FilterStatement': {
        const filter = node['filter'] as Node;
        return this.filter(filter, text(this.block(node['body'] as Node[], environment)), environment);
      }
      case 'CallStatement':
        return this.engine({...node, body: printing(node['body'] as Node[])}, environment);
      case 'Print':
        return text(this.printed(node['expression'] as Node, environment));
      case 'BinaryExpression':
        return this.binary(node, environment);
      case 'FilterExpression':
        return this.filter(node['filter'] as Node, value('operand'), environment);
      case 'TestExpression': {
        const passes = applyTest((node['test'] as Node)['value'] as string, value('operand'));
        return boolean(passes !== node['negate']);
      }
      case 'Identifier': {
        const found = this.engine(node, environment);
        return node['value'] === 'varargs' && isSequence(found) ? tuple(found.value) : found;
      }
      case 'IntegerLiteral':
        return integer(node['value'] as number);
      case 'MemberExpression':
        return this.member(node, environment);
      case 'Ternary':
        return value(truth(value('condition')) ? 'trueExpr' : 'falseExpr');
      case 'CallExpression': {
        const callee = value('callee');
        if (!isCallable(callee)) throw new TemplateError(`${kindOf(callee)} cannot be called`);
        return this.engine(node, environment);
      }
      default:
        return this.engine(node, environment);
    }
  }

  private engine(node: Node, environment: Environment): Value {
    return super.evaluate(node, environment);
  }

  private of(node: Node | undefined, environment: Environment): Value {
    return this.evaluate(node, environment);
  }

  private block(statements: readonly Node[], environment: Environment): string {
    let printed = '';
    for (const statement of statements) {
      try {
        printed += this.printed(statement, environment);
      } catch (error) {
        if (error instanceof LoopControl) throw new LoopControl(error.kind, printed + error.printed);
        throw error;
      }
    }
    return printed;
  }

  private printed(node: Node, environment: Environment): string {
    const isEscaped =
      node.type === 'FilterExpression' && ESCAPES.has(String((node['filter'] as Node)['value']));
    if (isEscaped) return escapeHtml(this.of(node['operand'] as Node, environment));
    const value = this.of(node, environment);
    if (STATEMENTS.has(node.type)) return isText(value) ? value.value : '';
    return naming(node, () => str(value));
  }

  private loop(node: Node, environment: Environment): string {
    const select = node['iterable'] as Node;
    const isSelected = select.type === 'SelectExpression';
    const over = this.of((isSelected ? select['lhs'] : select) as Node, environment);
    const target = node['loopvar'] as Node;
    const all = itemsOf(over);
    const scopeOf = (item: Value) => {
      const scope = new Environment(environment);
      assign(target, item, scope);
      return scope;
    };
    const items = isSelected
      ? all.filter((item) => truth(this.of(select['test'] as Node, scopeOf(item))))
      : all;
    let printed = '';
    let isThrough = false;
    for (const [i, item] of items.entries()) {
      // Every turn has a scope of its own: what one turn sets is not there in the next.
      const scope = scopeOf(item);
      scope.setVariable('loop', loopState(items, i));
      try {
        printed += this.block(node['body'] as Node[], scope);
        isThrough = true;
      } catch (error) {
        if (!(error instanceof LoopControl)) throw error;
        printed += error.printed;
        if (error.kind === 'Break') break;
      }
    }
    // In jinja2 a turn that ends at `break` or `continue` does not count.
    return isThrough
      ? printed
      : printed + this.block(node['defaultBlock'] as Node[], new Environment(environment));
  }

  private set(node: Node, environment: Environment): Value {
    const target = node['assignee'] as Node;
    const isBlock = node['value'] === null || node['value'] === undefined;
    const value = isBlock
      ? text(this.block(node['body'] as Node[], new Environment(environment)))
      : this.of(node['value'] as Node, environment);
    if (target.type === 'MemberExpression') {
      const space = this.of(target['object'] as Node, environment);
      const name = (target['property'] as Node)['value'];
      if (!isNamespace(space) || target['computed'] === true || typeof name !== 'string') {
        throw new TemplateError('only an attribute of a namespace can be set');
      }
      space.value.set(name, value);
    } else {
      assign(target, value, environment);
    }
    return none();
  }

  /** A macro sees what is around its definition, not what is around the call; `caller` comes with the call. */
  private macro(node: Node, environment: Environment): Value {
    this.engine({...node, body: printing(node['body'] as Node[])}, environment);
    const name = (node['name'] as Node)['value'] as string;
    const macro = environment.lookupVariable(name);
    if (!isCallable(macro)) throw new TemplateError(`${name} is no macro`);
    const call = macro.value;
    const own = callable((args, scope) => {
      const around = new Environment(environment);
      const caller = scope.variables.get('caller');
      if (caller !== undefined) around.setVariable('caller', caller);
      return call(args, around);
    });
    environment.setVariable(name, own);
    return none();
  }

  private filter(filter: Node, operand: Value, environment: Environment): Value {
    if (filter.type === 'Identifier') return applyFilter(String(filter['value']), operand, []);
    const callee = filter['callee'] as Node;
    // The engine takes arguments apart for a call only: a function that hands them on gets them.
    let given: Value[] = [];
    const scope = new Environment(environment);
    const collect = callable((args) => {
      given = args;
      return none();
    });
    scope.setVariable(COLLECT, collect);
    this.engine({...filter, callee: {...callee, value: COLLECT}}, scope);
    return applyFilter(String(callee['value']), operand, given);
  }

  private member(node: Node, environment: Environment): Value {
    const object = this.of(node['object'] as Node, environment);
    const property = node['property'] as Node;
    if (isUndefined(object)) throw new TemplateError('a part of what is undefined was asked for');
    if (property.type === 'SliceExpression') {
      if (!isText(object) && !isSequence(object)) throw new TemplateError(`${kindOf(object)} cannot be cut`);
      const bounds = ['start', 'stop', 'step'].map((field) => this.of(property[field] as Node, environment));
      return slice(object, bounds);
    }
    if (node['computed'] === true) {
      const key = this.of(property, environment);
      const found = memberOf(object, key);
      if (!isUndefined(found) || !isText(key)) return isNamespace(object) ? notSubscriptable() : found;
      return named(object, key.value);
    }
    if (property.type === 'IntegerLiteral') return memberOf(object, integer(property['value'] as number));
    return named(object, String(property['value']));
  }

  private binary(node: Node, environment: Environment): Value {
    const operator = (node['operator'] as {readonly value: string}).value;
    const left = this.of(node['left'] as Node, environment);
    const right = () => this.of(node['right'] as Node, environment);
    if (operator === 'and') return truth(left) ? right() : left;
    if (operator === 'or') return truth(left) ? left : right();
    return operated(operator, left, right());
  }
}

const COLLECT = ' arguments';
const ESCAPES: ReadonlySet<string> = new Set(['e', 'escape', 'forceescape']);

/** What a template says by `raise_exception`. */
export class Raised extends Error {}

/** An error that says already in which expression it came up. */
class NamedError extends TemplateError {}

/** Runs, and says of an error in which expression it came up; what the template raises itself is left as it is. */
function naming<T>(node: Node, compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    if (error instanceof NamedError || error instanceof Raised || error instanceof LoopControl) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new NamedError(`{{ ${expressionText(node)} }}: ${reason}`, {cause: error});
  }
}

/** Bodies that the engine runs: what they print is made a text first. */
function printing(body: readonly Node[]): Node[] {
  return body.map((node) => {
    if (STATEMENTS.has(node.type)) return node;
    // The engine looks for `kwargs` and `varargs` in nodes of its own class only.
    return Object.assign(Object.create(Object.getPrototypeOf(node) as object) as Node, {
      type: 'Print',
      expression: node,
    });
  });
}

function assign(target: Node, value: Value, scope: Environment): void {
  if (target.type === 'Identifier') {
    scope.setVariable(String(target['value']), value);
    return;
  }
  const names = target['value'] as Node[];
  const parts = target.type === 'TupleLiteral' ? itemsOf(value) : [];
  if (parts.length !== names.length) {
    throw new TemplateError(`${names.length} names cannot take ${parts.length} values`);
  }
  for (const [i, name] of names.entries()) assign(name, parts[i], scope);
}

function loopState(items: readonly Value[], i: number): Value {
  const at = (index: number) => items.at(index) ?? undefinedValue();
  return dict([
    ['index', integer(i + 1)],
    ['index0', integer(i)],
    ['revindex', integer(items.length - i)],
    ['revindex0', integer(items.length - i - 1)],
    ['first', boolean(i === 0)],
    ['last', boolean(i === items.length - 1)],
    ['length', integer(items.length)],
    ['previtem', i > 0 ? at(i - 1) : undefinedValue()],
    ['nextitem', i < items.length - 1 ? at(i + 1) : undefinedValue()],
  ]);
}

/** `value.name`: a method comes before a key, as Python's attributes do; a part of a loop or a namespace is one. */
function named(object: Value, name: string): Value {
  if (isNamespace(object)) return object.value.get(name) ?? undefinedValue();
  if (isLoop(object)) {
    const state = memberOf(object, text(name));
    if (!isUndefined(state) || name === 'previtem' || name === 'nextitem') return state;
    throw new TemplateError(`loop.${name} is not supported`);
  }
  return methodOf(object, name) ?? (isDict(object) ? memberOf(object, text(name)) : undefinedValue());
}

function notSubscriptable(): never {
  throw new TemplateError('parts of a namespace are named with a dot');
}

function slice(object: Value, bounds: readonly Value[]): Value {
  const [start, stop, step] = bounds.map((bound) => {
    if (isUndefined(bound) || isNone(bound)) return null;
    if (isInteger(bound)) return bound.value;
    throw new TemplateError(`${kindOf(bound)} is no place to cut at`);
  });
  const items = isText(object) ? Array.from(object.value, text) : (object.value as Value[]);
  const by = step ?? 1;
  if (by === 0) throw new TemplateError('a step of 0 leads nowhere');
  const [least, most] = by > 0 ? [0, items.length] : [-1, items.length - 1];
  const place = (bound: number) => Math.min(Math.max(bound < 0 ? bound + items.length : bound, least), most);
  const from = start === null ? (by > 0 ? least : most) : place(start);
  const to = stop === null ? (by > 0 ? most : least) : place(stop);
  const kept: Value[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) kept.push(items[i]);
  if (isText(object)) return text(kept.map(str).join(''));
  return isTuple(object) ? tuple(kept) : list(kept);
}

/** Python's operators, but `and` and `or`. @throws {TemplateError} Where Python has a TypeError, or divides by 0. */
function operated(operator: string, left: Value, right: Value): Value {
  switch (operator) {
    case '==':
      return boolean(equals(left, right));
    case '!=':
      return boolean(!equals(left, right));
    case 'in':
      return boolean(contains(left, right));
    case 'not in':
      return boolean(!contains(left, right));
    case '<':
      return boolean(compare(left, right) < 0);
    case '<=':
      return boolean(compare(left, right) <= 0);
    case '>':
      return boolean(compare(left, right) > 0);
    case '>=':
      return boolean(compare(left, right) >= 0);
    case '~':
      return text(str(left) + str(right));
  }
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== null && b !== null) return arithmetic(operator, a, b, isFloat(left) || isFloat(right));
  if (operator === '%' && isText(left)) return text(percent(left.value, right));
  if (operator === '+' && isText(left) && isText(right)) return text(left.value + right.value);
  if (operator === '+' && isSequence(left) && isSequence(right) && isTuple(left) === isTuple(right)) {
    const joined = [...left.value, ...right.value];
    return isTuple(left) ? tuple(joined) : list(joined);
  }
  if (operator === '*') {
    const [many, count] = isInteger(right)
      ? [left, right.value]
      : [right, isInteger(left) ? left.value : null];
    if (count !== null && isText(many)) return text(many.value.repeat(times(count, many.value.length)));
    if (count !== null && isSequence(many)) {
      const repeated = Array.from({length: times(count, many.value.length)}, () => many.value).flat();
      return isTuple(many) ? tuple(repeated) : list(repeated);
    }
  }
  throw new TemplateError(`${kindOf(left)} ${operator} ${kindOf(right)} is not possible`);
}

/** Chat templates repeat a few characters; a hostile one is stopped before it fills the memory. */
const MAX_REPEATED = 2 ** 24;

function times(count: number, length: number): number {
  if (count * length <= MAX_REPEATED) return Math.max(0, count);
  throw new TemplateError(`${count} times ${length} is too long`);
}

function arithmetic(operator: string, a: number, b: number, isFloat: boolean): Value {
  const result = (value: number) => (isFloat ? float(value) : integer(value + 0));
  if (['/', '//', '%'].includes(operator) && b === 0) throw new TemplateError('a division by 0');
  switch (operator) {
    case '+':
      return result(a + b);
    case '-':
      return result(a - b);
    case '*':
      return result(a * b);
    case '/':
      return float(a / b);
    case '//':
      return result(Math.floor(a / b));
    case '%': {
      const rest = a % b;
      return result(rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest);
    }
    case '**': {
      if (a === 0 && b < 0) throw new TemplateError('0 has no negative power');
      const power = a ** b;
      if (!Number.isFinite(power)) throw new TemplateError('a power that is no finite number');
      return isFloat || b < 0 ? float(power) : integer(power);
    }
    default:
      throw new TemplateError(`the operator ${operator} is not supported`);
  }
}
