// What the decoder on the GPU keeps of a Llama-family model: its numbers, where its weights are on the device, and what all
// its sessions share. Prepared once by the op SparsifyDecoderPrepare (decoder-op.h).
#ifndef SPARSIFY_CUDA_DECODER_MODEL_H_
#define SPARSIFY_CUDA_DECODER_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../decoder-numbers.h"
#include "cublas.h"
#include "decoder-products.h"
#include "decoder-rows.h"
#include "device-memory.h"

namespace sparsify::cuda {

// Of the device. INT8 numbers are signed bytes in a float tensor [rows, words].
struct DecoderTensor {
  const float* data;
  std::vector<int64_t> shape;
  std::shared_ptr<void> owner;  // of the data
};

struct DecoderLayer {
  const float* input_norm;
  std::vector<DecoderDense> qkv;  // q, k and v, or all in one
  const float* query_norm;        // [head_size] or null
  const float* key_norm;
  DecoderDense output;
  const float* feed_norm;
  std::vector<DecoderDense> gate_up;  // gate and up, or both in one
  DecoderDense down;
};

// What sessions compute many rows in; one at a time.
struct RowsMemory {
  DeviceArray<float> x, cos, sin, normed, masked, qkv, attended, gate_up, gated;  // [rows, …]
  DeviceArray<float> scores, keys, values;  // of attention
  DeviceArray<float> widened;               // a kernel
  DeviceArray<float> logits, likelihoods;
  DeviceArray<int32_t> targets;
};

class DecoderModel {
 public:
  // `numbers` and the order of `tensors` are those of ../decoder-model.h, but for experts, which this has none of; `numbers`
  // is in the host's memory, all else on the device. `words` has the INT8 matrices, with rows padded to 16 bytes. Throws
  // DecoderProblem if they do not fit. Returns when the device can use them.
  DecoderModel(const std::vector<float>& numbers, const std::vector<DecoderTensor>& tensors,
               const std::vector<DecoderTensor>& words);
  ~DecoderModel();

  DecoderNumbers numbers;
  DeviceArray<float> frequencies;  // [head_size / 2]
  Embedding embedding;
  const float* final_norm;
  std::vector<DecoderLayer> layers;
  DecoderDense head;
  size_t dense_count = 0;
  std::vector<int> inputs;  // of each Dense, by its id

  Device device;
  int device_id = 0;
  DeviceStream stream;
  std::unique_ptr<Cublas> cublas;  // made when first needed
  RowsMemory rows;

  // One session computes at a time.
  std::mutex mutex;

 private:
  class Reader;
  std::vector<std::shared_ptr<void>> owners_;
  std::vector<DeviceArray<uint16_t>> narrowed_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_MODEL_H_
