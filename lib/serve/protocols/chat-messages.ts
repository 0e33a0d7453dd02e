/**
 * @file The messages of a chat as clients of OpenAI's API send them, answers that they send back among them, read into what
 * a chat template takes. What no template here is given (images, tool calls) is refused by its name.
 */
import type {ChatMessage} from '../../language/tokenizer/chat.js';
import {ServeError, badRequest} from '../http-errors.js';

type Fields = Readonly<Record<string, unknown>>;

/** What an answer has beside its text, as clients send it back, with the values that say nothing; any where none is named. */
const BESIDE_TEXT: Readonly<Record<string, readonly unknown[] | undefined>> = {
  annotations: undefined, // of a text that is there
  tool_calls: [[]],
  function_call: [],
  tool_call_id: [],
  audio: [],
  parsed: [],
  reasoning: [''],
  reasoning_content: [''],
  reasoning_details: [[]],
};
/** Roles of what a tool answered. */
const TOOL_ROLES: ReadonlySet<string> = new Set(['tool', 'function']);

/**
 * The messages of a request.
 *
 * @param messages Objects, as `messages` of the request has them.
 * @throws {ServeError} 400 that names the field, as `messages.2.content`.
 */
export function chatMessages(messages: readonly Fields[]): ChatMessage[] {
  return messages.map((message, i) => chatMessage(message, `messages.${i}`));
}

/** Whether a field says nothing: null, or a value that changes nothing. */
export function isHarmless(value: unknown, harmless: readonly unknown[]): boolean {
  const json = JSON.stringify(value);
  return (
    value === undefined || value === null || harmless.some((allowed) => JSON.stringify(allowed) === json)
  );
}

/** For a wish that cannot be met, or a field that nobody knows. */
export function unsupported(field: string, what: string, code = 'unsupported-parameter'): ServeError {
  return new ServeError(400, code, `"${field.slice(0, 100)}" ${what}: leave it out`, undefined, field);
}

function chatMessage(message: Fields, place: string): ChatMessage {
  const {role, content, refusal, name, ...others} = message;
  if (typeof role !== 'string') throw wrong(`${place}.role`, role, 'text, as "user"');
  if (TOOL_ROLES.has(role)) {
    const text = `"${place}" is what a tool answered, and tools are not supported here: leave it out`;
    throw new ServeError(400, 'unsupported-parameter', text, undefined, `${place}.role`);
  }
  for (const [field, value] of Object.entries(others)) {
    if (Object.hasOwn(BESIDE_TEXT, field)) {
      const harmless = BESIDE_TEXT[field];
      if (harmless === undefined || isHarmless(value, harmless)) continue;
      throw unsupported(`${place}.${field}`, 'is not supported here');
    }
    if (value !== null) throw unsupported(`${place}.${field}`, 'is not known here', 'unknown-parameter');
  }
  const isAnswer = role === 'assistant';
  if (typeof (refusal ?? '') !== 'string' || !(isAnswer || isHarmless(refusal, ['']))) {
    throw wrong(`${place}.refusal`, refusal, "text in an assistant's message, or null");
  }
  if (typeof (name ?? '') !== 'string') throw wrong(`${place}.name`, name, 'text, or null');
  return {
    role: role === 'developer' ? 'system' : role,
    content: contentText(content, isAnswer, place) + ((refusal as string | null | undefined) ?? ''),
    ...(typeof name === 'string' ? {name} : {}),
  };
}

/** The text of a content; an answer may have none, as one that only refused. */
function contentText(content: unknown, isAnswer: boolean, place: string): string {
  if (typeof content === 'string') return content;
  if (isAnswer && (content === null || content === undefined)) return '';
  if (!Array.isArray(content)) {
    const allowed = isAnswer
      ? 'text, an array of parts, or null'
      : 'text, or an array of parts of type "text"';
    throw wrong(`${place}.content`, content, allowed);
  }
  return content.map((part: unknown, i) => partText(part, isAnswer, `${place}.content.${i}`)).join('');
}

function partText(part: unknown, isAnswer: boolean, place: string): string {
  if (typeof part !== 'object' || part === null || Array.isArray(part)) {
    throw wrong(place, part, 'an object, as {"type": "text", "text": "Hello"}');
  }
  const {type, ...fields} = part as Fields;
  const known = isAnswer ? ['text', 'refusal'] : ['text'];
  if (!known.includes(type as string)) {
    const allowed = isAnswer ? '"text" or "refusal"' : '"text": nothing else is understood here';
    throw wrong(`${place}.type`, type, allowed);
  }
  const field = type as string;
  for (const [other, value] of Object.entries(fields)) {
    if (other === field || other === 'annotations' || value === null) continue;
    throw unsupported(`${place}.${other}`, 'is not known here', 'unknown-parameter');
  }
  const text = fields[field];
  if (typeof text !== 'string') throw wrong(`${place}.${field}`, text, 'text');
  return text;
}

function wrong(field: string, got: unknown, allowed: string): ServeError {
  const shown = got === undefined ? 'missing' : JSON.stringify(got)?.slice(0, 60);
  return badRequest(`${field} is ${shown}; it must be ${allowed}`, 'bad-request', field);
}
