/** @file How well the model predicts a text, dense and sparse. */
import type {PageLanguageModel} from 'tfjs-sparsify/language';
import {percent} from '../shell/words.js';

/** Longer texts are scored in windows of so many tokens. */
const WINDOW = 512;

/**
 * Measures both, and says so.
 *
 * @param onProgress Is told what is measured.
 * @throws The signal's reason; {DatasetError} `empty`.
 */
export async function perplexityInWords(
  lm: PageLanguageModel,
  text: string,
  onProgress: (line: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const contextLength = Math.min(WINDOW, lm.config.contextLength);
  const measure = (name: string, dense: boolean) =>
    lm.perplexity(text, {
      ...{protocol: 'token' as const, contextLength, dense, signal},
      onProgress: ({done, total}) => onProgress(`Measuring ${name}: window ${done} of ${total ?? '?'}…`),
    });
  onProgress('Measuring dense…');
  const dense = await measure('dense', true);
  onProgress('Measuring sparse…');
  const sparse = await measure('sparse', false);
  const change = sparse.tokenPerplexity / dense.tokenPerplexity - 1;
  const masked =
    sparse.sparsity === null ? '' : `, with ${percent(sparse.sparsity.mean, 1)} of the inputs masked`;
  return (
    `Dense ${dense.tokenPerplexity.toFixed(2)}, sparse ${sparse.tokenPerplexity.toFixed(2)} ` +
    `(${change < 0 ? '−' : '+'}${percent(Math.abs(change), 1)})${masked}: perplexity of a token, over ${dense.tokens} tokens.`
  );
}
