#include "decoder-session.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "flush-denormals.h"
#include "int8-loops.h"

namespace sparsify {
namespace {

// Tokens that are computed together: enough to use each weight often, few enough that what lies between two layers stays
// in a large cache.
constexpr size_t kRowsAtOnce = 512;

// Rows of logits at a time: 12 MB of a vocabulary of 49,152.
constexpr size_t kLogitRows = 64;

constexpr size_t kRowsATask = 16;

void Grow(std::vector<float>& vector, size_t size) {
  if (vector.size() < size) vector.resize(size);
}

template <class F>
void ForRows(size_t rows, Pool& pool, const F& f) {
  pool.ForEach(static_cast<uint32_t>((rows + kRowsATask - 1) / kRowsATask), false, [&](size_t task) {
    const size_t last = std::min(rows, (task + 1) * kRowsATask);
    for (size_t r = task * kRowsATask; r < last; r++) f(r);
  });
}

// Row `id` of an INT8 embedding, or that column of an INT8 head: [hidden], both with the scale of the id.
void LookUp(const Int8Kernel& kernel, bool columns, size_t id, size_t hidden, float* x) {
  thread_local std::vector<int8_t> values;
  thread_local std::vector<float> scale, zero_point;
  const int8_t* const first = kernel.values + (columns ? id : id * kernel.stride);
  values.resize(hidden);
  for (size_t k = 0; k < hidden; k++) values[k] = first[columns ? k * kernel.stride : k];
  scale.assign(hidden, kernel.scale[id]);
  zero_point.assign(hidden, kernel.zero_point[id]);
  DequantizeInt8(values.data(), scale.data(), zero_point.data(), hidden, x);
}

}  // namespace

DecoderSession::DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache)
    : model_(std::move(model)), cache_(model_->numbers, narrow_cache), counts_(model_->dense_count) {}

bool DecoderSession::SetModel(std::shared_ptr<DecoderModel> model) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const DecoderNumbers &a = model_->numbers, &b = model->numbers;
  if (a.hidden != b.hidden || a.layers != b.layers || a.heads != b.heads || a.key_heads != b.key_heads ||
      a.head_size != b.head_size || a.vocabulary != b.vocabulary || model_->dense_count != model->dense_count) {
    return false;
  }
  model_ = std::move(model);
  return true;
}

void DecoderSession::Truncate(size_t length) {
  const std::lock_guard<std::mutex> lock(mutex_);
  length_ = std::min(length_, length);
  cache_.Truncate(length_);
}

std::vector<MaskedInputs> DecoderSession::Counts() const {
  const std::lock_guard<std::mutex> lock(counts_mutex_);
  return counts_;
}

void DecoderSession::ResetCounts() {
  const std::lock_guard<std::mutex> lock(counts_mutex_);
  std::fill(counts_.begin(), counts_.end(), MaskedInputs());
}

void DecoderSession::Embed(int32_t token, float* x) const {
  const DecoderNumbers& n = model_->numbers;
  const DecoderDense& head = model_->head;
  const auto id = static_cast<size_t>(token);
  if (!n.tied && model_->int8_embedding.values) {
    LookUp(model_->int8_embedding, false, id, n.hidden, x);
  } else if (n.tied && head.int8.values) {
    LookUp(head.int8, true, id, n.hidden, x);
  } else if (!n.tied) {
    std::copy_n(model_->embedding + id * n.hidden, n.hidden, x);
  } else if (head.narrow) {
    for (size_t k = 0; k < n.hidden; k++) Widen(head.narrow + k * head.units + id, 1, x + k);
  } else {
    for (size_t k = 0; k < n.hidden; k++) x[k] = head.kernel[k * head.units + id];
  }
  if (n.embedding_scale != 1) {
    for (size_t k = 0; k < n.hidden; k++) x[k] *= n.embedding_scale;
  }
}

// An angle is rounded to float before its cosine is taken: models were trained with angles that are products of floats.
void DecoderSession::FindRotations(size_t count) {
  const std::vector<float>& frequencies = model_->frequencies;
  const size_t half = frequencies.size();
  Grow(cos_, count * half);
  Grow(sin_, count * half);
  for (size_t t = 0; t < count; t++) {
    for (size_t i = 0; i < half; i++) {
      const double angle = static_cast<float>(static_cast<double>(length_ + t) * frequencies[i]);
      cos_[t * half + i] = static_cast<float>(std::cos(angle) * model_->numbers.attention_factor);
      sin_[t * half + i] = static_cast<float>(std::sin(angle) * model_->numbers.attention_factor);
    }
  }
}

void DecoderSession::FinishHeads(const DecoderLayer& layer, size_t l, size_t count, float* queries, size_t stride,
                                 float* keys, const float* values, size_t key_stride, Pool& pool) {
  const DecoderNumbers& n = model_->numbers;
  const size_t size = n.head_size, half = size / 2;
  const auto turn = [&](float* heads, size_t head_count, const float* norm, size_t t) {
    for (size_t h = 0; h < head_count; h++) {
      float* const head = heads + h * size;
      if (norm) Normalize(head, norm, size, n.epsilon, head);
      Rotate(cos_.data() + t * half, sin_.data() + t * half, half, head);
    }
  };
  const auto finish = [&](size_t t) {
    turn(queries + t * stride, n.heads, layer.query_norm, t);
    turn(keys + t * key_stride, n.key_heads, layer.key_norm, t);
  };
  if (count == 1) {
    finish(0);
  } else {
    ForRows(count, pool, finish);
  }
  for (size_t t = 0; t < count; t++) cache_.Store(l, length_ + t, keys + t * key_stride, values + t * key_stride);
}

void DecoderSession::Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output,
                            const int32_t* targets, float* result) {
  const std::lock_guard<std::mutex> session_lock(mutex_);
  const std::lock_guard<std::mutex> model_lock(model_->mutex);
  const FlushDenormals flush;
  Pool& pool = Pool::Get();
  const DecoderNumbers& n = model_->numbers;
  std::vector<MaskedInputs> counts(counts_.size());
  const Masking masking{thresholds, counts.data()};
  const size_t before = length_;
  try {
    for (size_t first = 0; first < count; first += kRowsAtOnce) {
      const size_t rows = std::min(kRowsAtOnce, count - first);
      cache_.Reserve(length_ + rows);
      Grow(x_, rows * n.hidden);
      Grow(normed_, rows * n.hidden);
      for (size_t t = 0; t < rows; t++) Embed(tokens[first + t], x_.data() + t * n.hidden);
      FindRotations(rows);
      if (rows == 1) {
        ComputeOne(masking, pool);
      } else {
        ComputeRows(rows, masking, pool);
      }
      // Rows whose logits are wanted.
      const size_t skipped = output != DecoderOutput::kLast ? 0 : first + rows == count ? rows - 1 : rows;
      for (size_t at = skipped; at < rows; at += kLogitRows) {
        const size_t here = std::min(kLogitRows, rows - at);
        float* logits = result + (output == DecoderOutput::kAll ? (first + at) * n.vocabulary : 0);
        if (output == DecoderOutput::kScores) {
          Grow(logits_, here * n.vocabulary);
          logits = logits_.data();
        }
        for (size_t r = at; r < at + here; r++) {
          Normalize(x_.data() + r * n.hidden, model_->final_norm, n.hidden, n.epsilon, normed_.data() + r * n.hidden);
        }
        const float* const x = normed_.data() + at * n.hidden;
        if (here == 1) {
          MultiplyWide(model_->head, x, masking, products_, logits, pool);
        } else {
          MultiplyRows({model_->head}, x, here, masking, {logits}, pool);
        }
        if (output != DecoderOutput::kScores) continue;
        ForRows(here, pool, [&](size_t r) {
          result[first + at + r] = static_cast<float>(LogLikelihood(
              logits + r * n.vocabulary, n.vocabulary, static_cast<size_t>(targets[first + at + r])));
        });
      }
      length_ += rows;
    }
  } catch (...) {
    length_ = before;
    throw;
  }
  const std::lock_guard<std::mutex> counts_lock(counts_mutex_);
  for (size_t i = 0; i < counts.size(); i++) {
    counts_[i].masked += counts[i].masked;
    counts_[i].total += counts[i].total;
  }
}

void DecoderSession::ComputeOne(const Masking& masking, Pool& pool) {
  const DecoderNumbers& n = model_->numbers;
  const size_t queries = n.heads * n.head_size, keys = n.key_heads * n.head_size;
  Grow(qkv_, queries + 2 * keys);
  Grow(attended_, queries);
  float* const x = x_.data();
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_->layers[l];
    Normalize(x, layer.input_norm, n.hidden, n.epsilon, normed_.data());
    products_.Clear();
    for (const DecoderDense& dense : layer.qkv) products_.Add(dense, normed_.data(), masking);
    products_.Run(pool);
    float* next = qkv_.data();
    for (size_t i = 0; i < layer.qkv.size(); i++) {
      products_.Finish(i, next);
      next += layer.qkv[i].units;
    }
    FinishHeads(layer, l, 1, qkv_.data(), 0, qkv_.data() + queries, qkv_.data() + queries + keys, 0, pool);
    cache_.Attend(l, length_, 1, qkv_.data(), 0, attended_.data(), pool);
    products_.Clear();
    products_.Add(layer.output, attended_.data(), masking);
    products_.Run(pool);
    products_.AddTo(0, 1, x);
    Normalize(x, layer.feed_norm, n.hidden, n.epsilon, normed_.data());
    FeedOne(layer, masking, pool);
  }
}

void DecoderSession::FeedOne(const DecoderLayer& layer, const Masking& masking, Pool& pool) {
  const DecoderNumbers& n = model_->numbers;
  chosen_.assign(1, 0);
  weights_.assign(1, 1);
  if (n.experts != 0) {
    products_.Clear();
    products_.Add(layer.router, normed_.data(), masking);
    products_.Run(pool);
    Grow(logits_, n.experts);
    products_.Finish(0, logits_.data());
    Route(logits_.data());
  }
  const size_t width = n.intermediate;
  Grow(gate_up_, 2 * width);
  Grow(gated_, chosen_.size() * width);
  products_.Clear();
  for (const size_t e : chosen_) {
    for (const DecoderDense& dense : layer.feeds[e].gate_up) products_.Add(dense, normed_.data(), masking);
  }
  products_.Run(pool);
  for (size_t i = 0, product = 0; i < chosen_.size(); i++) {
    float* next = gate_up_.data();
    for (const DecoderDense& dense : layer.feeds[chosen_[i]].gate_up) {
      products_.Finish(product++, next);
      next += dense.units;
    }
    Gate(n.activation, gate_up_.data(), gate_up_.data() + width, width, gated_.data() + i * width);
  }
  products_.Clear();
  for (size_t i = 0; i < chosen_.size(); i++) {
    products_.Add(layer.feeds[chosen_[i]].down, gated_.data() + i * width, masking);
  }
  products_.Run(pool);
  for (size_t i = 0; i < chosen_.size(); i++) products_.AddTo(i, weights_[i], x_.data());
}

void DecoderSession::ComputeRows(size_t count, const Masking& masking, Pool& pool) {
  const DecoderNumbers& n = model_->numbers;
  const size_t queries = n.heads * n.head_size, keys = n.key_heads * n.head_size;
  Grow(qkv_, count * (queries + 2 * keys));
  Grow(attended_, count * queries);
  Grow(added_, count * n.hidden);
  float* const q = qkv_.data();
  float* const k = n.fused ? q + queries : q + count * queries;
  float* const v = n.fused ? k + keys : k + count * keys;
  const size_t stride = n.fused ? queries + 2 * keys : queries;
  const size_t key_stride = n.fused ? stride : keys;
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_->layers[l];
    ForRows(count, pool, [&](size_t t) {
      Normalize(x_.data() + t * n.hidden, layer.input_norm, n.hidden, n.epsilon, normed_.data() + t * n.hidden);
    });
    MultiplyRows(layer.qkv, normed_.data(), count, masking, {q, k, v}, pool);
    FinishHeads(layer, l, count, q, stride, k, v, key_stride, pool);
    cache_.Attend(l, length_, count, q, stride, attended_.data(), pool);
    MultiplyRows({layer.output}, attended_.data(), count, masking, {added_.data()}, pool);
    ForRows(count, pool, [&](size_t t) {
      float* const x = x_.data() + t * n.hidden;
      AddParts(added_.data() + t * n.hidden, 1, 0, nullptr, 1, n.hidden, x);
      Normalize(x, layer.feed_norm, n.hidden, n.epsilon, normed_.data() + t * n.hidden);
    });
    if (n.experts != 0) {
      FeedExperts(layer, count, masking, pool);
      continue;
    }
    FeedRows(layer.feeds[0], normed_.data(), count, masking, added_.data(), pool);
    ForRows(count, pool, [&](size_t t) {
      AddParts(added_.data() + t * n.hidden, 1, 0, nullptr, 1, n.hidden, x_.data() + t * n.hidden);
    });
  }
}

void DecoderSession::FeedRows(const FeedForward& feed, const float* x, size_t count, const Masking& masking, float* y,
                              Pool& pool) {
  const DecoderNumbers& n = model_->numbers;
  const size_t width = n.intermediate;
  Grow(gate_up_, count * 2 * width);
  Grow(gated_, count * width);
  float* const gate = gate_up_.data();
  float* const up = gate + (n.fused ? width : count * width);
  const size_t stride = n.fused ? 2 * width : width;
  MultiplyRows(feed.gate_up, x, count, masking, {gate, up}, pool);
  ForRows(count, pool, [&](size_t t) {
    Gate(n.activation, gate + t * stride, up + t * stride, width, gated_.data() + t * width);
  });
  MultiplyRows({feed.down}, gated_.data(), count, masking, {y}, pool);
}

void DecoderSession::FeedExperts(const DecoderLayer& layer, size_t count, const Masking& masking, Pool& pool) {
  const DecoderNumbers& n = model_->numbers;
  Grow(logits_, count * n.experts);
  MultiplyRows({layer.router}, normed_.data(), count, masking, {logits_.data()}, pool);
  struct Visit {
    size_t token;
    float weight;
  };
  std::vector<std::vector<Visit>> visits(n.experts);
  for (size_t t = 0; t < count; t++) {
    Route(logits_.data() + t * n.experts);
    for (size_t i = 0; i < chosen_.size(); i++) visits[chosen_[i]].push_back({t, weights_[i]});
  }
  std::vector<float> own(count * n.hidden);  // of an expert's tokens
  for (size_t e = 0; e < n.experts; e++) {
    if (visits[e].empty()) continue;
    for (size_t i = 0; i < visits[e].size(); i++) {
      std::copy_n(normed_.data() + visits[e][i].token * n.hidden, n.hidden, own.data() + i * n.hidden);
    }
    FeedRows(layer.feeds[e], own.data(), visits[e].size(), masking, added_.data(), pool);
    for (size_t i = 0; i < visits[e].size(); i++) {
      AddParts(added_.data() + i * n.hidden, 1, 0, nullptr, visits[e][i].weight, n.hidden,
               x_.data() + visits[e][i].token * n.hidden);
    }
  }
}

// The most probable ones, of equal ones the lower; softmax over all, renormalised over some, is softmax over those.
void DecoderSession::Route(const float* logits) {
  const DecoderNumbers& n = model_->numbers;
  chosen_.resize(n.experts);
  std::iota(chosen_.begin(), chosen_.end(), size_t{0});
  // A NaN comes last, so that this is an order.
  const auto comes_first = [logits](size_t a, size_t b) {
    if (std::isnan(logits[a]) || std::isnan(logits[b])) return !std::isnan(logits[a]) && std::isnan(logits[b]);
    return logits[a] > logits[b];
  };
  std::stable_sort(chosen_.begin(), chosen_.end(), comes_first);
  chosen_.resize(n.experts_per_token);
  weights_.resize(chosen_.size());
  float total = 0;
  for (size_t i = 0; i < chosen_.size(); i++) total += weights_[i] = std::exp(logits[chosen_[i]] - logits[chosen_[0]]);
  for (float& weight : weights_) weight /= total;
}

}  // namespace sparsify
