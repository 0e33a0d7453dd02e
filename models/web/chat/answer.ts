/** @file One answer of the model, dense or sparse, streamed into its place. */
import type {Generation, PageLanguageModel, Prompt} from 'tfjs-sparsify/language';
import type {Mode, OpenMessage} from './messages.js';

const MAX_TOKENS = 200;

/**
 * Streams an answer.
 *
 * @param mode In `dense` the thresholds are off; else the prompt is read dense and what is generated is computed sparse.
 * @throws The signal's reason; what the model says of a prompt that it cannot take.
 */
export async function streamAnswer(
  lm: PageLanguageModel,
  prompt: Prompt,
  mode: Mode,
  message: OpenMessage,
  signal: AbortSignal,
): Promise<Generation> {
  const options = {
    maxTokens: MAX_TOKENS,
    prefill: mode === 'dense' ? lm.config.contextLength : ('dense' as const),
    signal,
  };
  const tokens = lm.stream(prompt, options);
  try {
    for (;;) {
      const {done, value} = await tokens.next();
      if (done === true) {
        message.note(`${value.tokensPerSecond.toFixed(1)} tokens a second`);
        return value;
      }
      message.add(value.text);
    }
  } catch (error) {
    message.note(signal.aborted ? 'stopped' : 'failed');
    throw error;
  }
}
