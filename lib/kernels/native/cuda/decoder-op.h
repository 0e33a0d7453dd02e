// The op of ../tensorflow/prepare-op.h on the GPU. Here `words` are floats, each the bits of a word, and the rows of a
// matrix are padded to 16 bytes.
#ifndef SPARSIFY_CUDA_DECODER_OP_H_
#define SPARSIFY_CUDA_DECODER_OP_H_

namespace sparsify::cuda {

void RegisterDecoderOp();

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_OP_H_
