/** @file Which experts a token goes to: the top k by router probability, weights renormalised over them (Mixtral). */

/** The rows of a batch by expert. */
export interface Routing {
  /** Per expert: the tokens that go to it, ascending. */
  readonly tokens: readonly (readonly number[])[];
  /** Per expert: the weight of its output for each of those tokens. */
  readonly weights: readonly (readonly number[])[];
}

/**
 * Routes tokens by softmax over all experts.
 *
 * @param logits [tokens, experts], row-major. Of equal ones the lower expert comes first.
 * @param perToken Experts a token goes to, in [1, experts].
 */
export function routeTokens(logits: Float32Array, experts: number, perToken: number): Routing {
  const tokens: number[][] = Array.from({length: experts}, () => []);
  const weights: number[][] = Array.from({length: experts}, () => []);
  for (let token = 0; token * experts < logits.length; token++) {
    const row = logits.subarray(token * experts, (token + 1) * experts);
    const chosen = Array.from(row.keys())
      .sort((a, b) => row[b] - row[a] || a - b)
      .slice(0, perToken);
    // Softmax over all, renormalised over some, is softmax over those.
    const powers = chosen.map((expert) => Math.exp(row[expert] - row[chosen[0]]));
    const sum = powers.reduce((total, power) => total + power, 0);
    chosen.forEach((expert, i) => {
      tokens[expert].push(token);
      weights[expert].push(powers[i] / sum);
    });
  }
  return {tokens, weights};
}
