/** @file Arguments of a call in a template: by place and by name, and nothing that is not taken. */
import {isDict, TemplateError, type Value} from './values.js';

/** Takes apart what a function or a filter was called with. */
export class Arguments {
  private readonly places: Value[];
  private readonly names: Map<string, Value>;

  constructor(args: readonly Value[]) {
    const last = args.at(-1);
    const hasNames = last !== undefined && last.type === 'KeywordArgumentsValue' && isDict(last);
    this.places = hasNames ? args.slice(0, -1) : [...args];
    this.names = hasNames ? new Map(last.value) : new Map<string, Value>();
  }

  /** The arguments of these names, in this order; absent ones are undefined. @throws {TemplateError} For any other. */
  take(...names: readonly string[]): (Value | undefined)[] {
    const taken = names.map((name, i) => this.places.at(i) ?? this.names.get(name));
    const unknown = [...this.names.keys()].find(
      (name) => !names.includes(name) || names.indexOf(name) < this.places.length,
    );
    if (unknown !== undefined) throw new TemplateError(`an argument "${unknown}" is not known here`);
    if (this.places.length > names.length)
      throw new TemplateError(`${this.places.length} arguments are too many`);
    return taken;
  }

  /** All by place, where there must be none by name. */
  all(): Value[] {
    this.take(...this.places.map(() => ''));
    return this.places;
  }

  /** Whether an argument was given by this name. */
  hasName(name: string): boolean {
    return this.names.has(name);
  }

  /** As `take`, where nothing may be given by place. */
  named(...names: readonly string[]): (Value | undefined)[] {
    if (this.places.length === 0) return this.take(...names);
    throw new TemplateError('arguments must be given by name here');
  }
}
