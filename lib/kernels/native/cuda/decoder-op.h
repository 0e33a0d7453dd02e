// The op that gives a model's weights to the decoder on the GPU:
//
//   SparsifyDecoderPrepare(numbers, weights: N * float, words: M * float; N, M: int) -> id [1]
//
// As ../decoder-op.h, but for `words`: INT8 numbers as the bits of floats, in rows padded to 16 bytes. The tensors' memory is
// used in place and kept alive by the model; `id` is for TakeDecoderModel, once.
#ifndef SPARSIFY_CUDA_DECODER_OP_H_
#define SPARSIFY_CUDA_DECODER_OP_H_

#include <cstdint>
#include <memory>

#include "decoder-model.h"

namespace sparsify::cuda {

void RegisterDecoderOp();

// The model that the op made; null if there is none of that id. The caller has it then: a second call gives null.
std::shared_ptr<DecoderModel> TakeDecoderModel(uint32_t id);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_OP_H_
