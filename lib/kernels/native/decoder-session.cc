#include "decoder-session.h"

#include <algorithm>

#include "flush-denormals.h"

namespace sparsify {
namespace {

// Rows of logits at a time: 12 MB of a vocabulary of 49,152.
constexpr size_t kLogitRows = 64;

}  // namespace

bool DecoderSession::SetModel(std::shared_ptr<DecoderModel> model) {
  const Lock lock(mutex_);
  if (!GoOnAsOne(model_->numbers, model->numbers)) return false;
  model_ = std::move(model);
  return true;
}

void DecoderSession::Truncate(size_t length) {
  const Lock lock(mutex_);
  length_ = std::min(length_, length);
  cache_.Truncate(length_);
}

DecoderPass& DecoderSession::PassOf(DecoderModel& model) {
  if (!model.pass) model.pass = std::make_shared<DecoderPass>(model);
  return *model.pass;
}

void DecoderSession::Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output,
                            const int32_t* targets, float* result) {
  const Lock session_lock(mutex_);
  const Lock model_lock(model_->mutex);
  const FlushDenormals flush;
  Pool& pool = Pool::Get();
  DecoderPass& pass = PassOf(*model_);
  const size_t vocabulary = model_->numbers.vocabulary;
  AppendChunks(count, output, [&](const TokenChunk& chunk, std::vector<MaskedInputs>& counts) {
    const size_t rows = chunk.count;
    cache_.Reserve(length_ + rows);
    pass.Compute({{&cache_, length_, rows, counts.data()}}, tokens + chunk.first, thresholds, pool);
    for (size_t at = rows - chunk.wanted; at < rows; at += kLogitRows) {
      const size_t here = std::min(kLogitRows, rows - at);
      float* const own_result = result + chunk.ResultAt(at, output, vocabulary);
      if (output == DecoderOutput::kScores) {
        pass.Scores(at, here, targets + chunk.first + at, own_result, pool);
      } else {
        pass.Logits(at, here, own_result, pool);
      }
    }
  });
}

void DecoderSession::Step(const std::vector<DecoderSession*>& sessions, const int32_t* tokens, const float* thresholds,
                          float* const* logits) {
  // In the same order by all threads.
  std::vector<DecoderSession*> ordered = sessions;
  std::sort(ordered.begin(), ordered.end());
  std::vector<Lock> locks;
  for (DecoderSession* const session : ordered) locks.emplace_back(session->mutex_);
  DecoderModel& model = *sessions[0]->model_;
  for (const DecoderSession* const session : sessions) {
    if (session->model_.get() != &model) Fail("sequences that go together must be of one model");
  }
  const Lock model_lock(model.mutex);
  const FlushDenormals flush;
  Pool& pool = Pool::Get();
  DecoderPass& pass = PassOf(model);
  std::vector<std::vector<MaskedInputs>> counts(sessions.size(), std::vector<MaskedInputs>(model.dense_count()));
  std::vector<DecoderSegment> segments;
  for (size_t first = 0; first < sessions.size(); first += kChunkTokens) {
    const size_t rows = std::min(kChunkTokens, sessions.size() - first);
    segments.clear();
    for (size_t i = first; i < first + rows; i++) {
      DecoderSession& session = *sessions[i];
      session.cache_.Reserve(session.length_ + 1);
      segments.push_back({&session.cache_, session.length_, 1, counts[i].data()});
    }
    pass.Compute(segments, tokens + first, thresholds, pool);
    for (size_t at = 0; at < rows; at += kLogitRows) {
      pass.LogitsEach(at, std::min(kLogitRows, rows - at), logits + first + at, pool);
    }
  }
  for (size_t i = 0; i < sessions.size(); i++) {
    sessions[i]->length_++;
    sessions[i]->counts_.Add(counts[i]);
  }
}

}  // namespace sparsify
