/** @file Patterns of scopes by what a Dense layer is for, whatever the family calls it. */

/**
 * Patterns for `TargetScope`, by role. They match layers of llama, mistral, qwen and gemma (`gate_proj`, `up_proj`,
 * `down_proj`), phi3 (`gate_up_proj`, `qkv_proj`) and the experts of mixtral, whose `w1` and `w3` are gate and up and
 * `w2` is down; the router is in none.
 *
 * @example
 * const scopes = new Map([
 *   [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
 *   [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
 * ]);
 */
export const PROJECTIONS = {
  /** From the residual stream into the feed-forward part. */
  gateUp: String.raw`.*[./](gate_proj|up_proj|gate_up_proj|experts\.\d+\.w[13])$`,
  /** From the feed-forward part back. */
  down: String.raw`.*[./](down_proj|experts\.\d+\.w2)$`,
  /** Queries, keys, values and the output of attention. */
  attention: String.raw`.*[./]self_attn\.(q|k|v|o|qkv)_proj$`,
  /** All of the above. */
  all: String.raw`.*[./](self_attn\.(q|k|v|o|qkv)_proj|gate_proj|up_proj|gate_up_proj|down_proj|experts\.\d+\.w[123])$`,
} as const;
