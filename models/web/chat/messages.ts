/** @file The conversation as a visitor reads it. */
import type {ChatMessage} from 'tfjs-sparsify/language';
import {make} from '../shell/elements.js';

/** How an answer was computed. */
export type Mode = 'dense' | 'sparse';

const NAMES: Readonly<Record<Mode | 'user', string>> = {user: 'You', dense: 'Dense', sparse: 'Sparse'};

/** An answer that is being written. */
export interface OpenMessage {
  /** Adds to its text. */
  add(text: string): void;
  /** Says beside its name how fast it was, or that it was stopped. */
  note(text: string): void;
}

/** The list of messages, and the conversation as the model takes it. */
export class Messages {
  private conversation: readonly ChatMessage[] = [];

  constructor(private readonly log: HTMLElement) {}

  /** What the model is asked: all so far. */
  get prompt(): readonly ChatMessage[] {
    return this.conversation;
  }

  ask(content: string): void {
    this.conversation = [...this.conversation, {role: 'user', content}];
    const {element, add} = message('user');
    add(content);
    this.log.append(element);
    this.follow();
  }

  /** Places for answers, beside each other where there is room. A reader hears them once they are whole. */
  open(modes: readonly Mode[]): OpenMessage[] {
    const place = make('div', {className: 'pair'});
    this.log.setAttribute('aria-busy', 'true');
    this.log.append(place);
    return modes.map((mode) => {
      const {element, add, note} = message(mode);
      place.append(element);
      this.follow();
      return {
        add: (text) => {
          add(text);
          this.follow();
        },
        note,
      };
    });
  }

  /** Ends what `open` began. @param answer What the conversation goes on with; none after a failure. */
  close(answer: string): void {
    this.log.setAttribute('aria-busy', 'false');
    if (answer !== '') this.conversation = [...this.conversation, {role: 'assistant', content: answer}];
  }

  clear(): void {
    this.conversation = [];
    this.log.replaceChildren();
  }

  private follow(): void {
    this.log.scrollTop = this.log.scrollHeight;
  }
}

function message(of: Mode | 'user') {
  const element = make('article', {className: `message ${of}`});
  const name = make('b', {text: NAMES[of]});
  const text = document.createTextNode('');
  element.append(name, text);
  return {
    element,
    add: (more: string) => text.appendData(more),
    note: (note: string) => {
      name.textContent = `${NAMES[of]} · ${note}`;
    },
  };
}
