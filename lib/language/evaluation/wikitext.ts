/**
 * @file WikiText as lm-evaluation-harness's task `wikitext` reads it (version 2 of the task, 0.4.13): which lines make
 * a document, how the corpus's spaced punctuation becomes plain text again, and what counts as a word. So word
 * perplexities compare with published ones. The text is the raw corpus (`wiki.test.raw`), with its ` @-@ ` marks.
 */

/** A part of an evaluation text whose words are counted. */
export interface TextDocument {
  /** What the model reads. */
  readonly text: string;
  /** Words of the corpus's own, spaced text. */
  readonly words: number;
}

/** What Python's `\s` matches in text; JavaScript's also matches U+FEFF and misses U+001C to U+001F and U+0085. */
const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const SPACES = new RegExp(`${SPACE}+`);
const OUTER_SPACES = new RegExp(`^${SPACE}+|${SPACE}+$`, 'g');

/** In their order: a later one sees what an earlier one made. */
const REPLACEMENTS: readonly (readonly [RegExp, string])[] = [
  [/s '/g, "s'"],
  [/\/' [0-9]\//g, "/'[0-9]/"],
  ...([' @-@ ', ' @,@ ', ' @.@ '] as const).map((mark) => [literal(mark), mark[2]] as const),
  ...[':', ';', '.', '!', '?', ','].map((mark) => [literal(` ${mark} `), `${mark} `] as const),
  [new RegExp(`\\(${SPACE}*([^)]*?)${SPACE}*\\)`, 'g'), '($1)'],
  [new RegExp(`\\[${SPACE}*([^\\]]*?)${SPACE}*\\]`, 'g'), '[$1]'],
  [new RegExp(`\\{${SPACE}*([^}]*?)${SPACE}*\\}`, 'g'), '{$1}'],
  [new RegExp(`"${SPACE}*([^"]*?)${SPACE}*"`, 'g'), '"$1"'],
  [new RegExp(`'${SPACE}*([^']*?)${SPACE}*'`, 'g'), "'$1'"],
  [/= = = =/g, '===='],
  [/= = =/g, '==='],
  [/= =/g, '=='],
  [/ \xb0 /g, '\xb0'],
  [/ \n/g, '\n'],
  [/\n /g, '\n'],
  [/ N /g, ' 1 '],
  [/ 's/g, "'s"],
];

/** Turns WikiText's spaced punctuation back into plain text. */
export function detokenize(text: string): string {
  return REPLACEMENTS.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), text);
}

/**
 * The articles of a WikiText split, as written in the file. A heading of the first level opens one; blank text before
 * the first is left out.
 */
export function splitArticles(raw: string): string[] {
  const articles: string[][] = [[]];
  for (const line of raw.split('\n')) {
    const heading = strip(line.replaceAll('= = =', '===').replaceAll('= =', '=='));
    const opens = heading.startsWith('= ') && heading.endsWith(' =');
    if (opens && strip(articles[articles.length - 1].join('\n')) === '') articles.pop();
    if (opens) articles.push([]);
    articles[articles.length - 1].push(line);
  }
  return articles.map((lines) => lines.join('\n'));
}

/** Parts of the text between white space, empty ones at both ends counted, as the harness counts words. */
export function countWords(text: string): number {
  return text.split(SPACES).length;
}

/** Whether a text carries the marks of raw WikiText. */
export function isWikiText(text: string): boolean {
  return / @[-,.]@ /.test(text) && /^ ?= .* = *$/m.test(text);
}

/**
 * A text as documents to be scored: raw WikiText article by article, detokenised; any other text as one document, as
 * it is.
 */
export function documentsOf(text: string): TextDocument[] {
  if (!isWikiText(text)) return [{text, words: countWords(text)}];
  return splitArticles(text).map((article) => ({text: detokenize(article), words: countWords(article)}));
}

function strip(text: string): string {
  return text.replace(OUTER_SPACES, '');
}

function literal(text: string): RegExp {
  return new RegExp(text.replace(/[.?]/g, '\\$&'), 'g');
}
