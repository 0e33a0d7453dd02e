// What the decoder keeps of a Llama-family model: its numbers, and where its weights are. Prepared once by the op
// SparsifyDecoderPrepare (decoder-ops.cc), used by any number of sessions, never changed.
#ifndef SPARSIFY_DECODER_MODEL_H_
#define SPARSIFY_DECODER_MODEL_H_

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "decoder-loops.h"
#include "decoder-numbers.h"
#include "large-pages.h"
#include "page-arena.h"
#include "sparsified-matmul.h"

namespace sparsify {

struct DecoderTensor {
  const float* data;
  std::vector<int64_t> shape;
  std::shared_ptr<void> owner;  // of the data
};

// INT8 numbers, int32 [rows, columns / 4 rounded up]: signed bytes, four to a word.
struct DecoderWords {
  const int8_t* data;
  std::vector<int64_t> shape;
  std::shared_ptr<void> owner;  // of the data
};

// Kernel [inputs, units]: in float, in bfloat16 or in INT8, the others null.
struct DecoderDense {
  const float* kernel = nullptr;
  const BFloat16* narrow = nullptr;
  Int8Kernel int8{};
  const float* bias = nullptr;  // [units] or null
  size_t inputs = 0, units = 0;
  size_t id = 0;  // place of its threshold and counts
  size_t row_bytes() const {
    return int8.values ? int8.stride : units * (narrow ? sizeof(BFloat16) : sizeof(float));
  }
  size_t bytes() const { return inputs * row_bytes(); }
};

struct FeedForward {
  std::vector<DecoderDense> gate_up;  // gate and up, or both in one
  DecoderDense down;
};

struct DecoderLayer {
  const float* input_norm;
  std::vector<DecoderDense> qkv;  // q, k and v, or all in one
  const float* query_norm;        // [head_size] or null
  const float* key_norm;
  DecoderDense output;
  const float* feed_norm;
  DecoderDense router;  // only with experts
  std::vector<FeedForward> feeds;  // one, or one an expert
};

class DecoderPass;

class DecoderModel {
 public:
  // `tensors` in this order, [0] for what a model does not have: embedding [vocabulary, hidden]; final norm [hidden];
  // for each layer input norm, kernel and bias of q, k, v (or of the one for all), norms of query and key heads, kernel
  // and bias of the output, second norm, then kernel and bias of gate, up, down (or of the one for both, and down), or with
  // experts those of the router and of w1, w3, w2 of each expert; kernel and bias of the head. Dense layers have their
  // ids in this order, from 0. An INT8 matrix has [0] for its kernel (an untied embedding, for itself); behind the bias
  // come its scale and zero point, each [units] ([vocabulary]), and `words` has its numbers, in the same order. What is
  // used in place is owned as long as the model lives.
  DecoderModel(const DecoderTensor& numbers, const std::vector<DecoderTensor>& tensors,
               const std::vector<DecoderWords>& words = {});

  // The kernels that are used where they were.
  std::vector<MemoryRange> InPlace() const;

  DecoderNumbers numbers;
  std::vector<float> frequencies;  // [head_size / 2]
  const float* embedding;          // [vocabulary, hidden], or null: tied, or in INT8
  Int8Kernel int8_embedding{};     // [vocabulary, hidden], with a scale and a zero point a row; or null
  const float* final_norm;
  std::vector<DecoderLayer> layers;
  DecoderDense head;
  size_t dense_count = 0;
  size_t bytes_a_token = 0;  // of weights, at sparsity 0

  // One pass at a time, in memory that all sessions share; made by the first.
  std::mutex mutex;
  std::shared_ptr<DecoderPass> pass;  // guarded by the mutex

 private:
  class Reader;
  std::vector<std::shared_ptr<void>> owners_;
  PageArena narrowed_;
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_MODEL_H_
