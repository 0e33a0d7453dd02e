/**
 * @file HTML that is escaped where it is put together: names from model files and paths are text, whatever they hold.
 */

/** A piece of HTML that is safe to put into a page as it is. */
export class Html {
  /** @param text Trusted: written by this package, or escaped. */
  constructor(readonly text: string) {}
}

/** What a template takes: HTML as it is, text and numbers escaped, lists joined, and nothing for null and false. */
export type HtmlValue = Html | string | number | null | undefined | false | readonly HtmlValue[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * A template of HTML.
 *
 * @returns Its text with every value escaped, for element content and quoted attributes.
 * @example
 * html`<td title="${path}">${percent(share)}</td>`;
 */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(strings.reduce((text, part, i) => text + written(values[i - 1]) + part));
}

/** Text with the characters replaced that mean something in HTML. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

function written(value: HtmlValue): string {
  if (value instanceof Html) return value.text;
  if (value === null || value === undefined || value === false) return '';
  if (typeof value === 'object') return value.map(written).join('');
  return escapeHtml(String(value));
}
