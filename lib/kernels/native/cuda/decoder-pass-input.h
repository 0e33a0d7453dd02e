// What the launches of a session read and count beside weights and cache: thresholds, the tokens that are appended, and how
// many inputs each Dense layer has kept. And what the launches for one token and for many take from the model alike.
#ifndef SPARSIFY_CUDA_DECODER_PASS_INPUT_H_
#define SPARSIFY_CUDA_DECODER_PASS_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../shared/decoder-output.h"
#include "decoder-model.h"
#include "decoder-products.h"
#include "device-memory.h"

namespace sparsify::cuda {

template <class T>
void Upload(T* to, const T* from, size_t size, cudaStream_t stream) {
  Check(cudaMemcpyAsync(to, from, size * sizeof(T), cudaMemcpyHostToDevice, stream));
}
template <class T>
void Download(T* to, const T* from, size_t size, cudaStream_t stream) {
  Check(cudaMemcpyAsync(to, from, size * sizeof(T), cudaMemcpyDeviceToHost, stream));
}

// Its memory on the device stays where it is: graphs of launches hold the addresses.
class PassInput {
 public:
  PassInput(size_t dense_count, size_t most_rows);

  // `thresholds` has one number for each Dense layer, or is null: dense. What is the same as before is not copied again.
  void SetThresholds(const float* thresholds, cudaStream_t stream);
  // `rows` tokens, of which the first stands at `position`. They are on the device after Begin.
  void SetTokens(size_t position, const int32_t* tokens, size_t rows);

  // Enqueues what a pass of `rows` tokens begins with: the tokens go to the device, and nothing has been kept.
  void Begin(size_t rows, cudaStream_t stream);
  // Enqueues what a pass ends with: what was kept comes to the host.
  void End(cudaStream_t stream);

  // Adds the inputs of a pass of `rows` tokens, whose copy to the host is done. The head was given `head_rows` of them.
  void Count(const DecoderModel& model, size_t rows, size_t head_rows, std::vector<MaskedInputs>& counts) const;

  float threshold(size_t id) const { return thresholds_[id]; }
  DeviceMasking masking() const { return {device_thresholds_.get(), kept_.get()}; }
  TokenInput tokens() const { return {tokens_.get(), tokens_.get() + 1}; }

 private:
  std::vector<float> thresholds_;  // as they are on the device
  DeviceArray<float> device_thresholds_;
  DeviceArray<unsigned long long> kept_;  // by Dense layer
  HostArray<unsigned long long> host_kept_;
  DeviceArray<int32_t> tokens_;  // the position of the first token, then the tokens
  HostArray<int32_t> host_tokens_;
};

// `cos` and `sin` are [rows, head_size / 2]: LaunchEmbed writes them, attention reads them.
HeadNumbers HeadsOf(const DecoderNumbers& numbers, const DecoderLayer& layer, const float* cos, const float* sin);
Angles AnglesOf(const DecoderModel& model, float* cos, float* sin);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_PASS_INPUT_H_
