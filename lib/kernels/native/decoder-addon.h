// The decoder's part of the Node-API module. Models and sessions are opaque objects; memory goes with the last reference.
//
//   decoderModel(id)                       -> the model that SparsifyDecoderPrepare made
//   decoderSession(model, narrowCache)     -> an empty sequence
//   decoderSetModel(session, model)        goes on with other weights of the same shapes
//   decoderAppend(session, tokens, output, result, targets, thresholds) -> promise of result
//     tokens: Int32Array. output: 0 logits after the last token, 1 after each, 2 scores of `targets`, an Int32Array.
//     result: Float32Array of [vocabulary], [tokens, vocabulary] or [tokens] that is written just before the promise settles;
//     if it is transferred meanwhile the promise gives a new one. thresholds: Float32Array by Dense, or undefined: dense.
//     All other arrays are read before it returns.
//   decoderStep(sessions, tokens, results, thresholds) -> promise of results
//     one token for each of an array of different sessions of one model; results: an array of Float32Array, [vocabulary] each.
//   decoderTruncate(session, length)
//   decoderCounts(session)                 -> Float64Array: masked and total of each Dense, in the appends that have ended
//   decoderResetCounts(session)
//   decoderRelease(session or model)       -> frees it before the garbage collector would
#ifndef SPARSIFY_DECODER_ADDON_H_
#define SPARSIFY_DECODER_ADDON_H_

#include <node_api.h>

namespace sparsify {

void ExportDecoder(napi_env env, napi_value exports);

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_ADDON_H_
