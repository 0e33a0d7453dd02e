// What the decoder on the GPU keeps of a Llama-family model, and what all its sessions share. Prepared once by the op
// SparsifyDecoderPrepare (decoder-op.h).
#ifndef SPARSIFY_CUDA_DECODER_MODEL_H_
#define SPARSIFY_CUDA_DECODER_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../shared/decoder-description.h"
#include "decoder-rows.h"
#include "device-memory.h"

namespace sparsify::cuda {

class RowsPass;

class DecoderModel : public DecoderDescription {
 public:
  // `numbers` are in the host's memory, all else on the device. The rows of the matrices in `words` are padded to 16
  // bytes. Throws DecoderProblem if the weights do not fit the numbers, and for a mixture of experts, for which there are no
  // CUDA kernels. Returns when the device can use the weights.
  DecoderModel(const std::vector<float>& numbers, const std::vector<DecoderTensor>& tensors,
               const std::vector<DecoderWords>& words);
  ~DecoderModel();

  DeviceArray<float> device_frequencies;  // [head_size / 2]
  Embedding token_embedding;

  Device device;
  int device_id = 0;
  DeviceStream stream;

  // One session computes at a time. Several tokens go through memory that all sessions share; made by the first.
  std::mutex mutex;
  std::shared_ptr<RowsPass> rows_pass;  // guarded by the mutex

 private:
  const BFloat16* Narrowed(const float* kernel, size_t inputs, size_t units, size_t stride);

  std::vector<DeviceArray<BFloat16>> narrowed_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_MODEL_H_
