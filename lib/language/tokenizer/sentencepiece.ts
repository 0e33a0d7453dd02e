/**
 * @file A SentencePiece BPE vocabulary as Hugging Face writes it. SentencePiece (Kudo and Richardson 2018) merges the
 * two neighbours whose joined text is the token of the highest score; Hugging Face's BPE merges by a list of pairs. The
 * list is made as transformers makes it (convert_slow_tokenizer.py): every way to cut a token into two tokens, by the
 * token's score.
 */

/** A space inside a token: U+2581. */
export const SPACE = '▁';

/**
 * The pairs to merge, first the one that is merged first.
 *
 * @param ids Ids of the tokens by text.
 * @param tokens Text of every id.
 * @param scores Score of every id.
 * @param mergeable Whether an id can come out of a merge or go into one.
 */
export function mergesByScore(
  ids: Readonly<Record<string, number>>,
  tokens: readonly string[],
  scores: readonly number[],
  mergeable: (id: number) => boolean,
): [string, string][] {
  const found: {left: string; right: string; score: number}[] = [];
  const isPart = (text: string) => {
    const id = ids[text] as number | undefined;
    return id !== undefined && mergeable(id);
  };
  for (const [id, token] of tokens.entries()) {
    if (!mergeable(id) || ids[token] !== id) continue;
    for (let cut = 1; cut < token.length; cut++) {
      if (isLowSurrogate(token.charCodeAt(cut))) continue;
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (isPart(left) && isPart(right)) found.push({left, right, score: scores[id]});
    }
  }
  // Of pairs for one token the one with the longest left part comes first, as transformers sorts them.
  found.sort(
    (a, b) =>
      b.score - a.score ||
      characters(b.left) - characters(a.left) ||
      characters(b.right) - characters(a.right),
  );
  return found.map(({left, right}) => [left, right]);
}

/**
 * Normalizer and decoder around such a vocabulary.
 *
 * @param prefix Whether a space is put before the text, as most of these models have it.
 */
export function sentencePieceParts(prefix: boolean): {normalizer: object; decoder: object} {
  const replace = {type: 'Replace', pattern: {String: ' '}, content: SPACE};
  const decoders = [
    {type: 'Replace', pattern: {String: SPACE}, content: ' '},
    {type: 'ByteFallback'},
    {type: 'Fuse'},
    ...(prefix ? [{type: 'Strip', content: ' ', start: 1, stop: 0}] : []),
  ];
  return {
    normalizer: prefix
      ? {type: 'Sequence', normalizers: [{type: 'Prepend', prepend: SPACE}, replace]}
      : replace,
    decoder: {type: 'Sequence', decoders},
  };
}

function characters(text: string): number {
  return Array.from(text).length;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
