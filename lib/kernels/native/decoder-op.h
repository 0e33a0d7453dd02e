// The op of tensorflow/prepare-op.h on the CPU. Here `words` are int32, each four INT8 numbers, and the rows of a matrix are
// padded to a word.
#ifndef SPARSIFY_DECODER_OP_H_
#define SPARSIFY_DECODER_OP_H_

namespace sparsify {

void RegisterDecoderOp();

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_OP_H_
