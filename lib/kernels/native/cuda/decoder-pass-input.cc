#include "decoder-pass-input.h"

#include <algorithm>
#include <limits>

namespace sparsify::cuda {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

}  // namespace

PassInput::PassInput(size_t dense_count, size_t most_rows)
    : device_thresholds_(dense_count),
      kept_(dense_count),
      host_kept_(dense_count),
      tokens_(1 + most_rows),
      host_tokens_(1 + most_rows) {}

void PassInput::SetThresholds(const float* thresholds, cudaStream_t stream) {
  std::vector<float> wanted(device_thresholds_.size(), kMinusInfinity);
  if (thresholds != nullptr) std::copy_n(thresholds, wanted.size(), wanted.begin());
  if (wanted == thresholds_) return;
  thresholds_ = std::move(wanted);
  Upload(device_thresholds_.get(), thresholds_.data(), thresholds_.size(), stream);
}

void PassInput::SetTokens(size_t position, const int32_t* tokens, size_t rows) {
  host_tokens_[0] = static_cast<int32_t>(position);
  std::copy_n(tokens, rows, host_tokens_.get() + 1);
}

void PassInput::Begin(size_t rows, cudaStream_t stream) {
  Upload(tokens_.get(), host_tokens_.get(), 1 + rows, stream);
  Check(cudaMemsetAsync(kept_.get(), 0, kept_.size() * sizeof(unsigned long long), stream));
}

void PassInput::End(cudaStream_t stream) { Download(host_kept_.get(), kept_.get(), kept_.size(), stream); }

void PassInput::Count(const DecoderModel& model, size_t rows, size_t head_rows, std::vector<MaskedInputs>& counts) const {
  for (size_t i = 0; i < counts.size(); i++) {
    const uint64_t total = (i == model.head.id ? head_rows : rows) * static_cast<uint64_t>(model.inputs[i]);
    counts[i].total += total;
    if (thresholds_[i] >= 0) counts[i].masked += total - host_kept_[i];
  }
}

HeadNumbers HeadsOf(const DecoderNumbers& n, const DecoderLayer& layer, const float* cos, const float* sin) {
  return {static_cast<int>(n.heads),
          static_cast<int>(n.key_heads),
          static_cast<int>(n.head_size),
          static_cast<int>(n.window),
          n.epsilon,
          layer.query_norm,
          layer.key_norm,
          cos,
          sin};
}

Angles AnglesOf(const DecoderModel& model, float* cos, float* sin) {
  const DecoderNumbers& n = model.numbers;
  return {model.device_frequencies.get(), static_cast<int>(n.head_size / 2), n.attention_factor, cos, sin};
}

}  // namespace sparsify::cuda
