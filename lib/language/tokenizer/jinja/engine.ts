/**
 * @file The part of `@huggingface/jinja` 0.5 that is used here, with types: its own declarations import each other without
 * file extensions, which TypeScript does not resolve for ES modules.
 */
import * as jinja from '@huggingface/jinja';

/** A node of the syntax tree; which fields it has depends on `type` (`src/ast.ts`). */
export interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A value: `type` tells what `value` is (`src/runtime.ts`). */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  __bool__(): {readonly value: boolean};
}

/** Variables of a scope and, behind them, those of the scope around it. */
export interface Environment {
  readonly variables: Map<string, Value>;
  /** Sets a variable to a value of JavaScript. */
  set(name: string, value: unknown): Value;
  setVariable(name: string, value: Value): Value;
  /** Undefined as a value if there is none. */
  lookupVariable(name: string): Value;
}

interface Interpreter {
  evaluate(node: Node | undefined, environment: Environment): Value;
}

export const Environment = jinja.Environment as unknown as new (parent?: Environment) => Environment;
export const Interpreter = jinja.Interpreter as unknown as new (environment: Environment) => Interpreter;

interface Token {
  readonly type: string;
  readonly value: string;
}

interface Syntax {
  readonly tokenize: (template: string, options: Readonly<Record<string, boolean>>) => Token[];
  readonly parse: (tokens: Token[]) => Node;
}

const {tokenize, parse} = jinja as unknown as Syntax;

/**
 * Parses a template as transformers does: a line of nothing but a statement leaves no empty line.
 *
 * @throws {SyntaxError} If it is no template that the engine can parse, or one that it parses otherwise than jinja2.
 */
export function parseTemplate(template: string): Node {
  const tokens = tokenize(template, {lstrip_blocks: true, trim_blocks: true});
  checkComparisons(tokens);
  return parse(tokens);
}

const OPENS = /^Open(?:Paren|SquareBracket|CurlyBracket|Statement|Expression)$/;
const CLOSES = /^Close(?:Paren|SquareBracket|CurlyBracket|Statement|Expression)$/;
const SEPARATORS = /^(?:Comma|Colon|Equals)$/;
const SEPARATING_WORDS: ReadonlySet<string> = new Set(['and', 'or', 'if', 'else']);

/** `a < b < c` means `a < b and b < c`; the engine compares `a < b` with c. In its tree brackets can no longer be seen. */
function checkComparisons(tokens: readonly Token[]): void {
  // For every bracket that is open: where its expression begins, and whether it has had a comparison.
  const open: {start: number; isComparison: boolean}[] = [];
  for (const [i, {type, value}] of tokens.entries()) {
    const isWord = type === 'Identifier';
    const innermost = open.at(-1);
    if (OPENS.test(type)) {
      open.push({start: i + 1, isComparison: false});
    } else if (CLOSES.test(type)) {
      open.pop();
    } else if (
      innermost !== undefined &&
      (SEPARATORS.test(type) || (isWord && SEPARATING_WORDS.has(value)))
    ) {
      Object.assign(innermost, {start: i + 1, isComparison: false});
    } else if (innermost !== undefined && isWord && value === 'for') {
      innermost.isComparison = false;
    } else if (
      innermost !== undefined &&
      (type === 'ComparisonBinaryOperator' || (isWord && value === 'in'))
    ) {
      const isLoop = value === 'in' && isLoopHead(tokens, i);
      if (innermost.isComparison) {
        const written = tokens.slice(innermost.start, i + 2).map((token) => token.value);
        throw new SyntaxError(
          `${written.join(' ')}: two comparisons in a row are not supported: join them with "and"`,
        );
      }
      innermost.isComparison = !isLoop;
    }
  }
}

/** Whether the `in` at `i` is that of `for`: names, commas and brackets lead back to it. */
function isLoopHead(tokens: readonly Token[], i: number): boolean {
  let at = i - 1;
  while (
    at > 0 &&
    (tokens[at].type === 'Comma' || (tokens[at].type === 'Identifier' && tokens[at].value !== 'for'))
  )
    at--;
  return tokens[at].value === 'for';
}

/** An expression as text, to name it in errors. */
export function expressionText(node: Node): string {
  const template: {parsed: unknown; format(): string} = new jinja.Template('');
  template.parsed = {type: 'Program', body: [node]};
  try {
    const written = template.format();
    return written.replace(/^\{\{-?\s*|\s*-?\}\}$/g, '').slice(0, 200);
  } catch {
    return node.type;
  }
}
