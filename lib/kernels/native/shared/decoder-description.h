// The description of a Llama-family model that decoders have on every target: its numbers, where its weights are, and in
// which order it is given them. Targets differ in their memory, which ReadWeights is told of, and in how they multiply.
#ifndef SPARSIFY_SHARED_DECODER_DESCRIPTION_H_
#define SPARSIFY_SHARED_DECODER_DESCRIPTION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "decoder-numbers.h"
#include "stored-kernel.h"

namespace sparsify {

// Numbers in the target's memory, which are used where they are.
template <class T>
struct OwnedArray {
  const T* data;
  std::vector<int64_t> shape;
  std::shared_ptr<void> owner;  // keeps the data
};
using DecoderTensor = OwnedArray<float>;
// The numbers of an INT8 matrix, four to a word, or of a part of an INT4 matrix: [rows, words of a row].
using DecoderWords = OwnedArray<int8_t>;

struct DecoderDense {
  StoredKernel kernel;          // [inputs, units]
  const float* bias = nullptr;  // [units] or null
  size_t inputs = 0, units = 0;
  size_t id = 0;  // the place of its threshold and of its counts
};

struct FeedForward {
  std::vector<DecoderDense> gate_up;  // gate and up, or both in one
  DecoderDense gate_up_whole;         // as qkv_whole
  DecoderDense down;
};

struct DecoderLayer {
  const float* input_norm;
  std::vector<DecoderDense> qkv;  // q, k and v, or all in one
  DecoderDense qkv_whole;         // all of them as one, with the first one's id, where a target laid their rows side by side
  const float* query_norm;        // [head_size] or null
  const float* key_norm;          // [head_size] or null
  DecoderDense output;
  const float* feed_norm;
  DecoderDense router;             // only with experts
  std::vector<FeedForward> feeds;  // one, or one for each expert
};

// What a target says of its memory.
struct DecoderMemory {
  // To a multiple of how many numbers a row is padded: of an INT8 matrix, and of a kernel in bfloat16; of the parts of an INT4
  // matrix, to how many bytes.
  size_t int8_step, narrow_step, int4_step;
  // Rounds a kernel [inputs, units] to bfloat16 [inputs, stride], in memory that lives as long as the model. The caller may
  // free the kernel as soon as this returns.
  std::function<const BFloat16*(const float* kernel, size_t inputs, size_t units, size_t stride)> narrow;
};

class DecoderDescription {
 public:
  // `description` is one vector in the host's memory: what DecoderNumbers says, then the rotary frequencies.
  // Throws DecoderProblem if no model has such numbers.
  explicit DecoderDescription(const DecoderTensor& description);
  DecoderDescription(const DecoderDescription&) = delete;
  DecoderDescription& operator=(const DecoderDescription&) = delete;

  size_t dense_count() const { return inputs.size(); }

  DecoderNumbers numbers;
  std::vector<float> frequencies;  // [head_size / 2]

  StoredKernel embedding;  // [vocabulary, hidden]; not used if the model is tied
  const float* final_norm = nullptr;
  std::vector<DecoderLayer> layers;
  DecoderDense head;
  std::vector<size_t> inputs;  // of each Dense layer, by its id

 protected:
  // Takes the weights. `tensors` has them in this order, with a tensor [0] for each that the model does not have:
  //   the embedding [vocabulary, hidden] and the final norm [hidden];
  //   of each layer
  //     the input norm;
  //     kernel and bias of q, of k and of v, or of the one Dense layer that stands for all three;
  //     the norm of query heads and the norm of key heads;
  //     kernel and bias of the output;
  //     the second norm;
  //     kernel and bias of gate, of up and of down; a fused model has one Dense layer for gate and up. With experts there
  //     are kernel and bias of the router instead, then of w1, w3 and w2 of each expert;
  //   kernel and bias of the head.
  // Dense layers have their ids in this order, from 0. A kernel in INT8 is [0] here: its numbers are in `words`, in the same
  // order, and its scale and zero point, [units] each, come behind its bias. So is an embedding in INT8 that is not tied: its
  // scale and zero point, [vocabulary] each, come behind it. A matrix in INT4 is [0] here, with another tensor [0] behind its bias;
  // its values, scale, zero point and minimum are four entries of `words`, [0] where it has none (stored-kernel.h says how they
  // lie). Of an embedding in INT4 that is not tied these are of [hidden, vocabulary].
  // Weights are used where they are, and their owners kept as long as the model lives.
  // Throws DecoderProblem if the weights do not fit the numbers.
  void ReadWeights(const std::vector<DecoderTensor>& tensors, const std::vector<DecoderWords>& words,
                   const DecoderMemory& memory);

 private:
  class Reader;
  std::vector<std::shared_ptr<void>> owners_;
};

// Where the projections of several rows lie: keys and values in numbers from the first query, up in numbers from the first gate.
// If one Dense layer gives them all, they stand side by side in each row; else all rows of one come before all rows of the
// next.
struct ProjectionPlaces {
  size_t keys, values;              // of the first row
  size_t query_stride, key_stride;  // from one row to the next
  size_t up;                        // of the first row
  size_t gate_stride;               // from one row to the next, of gate and of up
};
ProjectionPlaces PlacesOfRows(const DecoderNumbers& numbers, size_t rows);

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_DECODER_DESCRIPTION_H_
