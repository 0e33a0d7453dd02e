#include "decoder-rows-pass.h"

#include <algorithm>
#include <utility>

namespace sparsify::cuda {
namespace {

// Rows of logits at a time: 50 MB of a vocabulary of 49,152.
constexpr size_t kLogitRows = 256;

// Scores of attention at a time, in floats: 256 MB.
constexpr size_t kScores = size_t{1} << 26;

}  // namespace

void RowsPass::Grow(size_t rows) {
  const DecoderNumbers& n = model_.numbers;
  x_.Grow(rows * n.hidden);
  cos_.Grow(rows * n.head_size / 2);
  sin_.Grow(rows * n.head_size / 2);
  normed_.Grow(rows * n.hidden);
  masked_.Grow(rows * std::max({n.hidden, n.queries(), n.intermediate}));
  qkv_.Grow(rows * (n.queries() + 2 * n.keys()));
  attended_.Grow(rows * n.queries());
  gate_up_.Grow(rows * 2 * n.intermediate);
  gated_.Grow(rows * n.intermediate);
}

void RowsPass::Compute(const DecoderCache& cache, size_t position, size_t rows, PassInput& input) {
  const DecoderNumbers& n = model_.numbers;
  cudaStream_t const stream = model_.stream;
  Grow(rows);
  input.Begin(rows, stream);
  const int count = static_cast<int>(rows), hidden = static_cast<int>(n.hidden), width = static_cast<int>(n.intermediate);
  Check(LaunchEmbed(model_.token_embedding, input.tokens(), count, hidden, AnglesOf(model_, cos_.get(), sin_.get()),
                    x_.get(), stream));
  const ProjectionPlaces places = PlacesOfRows(n, rows);
  const auto stride = static_cast<int64_t>(places.query_stride), key_stride = static_cast<int64_t>(places.key_stride);
  float* const queries = qkv_.get();
  float* const gate = gate_up_.get();
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_.layers[l];
    const FeedForward& feed = layer.feeds[0];
    const LayerCache layer_cache = cache.Layer(l);
    Check(LaunchNormRows(x_.get(), layer.input_norm, count, hidden, n.epsilon, normed_.get(), stream));
    ProjectAll(layer.qkv, rows, input, queries);
    Check(LaunchTurnRows(HeadsOf(n, layer, cos_.get(), sin_.get()), count, static_cast<int>(position), queries, stride,
                         queries + places.keys, queries + places.values, key_stride, layer_cache, stream));
    Attend(layer_cache, position, rows, queries, places.query_stride);
    Project(layer.output, attended_.get(), rows, true, input, x_.get());
    Check(LaunchNormRows(x_.get(), layer.feed_norm, count, hidden, n.epsilon, normed_.get(), stream));
    ProjectAll(feed.gate_up, rows, input, gate);
    Check(LaunchGateRows(n.activation, gate, gate + places.up, static_cast<int64_t>(places.gate_stride), count, width,
                         gated_.get(), stream));
    Project(feed.down, gated_.get(), rows, true, input, x_.get());
  }
}

// The layers read normed_; their results lie one after another in y.
void RowsPass::ProjectAll(const std::vector<DecoderDense>& layers, size_t rows, const PassInput& input, float* y) {
  for (const DecoderDense& dense : layers) {
    Project(dense, normed_.get(), rows, false, input, y);
    y += rows * dense.units;
  }
}

// y [rows, units] = x [rows, inputs] times the kernel, plus y if `add`.
void RowsPass::Project(const DecoderDense& dense, const float* x, size_t rows, bool add, const PassInput& input, float* y) {
  cudaStream_t const stream = model_.stream;
  const StoredKernel& stored = dense.kernel;
  const int count = static_cast<int>(rows), inputs = static_cast<int>(dense.inputs), units = static_cast<int>(dense.units);
  const float threshold = input.threshold(dense.id);
  if (threshold >= 0) {
    Check(LaunchMaskRows(x, static_cast<int64_t>(rows * dense.inputs), threshold, masked_.get(),
                         input.masking().kept + dense.id, stream));
    x = masked_.get();
  }
  MatrixView kernel = {stored.floats(), static_cast<int64_t>(stored.stride)};
  if (!stored.is_float()) {
    widened_.Grow(dense.inputs * dense.units);
    Check(LaunchWiden(stored, inputs, 0, units, widened_.get(), stream));
    kernel = {widened_.get(), units};
  }
  cublas_.Multiply({x, inputs}, kernel, false, count, inputs, units, add, y, units);
  if (dense.bias == nullptr) return;
  Check(LaunchBiasActivation(y, count, units, dense.bias, Activation::kLinear, y, stream));
}

// Query heads that share a key head are a batch.
void RowsPass::Attend(const LayerCache& cache, size_t position, size_t rows, const float* queries, size_t stride) {
  const DecoderNumbers& n = model_.numbers;
  cudaStream_t const stream = model_.stream;
  const size_t size = n.head_size, width = n.keys(), positions = position + rows;
  const auto *keys = static_cast<const float*>(cache.keys), *values = static_cast<const float*>(cache.values);
  if (cache.narrow) {
    keys_.Grow(positions * width);
    values_.Grow(positions * width);
    for (const auto& [from, to] : {std::pair{cache.keys, keys_.get()}, std::pair{cache.values, values_.get()}}) {
      Check(LaunchWiden(StoredKernel::Narrow(static_cast<const BFloat16*>(from), width), static_cast<int64_t>(positions), 0,
                        static_cast<int>(width), to, stream));
    }
    keys = keys_.get();
    values = values_.get();
  }
  // Without groups all heads are one batch.
  const size_t group = n.heads / n.key_heads, batch = group == 1 ? n.heads : group;
  const auto key_step = static_cast<int64_t>(group == 1 ? size : 0);
  const size_t at_once = std::clamp<size_t>(kScores / (n.heads * positions), 1, rows);
  scores_.Grow(n.heads * at_once * positions);
  for (size_t first = 0; first < rows; first += at_once) {
    const size_t here = std::min(at_once, rows - first), seen = position + first + here;
    const int count = static_cast<int>(here), columns = static_cast<int>(seen), depth = static_cast<int>(size);
    const auto score_step = static_cast<int64_t>(here * seen), head_step = static_cast<int64_t>(size);
    for (size_t h = 0; h < n.heads; h += batch) {
      const MatrixView query = {queries + first * stride + h * size, static_cast<int64_t>(stride), head_step};
      const MatrixView key = {keys + h / group * size, static_cast<int64_t>(width), key_step};
      cublas_.Multiply(query, key, true, count, depth, columns, false, scores_.get() + h * here * seen,
                       static_cast<int64_t>(seen), score_step, static_cast<int>(batch));
    }
    Check(LaunchSoftmax(scores_.get(), static_cast<int>(n.heads), count, columns, static_cast<int>(position + first),
                        static_cast<int>(n.window), stream));
    for (size_t h = 0; h < n.heads; h += batch) {
      const MatrixView share = {scores_.get() + h * here * seen, static_cast<int64_t>(seen), score_step};
      const MatrixView value = {values + h / group * size, static_cast<int64_t>(width), key_step};
      cublas_.Multiply(share, value, false, count, columns, depth, false,
                       attended_.get() + first * n.queries() + h * size, static_cast<int64_t>(n.queries()), head_step,
                       static_cast<int>(batch));
    }
  }
}

void RowsPass::Write(size_t first, size_t rows, DecoderOutput output, const int32_t* targets, float* result,
                     const PassInput& input, const TokenPass& token_pass) {
  const DecoderNumbers& n = model_.numbers;
  cudaStream_t const stream = model_.stream;
  logits_.Grow(std::min(kLogitRows, rows) * n.vocabulary);
  for (size_t at = 0; at < rows; at += kLogitRows) {
    const size_t here = std::min(kLogitRows, rows - at);
    const int count = static_cast<int>(here);
    const float* const x = x_.get() + (first + at) * n.hidden;
    if (here == 1) {
      token_pass.Logits(model_, input, x, logits_.get());
    } else {
      Check(LaunchNormRows(x, model_.final_norm, count, static_cast<int>(n.hidden), n.epsilon, normed_.get(), stream));
      Project(model_.head, normed_.get(), here, false, input, logits_.get());
    }
    if (output != DecoderOutput::kScores) {
      Download(result + at * n.vocabulary, logits_.get(), here * n.vocabulary, stream);
      continue;
    }
    targets_.Grow(here);
    likelihoods_.Grow(here);
    Upload(targets_.get(), targets + at, here, stream);
    Check(LaunchLikelihoods(logits_.get(), targets_.get(), count, static_cast<int>(n.vocabulary), likelihoods_.get(),
                            stream));
    Download(result + at, likelihoods_.get(), here, stream);
  }
}

}  // namespace sparsify::cuda
