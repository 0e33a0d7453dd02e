#include "decoder-session.h"

#include <algorithm>
#include <vector>

#include "decoder-rows-pass.h"

namespace sparsify::cuda {

DecoderSession::DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache)
    : DecoderSequence(std::move(model), narrow_cache),
      input_(model_->dense_count(), kChunkTokens),
      token_pass_(*model_) {}

bool DecoderSession::SetModel(std::shared_ptr<DecoderModel> model) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!GoOnAsOne(model_->numbers, model->numbers)) return false;
  token_pass_.DropGraph();
  model_ = std::move(model);
  return true;
}

void DecoderSession::Truncate(size_t length) {
  const std::lock_guard<std::mutex> lock(mutex_);
  length_ = std::min(length_, length);
}

void DecoderSession::Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output,
                            const int32_t* targets, float* result) {
  const std::lock_guard<std::mutex> session_lock(mutex_);
  const std::lock_guard<std::mutex> model_lock(model_->mutex);
  Check(cudaSetDevice(model_->device_id));  // this may be any thread
  cudaStream_t const stream = model_->stream;
  const size_t vocabulary = model_->numbers.vocabulary;
  try {
    input_.SetThresholds(thresholds, stream);
    AppendChunks(count, output, [&](const TokenChunk& chunk, std::vector<MaskedInputs>& counts) {
      if (cache_.Reserve(length_ + chunk.count, length_, stream)) token_pass_.DropGraph();
      input_.SetTokens(length_, tokens + chunk.first, chunk.count);
      float* const own_result = result + chunk.ResultAt(0, output, vocabulary);
      if (chunk.count == 1 && output != DecoderOutput::kScores) {
        token_pass_.Compute(*model_, cache_, input_);
        Check(cudaStreamSynchronize(stream));
        std::copy_n(token_pass_.host_logits(), vocabulary, own_result);
      } else {
        ComputeRows(chunk, output, targets == nullptr ? nullptr : targets + chunk.first, own_result);
        Check(cudaStreamSynchronize(stream));
      }
      input_.Count(*model_, chunk.count, chunk.wanted, counts);
    });
  } catch (...) {
    cudaStreamSynchronize(stream);  // what was enqueued may still read what is freed or written next
    throw;
  }
}

// Enqueues a chunk. `targets` and `result` begin with its first token.
void DecoderSession::ComputeRows(const TokenChunk& chunk, DecoderOutput output, const int32_t* targets, float* result) {
  if (model_->rows_pass == nullptr) model_->rows_pass = std::make_shared<RowsPass>(*model_);
  RowsPass& pass = *model_->rows_pass;
  pass.Compute(cache_, length_, chunk.count, input_);
  pass.Write(chunk.count - chunk.wanted, chunk.wanted, output, targets, result, input_, token_pass_);
  input_.End(model_->stream);
}

}  // namespace sparsify::cuda
