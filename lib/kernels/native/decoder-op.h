// The op that gives a model's weights to the decoder:
//
//   SparsifyDecoderPrepare(numbers, weights: N * float, words: M * int32; N, M: int) -> id [1]
//
// `numbers` and the order of `weights` and `words` are DecoderModel's. The tensors' memory is used in place and kept alive by the model;
// `id` is for TakeDecoderModel, once.
#ifndef SPARSIFY_DECODER_OP_H_
#define SPARSIFY_DECODER_OP_H_

#include <memory>

#include "decoder-model.h"

namespace sparsify {

void RegisterDecoderOp();

// The model that the op made; null if there is none of that id. The caller has it then: a second call gives null.
std::shared_ptr<DecoderModel> TakeDecoderModel(uint32_t id);

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_OP_H_
