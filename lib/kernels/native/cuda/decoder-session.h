// One sequence that a model continues on the GPU: tokens go in, logits or likelihoods come out, keys and values stay. As
// ../decoder-session.h. One token is a graph of launches that is replayed; many rows are masked and multiplied by cuBLAS.
#ifndef SPARSIFY_CUDA_DECODER_SESSION_H_
#define SPARSIFY_CUDA_DECODER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "decoder-cache.h"
#include "decoder-model.h"
#include "device-memory.h"

namespace sparsify::cuda {

// What Append writes.
enum class DecoderOutput : uint8_t {
  kLast,   // logits after the last token [vocabulary]
  kAll,    // logits after each token [count, vocabulary]
  kScores  // natural log likelihood of each target [count]
};

// Inputs of one Dense that were masked, and that there were.
struct MaskedInputs {
  uint64_t masked = 0, total = 0;
};

class DecoderSession {
 public:
  DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache);
  ~DecoderSession();

  // Appends `count` >= 1 tokens, each below the vocabulary; so are `targets`, needed for kScores only. `thresholds` has one
  // number a Dense, or is null: dense. Waits for the device. If it throws, the sequence is as before.
  void Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output, const int32_t* targets,
              float* result);
  // Goes on with other weights: a model of the same numbers, but for the type of its weights. What is cached stays. Returns
  // whether it is one.
  bool SetModel(std::shared_ptr<DecoderModel> model);
  // Forgets the tokens from `length` on.
  void Truncate(size_t length);
  void ResetCounts();

  // By the ids of the Dense layers, of the appends that have ended. May be called while another thread appends.
  std::vector<MaskedInputs> Counts() const;
  const DecoderModel& model() const { return *model_; }

 private:
  void SetThresholds(const float* thresholds);
  void SetInput(const int32_t* tokens, size_t rows);
  void Count(size_t rows, size_t head_rows, std::vector<MaskedInputs>& counts) const;
  HeadNumbers HeadsOf(const DecoderLayer& layer, const float* cos, const float* sin) const;
  Angles AnglesAt(float* cos, float* sin) const;
  Row NormedRow(const float* x, const float* norm) const;
  void Multiply(const Row& row, const std::vector<const DecoderDense*>& layers, bool add, float* y) const;

  // One token: its logits are in host_logits_ when the stream is done.
  void ComputeOne();
  void EnqueueOne();
  void DropGraph();

  // Several: the model's rows.x becomes what the last layer gives.
  void ComputeRows(size_t rows);
  void ProjectRows(const DecoderDense& dense, const float* x, size_t rows, bool add, float* y);
  void AttendRows(const LayerCache& cache, size_t rows, const float* queries, size_t stride);
  // Logits or scores after the rows from `first` on.
  void WriteRows(size_t first, size_t rows, DecoderOutput output, const int32_t* targets, float* result);

  // Guards all but the counts.
  std::mutex mutex_;
  std::shared_ptr<DecoderModel> model_;
  DecoderCache cache_;
  size_t length_ = 0;
  cudaGraphExec_t graph_ = nullptr;  // of one token; null: to be made
  std::vector<MaskedInputs> counts_;  // guarded by counts_mutex_
  mutable std::mutex counts_mutex_;

  std::vector<float> thresholds_;             // of the Dense layers, as they are on the device
  DeviceArray<float> device_thresholds_;
  DeviceArray<unsigned long long> kept_;      // of these rows, by Dense
  HostArray<unsigned long long> host_kept_;
  DeviceArray<int32_t> input_;                // position, then tokens
  HostArray<int32_t> host_input_;
  // Of one token. Their places are in the graph.
  DeviceArray<float> x_, cos_, sin_, qkv_, attended_, gate_up_, logits_;
  DeviceArray<uint8_t> attention_workspace_;
  DeviceArray<float> product_workspace_;
  HostArray<float> host_logits_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_SESSION_H_
