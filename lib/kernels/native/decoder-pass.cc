#include "decoder-pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "decoder-loops.h"
#include "int4-loops.h"
#include "int8-loops.h"
#include "narrow-loops.h"

namespace sparsify {
namespace {

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
void LookUp(const StoredKernel& kernel, bool columns, size_t id, size_t hidden, float* x) {
  thread_local std::vector<int8_t> values;
  thread_local std::vector<float> scale, zero_point;
  const int8_t* const first = kernel.int8() + (columns ? id : id * kernel.stride);
  values.resize(hidden);
  for (size_t k = 0; k < hidden; k++) values[k] = first[columns ? k * kernel.stride : k];
  scale.assign(hidden, kernel.scale[id]);
  zero_point.assign(hidden, kernel.zero_point[id]);
  DequantizeInt8(values.data(), scale.data(), zero_point.data(), hidden, x);
}

}  // namespace

void DecoderPass::Compute(const std::vector<DecoderSegment>& segments, const int32_t* tokens, const float* thresholds,
                          Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  segments_ = segments;
  places_.clear();
  counts_.clear();
  for (const DecoderSegment& segment : segments) {
    for (size_t t = 0; t < segment.count; t++) {
      places_.push_back({segment.cache, segment.start + t});
      counts_.push_back(segment.counts);
    }
  }
  masking_ = {thresholds, counts_.data()};
  const size_t rows = places_.size();
  Grow(x_, rows * n.hidden);
  Grow(normed_, rows * n.hidden);
  for (size_t t = 0; t < rows; t++) Embed(tokens[t], x_.data() + t * n.hidden);
  FindRotations();
  if (rows == 1) {
    ComputeOne(pool);
  } else {
    ComputeRows(pool);
  }
}

void DecoderPass::Logits(size_t first, size_t count, float* logits, Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  for (size_t r = first; r < first + count; r++) {
    Normalize(x_.data() + r * n.hidden, model_.final_norm, n.hidden, n.epsilon, normed_.data() + r * n.hidden);
  }
  const Masking masking{masking_.thresholds, counts_.data() + first};
  const float* const x = normed_.data() + first * n.hidden;
  if (count == 1) {
    MultiplyWide(model_.head, x, masking, products_, logits, pool);
  } else {
    MultiplyRows({model_.head}, x, count, masking, {logits}, pool);
  }
}

void DecoderPass::LogitsEach(size_t first, size_t count, float* const* logits, Pool& pool) {
  const size_t vocabulary = model_.numbers.vocabulary;
  if (count == 1) return Logits(first, 1, logits[0], pool);
  Grow(logits_, count * vocabulary);
  Logits(first, count, logits_.data(), pool);
  for (size_t r = 0; r < count; r++) std::copy_n(logits_.data() + r * vocabulary, vocabulary, logits[r]);
}

void DecoderPass::Scores(size_t first, size_t count, const int32_t* targets, float* scores, Pool& pool) {
  const size_t vocabulary = model_.numbers.vocabulary;
  Grow(logits_, count * vocabulary);
  Logits(first, count, logits_.data(), pool);
  ForRows(count, pool, [&](size_t r) {
    const float* const logits = logits_.data() + r * vocabulary;
    scores[r] = static_cast<float>(LogLikelihood(logits, vocabulary, static_cast<size_t>(targets[r])));
  });
}

void DecoderPass::Embed(int32_t token, float* x) const {
  const DecoderNumbers& n = model_.numbers;
  const StoredKernel& table = n.tied ? model_.head.kernel : model_.embedding;
  const auto id = static_cast<size_t>(token);
  if (table.is_int4()) {
    DequantizeInt4Column(table, n.hidden, id, x);
  } else if (table.is_int8()) {
    LookUp(table, n.tied, id, n.hidden, x);
  } else if (!n.tied) {
    std::copy_n(table.floats() + id * n.hidden, n.hidden, x);
  } else if (table.is_narrow()) {
    for (size_t k = 0; k < n.hidden; k++) Widen(table.narrow() + k * table.stride + id, 1, x + k);
  } else {
    for (size_t k = 0; k < n.hidden; k++) x[k] = table.floats()[k * table.stride + id];
  }
  if (n.embedding_scale != 1) {
    for (size_t k = 0; k < n.hidden; k++) x[k] *= n.embedding_scale;
  }
}

// An angle is rounded to float before its cosine is taken: models were trained with angles that are products of floats.
void DecoderPass::FindRotations() {
  const std::vector<float>& frequencies = model_.frequencies;
  const size_t half = frequencies.size();
  Grow(cos_, places_.size() * half);
  Grow(sin_, places_.size() * half);
  for (size_t t = 0; t < places_.size(); t++) {
    for (size_t i = 0; i < half; i++) {
      const double angle = static_cast<float>(static_cast<double>(places_[t].position) * frequencies[i]);
      cos_[t * half + i] = static_cast<float>(std::cos(angle) * model_.numbers.attention_factor);
      sin_[t * half + i] = static_cast<float>(std::sin(angle) * model_.numbers.attention_factor);
    }
  }
}

void DecoderPass::FinishHeads(const DecoderLayer& layer, size_t l, float* queries, size_t stride, float* keys,
                              const float* values, size_t key_stride, Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  const size_t size = n.head_size, half = size / 2;
  const auto turn = [&](float* heads, size_t head_count, const float* norm, size_t t) {
    for (size_t h = 0; h < head_count; h++) {
      float* const head = heads + h * size;
      if (norm) Normalize(head, norm, size, n.epsilon, head);
      Rotate(cos_.data() + t * half, sin_.data() + t * half, half, head);
    }
  };
  ForRows(places_.size(), pool, [&](size_t t) {
    turn(queries + t * stride, n.heads, layer.query_norm, t);
    turn(keys + t * key_stride, n.key_heads, layer.key_norm, t);
  });
  for (size_t t = 0; t < places_.size(); t++) {
    places_[t].cache->Store(l, places_[t].position, keys + t * key_stride, values + t * key_stride);
  }
}

void DecoderPass::Attend(size_t l, float* queries, size_t stride, Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  requests_.clear();
  size_t first = 0;
  for (const DecoderSegment& segment : segments_) {
    float* const own = queries + first * stride;
    float* const output = attended_.data() + first * n.queries();
    if (segment.count == 1) {
      requests_.push_back({segment.cache, segment.start, own, output});
    } else {
      segment.cache->AttendMany(l, segment.start, segment.count, own, stride, output, pool);
    }
    first += segment.count;
  }
  if (!requests_.empty()) DecoderCache::AttendEach(l, requests_, attend_scratch_, pool);
}

void DecoderPass::ComputeOne(Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  const size_t queries = n.queries(), keys = n.keys();
  Grow(qkv_, queries + 2 * keys);
  Grow(attended_, queries);
  float* const x = x_.data();
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_.layers[l];
    Normalize(x, layer.input_norm, n.hidden, n.epsilon, normed_.data());
    products_.Clear();
    products_.AddGroup(layer.qkv, layer.qkv_whole, normed_.data(), masking_);
    products_.Run(pool);
    size_t next = 0;
    products_.FinishGroup(layer.qkv, next, qkv_.data());
    FinishHeads(layer, l, qkv_.data(), 0, qkv_.data() + queries, qkv_.data() + queries + keys, 0, pool);
    Attend(l, qkv_.data(), 0, pool);
    products_.Clear();
    products_.Add(layer.output, attended_.data(), masking_);
    products_.Run(pool);
    products_.AddTo(0, 1, x);
    Normalize(x, layer.feed_norm, n.hidden, n.epsilon, normed_.data());
    FeedOne(layer, pool);
  }
}

void DecoderPass::FeedOne(const DecoderLayer& layer, Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  chosen_.assign(1, 0);
  weights_.assign(1, 1);
  if (n.experts != 0) {
    products_.Clear();
    products_.Add(layer.router, normed_.data(), masking_);
    products_.Run(pool);
    Grow(routed_, n.experts);
    products_.Finish(0, routed_.data());
    Route(routed_.data());
  }
  const size_t width = n.intermediate;
  Grow(gate_up_, 2 * width);
  Grow(gated_, chosen_.size() * width);
  products_.Clear();
  for (const size_t e : chosen_) {
    const FeedForward& feed = layer.feeds[e];
    products_.AddGroup(feed.gate_up, feed.gate_up_whole, normed_.data(), masking_);
  }
  products_.Run(pool);
  for (size_t i = 0, next = 0; i < chosen_.size(); i++) {
    products_.FinishGroup(layer.feeds[chosen_[i]].gate_up, next, gate_up_.data());
    Gate(n.activation, gate_up_.data(), gate_up_.data() + width, width, gated_.data() + i * width);
  }
  products_.Clear();
  for (size_t i = 0; i < chosen_.size(); i++) {
    products_.Add(layer.feeds[chosen_[i]].down, gated_.data() + i * width, masking_);
  }
  products_.Run(pool);
  for (size_t i = 0; i < chosen_.size(); i++) products_.AddTo(i, weights_[i], x_.data());
}

void DecoderPass::ComputeRows(Pool& pool) {
  const size_t count = places_.size();
  const DecoderNumbers& n = model_.numbers;
  Grow(qkv_, count * (n.queries() + 2 * n.keys()));
  Grow(attended_, count * n.queries());
  Grow(added_, count * n.hidden);
  const ProjectionPlaces places = PlacesOfRows(n, count);
  float* const q = qkv_.data();
  float* const k = q + places.keys;
  float* const v = q + places.values;
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_.layers[l];
    ForRows(count, pool, [&](size_t t) {
      Normalize(x_.data() + t * n.hidden, layer.input_norm, n.hidden, n.epsilon, normed_.data() + t * n.hidden);
    });
    MultiplyRows(layer.qkv, normed_.data(), count, masking_, {q, k, v}, pool);
    FinishHeads(layer, l, q, places.query_stride, k, v, places.key_stride, pool);
    Attend(l, q, places.query_stride, pool);
    MultiplyRows({layer.output}, attended_.data(), count, masking_, {added_.data()}, pool);
    ForRows(count, pool, [&](size_t t) {
      float* const x = x_.data() + t * n.hidden;
      AddParts(added_.data() + t * n.hidden, 1, 0, nullptr, 1, n.hidden, x);
      Normalize(x, layer.feed_norm, n.hidden, n.epsilon, normed_.data() + t * n.hidden);
    });
    if (n.experts != 0) {
      FeedExperts(layer, pool);
      continue;
    }
    FeedRows(layer.feeds[0], normed_.data(), count, masking_, added_.data(), pool);
    ForRows(count, pool, [&](size_t t) {
      AddParts(added_.data() + t * n.hidden, 1, 0, nullptr, 1, n.hidden, x_.data() + t * n.hidden);
    });
  }
}

void DecoderPass::FeedRows(const FeedForward& feed, const float* x, size_t count, const Masking& masking, float* y,
                           Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  const size_t width = n.intermediate;
  Grow(gate_up_, count * 2 * width);
  Grow(gated_, count * width);
  float* const gate = gate_up_.data();
  const ProjectionPlaces places = PlacesOfRows(n, count);
  float* const up = gate + places.up;
  MultiplyRows(feed.gate_up, x, count, masking, {gate, up}, pool);
  ForRows(count, pool, [&](size_t t) {
    Gate(n.activation, gate + t * places.gate_stride, up + t * places.gate_stride, width, gated_.data() + t * width);
  });
  MultiplyRows({feed.down}, gated_.data(), count, masking, {y}, pool);
}

void DecoderPass::FeedExperts(const DecoderLayer& layer, Pool& pool) {
  const DecoderNumbers& n = model_.numbers;
  const size_t count = places_.size();
  Grow(routed_, count * n.experts);
  MultiplyRows({layer.router}, normed_.data(), count, masking_, {routed_.data()}, pool);
  struct Visit {
    size_t token;
    float weight;
  };
  std::vector<std::vector<Visit>> visits(n.experts);
  for (size_t t = 0; t < count; t++) {
    Route(routed_.data() + t * n.experts);
    for (size_t i = 0; i < chosen_.size(); i++) visits[chosen_[i]].push_back({t, weights_[i]});
  }
  // Of an expert's tokens.
  std::vector<float> own(count * n.hidden);
  std::vector<MaskedInputs*> counts(count);
  const Masking masking{masking_.thresholds, counts.data()};
  for (size_t e = 0; e < n.experts; e++) {
    if (visits[e].empty()) continue;
    for (size_t i = 0; i < visits[e].size(); i++) {
      const size_t token = visits[e][i].token;
      std::copy_n(normed_.data() + token * n.hidden, n.hidden, own.data() + i * n.hidden);
      counts[i] = counts_[token];
    }
    FeedRows(layer.feeds[e], own.data(), visits[e].size(), masking, added_.data(), pool);
    for (size_t i = 0; i < visits[e].size(); i++) {
      AddParts(added_.data() + i * n.hidden, 1, 0, nullptr, visits[e][i].weight, n.hidden,
               x_.data() + visits[e][i].token * n.hidden);
    }
  }
}

// Chooses the most probable experts, and of equal ones the lower. Softmax over all experts, renormalised over the chosen ones,
// is softmax over the chosen ones.
void DecoderPass::Route(const float* logits) {
  const DecoderNumbers& n = model_.numbers;
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
