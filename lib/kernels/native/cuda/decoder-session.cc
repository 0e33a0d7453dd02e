#include "decoder-session.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sparsify::cuda {
namespace {

// Tokens that are computed together.
constexpr size_t kRowsAtOnce = 512;

// Rows of logits at a time: 50 MB of a vocabulary of 49,152.
constexpr size_t kLogitRows = 256;

// Scores of attention at a time, in floats: 256 MB.
constexpr size_t kScores = size_t{1} << 26;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

size_t Queries(const DecoderNumbers& n) { return n.heads * n.head_size; }
size_t Keys(const DecoderNumbers& n) { return n.key_heads * n.head_size; }

template <class T>
void Upload(T* to, const T* from, size_t size, cudaStream_t stream) {
  Check(cudaMemcpyAsync(to, from, size * sizeof(T), cudaMemcpyHostToDevice, stream));
}
template <class T>
void Download(T* to, const T* from, size_t size, cudaStream_t stream) {
  Check(cudaMemcpyAsync(to, from, size * sizeof(T), cudaMemcpyDeviceToHost, stream));
}

std::vector<const DecoderDense*> Pointers(const std::vector<DecoderDense>& layers) {
  std::vector<const DecoderDense*> pointers;
  for (const DecoderDense& dense : layers) pointers.push_back(&dense);
  return pointers;
}

}  // namespace

DecoderSession::DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache)
    : model_(std::move(model)),
      cache_(model_->numbers, narrow_cache),
      counts_(model_->dense_count),
      device_thresholds_(model_->dense_count),
      kept_(model_->dense_count),
      host_kept_(model_->dense_count),
      input_(1 + kRowsAtOnce),
      host_input_(1 + kRowsAtOnce),
      host_logits_(model_->numbers.vocabulary) {
  const DecoderNumbers& n = model_->numbers;
  const size_t widest = std::max({Queries(n) + 2 * Keys(n), 2 * n.intermediate, n.vocabulary, n.hidden});
  x_.Grow(n.hidden);
  cos_.Grow(n.head_size / 2);
  sin_.Grow(n.head_size / 2);
  qkv_.Grow(Queries(n) + 2 * Keys(n));
  attended_.Grow(Queries(n));
  gate_up_.Grow(2 * n.intermediate);
  logits_.Grow(n.vocabulary);
  product_workspace_.Grow(RowWorkspaceBytes(static_cast<int>(widest), model_->device) / sizeof(float));
  const size_t bytes = AttentionWorkspaceBytes(HeadsOf(model_->layers[0], nullptr, nullptr), model_->device);
  attention_workspace_.Grow(bytes);
  Check(cudaMemset(attention_workspace_.get(), 0, bytes));
  Check(cudaDeviceSynchronize());
}

DecoderSession::~DecoderSession() { DropGraph(); }

bool DecoderSession::SetModel(std::shared_ptr<DecoderModel> model) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!GoOnAsOne(model_->numbers, model->numbers)) return false;
  DropGraph();
  model_ = std::move(model);
  return true;
}

void DecoderSession::Truncate(size_t length) {
  const std::lock_guard<std::mutex> lock(mutex_);
  length_ = std::min(length_, length);
}

std::vector<MaskedInputs> DecoderSession::Counts() const {
  const std::lock_guard<std::mutex> lock(counts_mutex_);
  return counts_;
}

void DecoderSession::ResetCounts() {
  const std::lock_guard<std::mutex> lock(counts_mutex_);
  std::fill(counts_.begin(), counts_.end(), MaskedInputs());
}

void DecoderSession::Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output,
                            const int32_t* targets, float* result) {
  const std::lock_guard<std::mutex> session_lock(mutex_);
  const std::lock_guard<std::mutex> model_lock(model_->mutex);
  Check(cudaSetDevice(model_->device_id));  // this may be any thread
  const size_t vocabulary = model_->numbers.vocabulary, before = length_;
  std::vector<MaskedInputs> counts(counts_.size());
  try {
    SetThresholds(thresholds);
    for (size_t first = 0; first < count; first += kRowsAtOnce) {
      const size_t rows = std::min(kRowsAtOnce, count - first);
      const size_t head_rows = output != DecoderOutput::kLast ? rows : first + rows == count ? 1 : 0;
      if (cache_.Reserve(length_ + rows, length_, model_->stream)) DropGraph();
      SetInput(tokens + first, rows);
      if (rows == 1 && output != DecoderOutput::kScores) {
        ComputeOne();
        Check(cudaStreamSynchronize(model_->stream));
        std::copy_n(host_logits_.get(), vocabulary, result + (output == DecoderOutput::kAll ? first * vocabulary : 0));
      } else {
        ComputeRows(rows);
        WriteRows(rows - head_rows, head_rows, output, targets == nullptr ? nullptr : targets + first,
                  result + (output == DecoderOutput::kAll      ? first * vocabulary
                            : output == DecoderOutput::kScores ? first
                                                               : 0));
        Download(host_kept_.get(), kept_.get(), kept_.size(), model_->stream);
        Check(cudaStreamSynchronize(model_->stream));
      }
      Count(rows, head_rows, counts);
      length_ += rows;
    }
  } catch (...) {
    length_ = before;
    cudaStreamSynchronize(model_->stream);  // what was enqueued may still read what is freed or written next
    throw;
  }
  const std::lock_guard<std::mutex> counts_lock(counts_mutex_);
  for (size_t i = 0; i < counts.size(); i++) {
    counts_[i].masked += counts[i].masked;
    counts_[i].total += counts[i].total;
  }
}

void DecoderSession::SetThresholds(const float* thresholds) {
  std::vector<float> wanted(model_->dense_count, kMinusInfinity);
  if (thresholds != nullptr) std::copy_n(thresholds, wanted.size(), wanted.begin());
  if (wanted == thresholds_) return;
  thresholds_ = std::move(wanted);
  Upload(device_thresholds_.get(), thresholds_.data(), thresholds_.size(), model_->stream);
}

void DecoderSession::SetInput(const int32_t* tokens, size_t rows) {
  host_input_[0] = static_cast<int32_t>(length_);
  std::copy_n(tokens, rows, host_input_.get() + 1);
}

// What was kept is in host_kept_.
void DecoderSession::Count(size_t rows, size_t head_rows, std::vector<MaskedInputs>& counts) const {
  for (size_t i = 0; i < counts.size(); i++) {
    const bool is_head = i == static_cast<size_t>(model_->head.id);
    const uint64_t total = (is_head ? head_rows : rows) * static_cast<uint64_t>(model_->inputs[i]);
    counts[i].total += total;
    if (thresholds_[i] >= 0) counts[i].masked += total - host_kept_[i];
  }
}

HeadNumbers DecoderSession::HeadsOf(const DecoderLayer& layer, const float* cos, const float* sin) const {
  const DecoderNumbers& n = model_->numbers;
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

Angles DecoderSession::AnglesAt(float* cos, float* sin) const {
  const DecoderNumbers& n = model_->numbers;
  return {model_->frequencies.get(), static_cast<int>(n.head_size / 2), n.attention_factor, cos, sin};
}

Row DecoderSession::NormedRow(const float* x, const float* norm) const {
  return {RowKind::kNormed, x, norm, model_->numbers.epsilon, model_->numbers.activation};
}

// The layers' results lie one after another in y.
void DecoderSession::Multiply(const Row& row, const std::vector<const DecoderDense*>& layers, bool add, float* y) const {
  RowProducts products = {};
  products.row = row;
  products.add = add;
  for (const DecoderDense* dense : layers) {
    products.dense[products.count] = dense;
    products.y[products.count++] = y;
    y += dense->units;
  }
  Check(LaunchRowProducts(products, {device_thresholds_.get(), kept_.get()}, model_->device, product_workspace_.get(),
                          model_->stream));
}

void DecoderSession::DropGraph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  graph_ = nullptr;
}

void DecoderSession::ComputeOne() {
  cudaStream_t const stream = model_->stream;
  if (graph_ == nullptr) {
    // Other threads, TensorFlow's, may call CUDA meanwhile.
    Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      EnqueueOne();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    Check(cudaStreamEndCapture(stream, &graph));
    const cudaError_t error = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    Check(error);
  }
  Check(cudaGraphLaunch(graph_, stream));
}

void DecoderSession::EnqueueOne() {
  const DecoderNumbers& n = model_->numbers;
  cudaStream_t const stream = model_->stream;
  Upload(input_.get(), host_input_.get(), 2, stream);
  Check(cudaMemsetAsync(kept_.get(), 0, kept_.size() * sizeof(unsigned long long), stream));
  Check(LaunchEmbed(model_->embedding, {input_.get(), input_.get() + 1}, 1, static_cast<int>(n.hidden),
                    AnglesAt(cos_.get(), sin_.get()), x_.get(), stream));
  float* const keys = qkv_.get() + Queries(n);
  const Row attended = {RowKind::kPlain, attended_.get(), nullptr, 0, n.activation};
  const Row gated = {RowKind::kGated, gate_up_.get(), gate_up_.get() + n.intermediate, 0, n.activation};
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_->layers[l];
    Multiply(NormedRow(x_.get(), layer.input_norm), Pointers(layer.qkv), false, qkv_.get());
    Check(LaunchTokenAttention({HeadsOf(layer, cos_.get(), sin_.get()), qkv_.get(), keys, keys + Keys(n), cache_.Layer(l),
                                input_.get(), attention_workspace_.get(), attended_.get()},
                               model_->device, stream));
    Multiply(attended, {&layer.output}, true, x_.get());
    Multiply(NormedRow(x_.get(), layer.feed_norm), Pointers(layer.gate_up), false, gate_up_.get());
    Multiply(gated, {&layer.down}, true, x_.get());
  }
  Multiply(NormedRow(x_.get(), model_->final_norm), {&model_->head}, false, logits_.get());
  Download(host_logits_.get(), logits_.get(), n.vocabulary, stream);
  Download(host_kept_.get(), kept_.get(), kept_.size(), stream);
}

void DecoderSession::ComputeRows(size_t rows) {
  const DecoderNumbers& n = model_->numbers;
  cudaStream_t const stream = model_->stream;
  const size_t queries = Queries(n), keys = Keys(n), width = n.intermediate;
  if (model_->cublas == nullptr) model_->cublas = std::make_unique<Cublas>(stream);
  RowsMemory& m = model_->rows;
  m.x.Grow(rows * n.hidden);
  m.cos.Grow(rows * n.head_size / 2);
  m.sin.Grow(rows * n.head_size / 2);
  m.normed.Grow(rows * n.hidden);
  m.masked.Grow(rows * std::max({n.hidden, queries, width}));
  m.qkv.Grow(rows * (queries + 2 * keys));
  m.attended.Grow(rows * queries);
  m.gate_up.Grow(rows * 2 * width);
  m.gated.Grow(rows * width);
  Upload(input_.get(), host_input_.get(), 1 + rows, stream);
  Check(cudaMemsetAsync(kept_.get(), 0, kept_.size() * sizeof(unsigned long long), stream));
  const int count = static_cast<int>(rows), hidden = static_cast<int>(n.hidden);
  Check(LaunchEmbed(model_->embedding, {input_.get(), input_.get() + 1}, count, hidden,
                    AnglesAt(m.cos.get(), m.sin.get()), m.x.get(), stream));
  // One Dense gives its parts side by side, several give theirs one after another.
  float* const q = m.qkv.get();
  float* const k = q + (n.fused ? queries : rows * queries);
  float* const v = k + (n.fused ? keys : rows * keys);
  const size_t stride = n.fused ? queries + 2 * keys : queries, key_stride = n.fused ? stride : keys;
  float* const gate = m.gate_up.get();
  float* const up = gate + (n.fused ? width : rows * width);
  const auto project = [&](const std::vector<DecoderDense>& layers, float* y) {
    for (const DecoderDense& dense : layers) {
      ProjectRows(dense, m.normed.get(), rows, false, y);
      y += rows * static_cast<size_t>(dense.units);
    }
  };
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model_->layers[l];
    const LayerCache cache = cache_.Layer(l);
    Check(LaunchNormRows(m.x.get(), layer.input_norm, count, hidden, n.epsilon, m.normed.get(), stream));
    project(layer.qkv, q);
    Check(LaunchTurnRows(HeadsOf(layer, m.cos.get(), m.sin.get()), count, static_cast<int>(length_), q,
                         static_cast<int64_t>(stride), k, v, static_cast<int64_t>(key_stride), cache, stream));
    AttendRows(cache, rows, q, stride);
    ProjectRows(layer.output, m.attended.get(), rows, true, m.x.get());
    Check(LaunchNormRows(m.x.get(), layer.feed_norm, count, hidden, n.epsilon, m.normed.get(), stream));
    project(layer.gate_up, gate);
    Check(LaunchGateRows(n.activation, gate, up, static_cast<int64_t>(n.fused ? 2 * width : width), count,
                         static_cast<int>(width), m.gated.get(), stream));
    ProjectRows(layer.down, m.gated.get(), rows, true, m.x.get());
  }
}

// y [rows, units] = x [rows, inputs] times the kernel, plus y if `add`.
void DecoderSession::ProjectRows(const DecoderDense& dense, const float* x, size_t rows, bool add, float* y) {
  cudaStream_t const stream = model_->stream;
  RowsMemory& m = model_->rows;
  const size_t inputs = static_cast<size_t>(dense.inputs), units = static_cast<size_t>(dense.units);
  const float threshold = thresholds_[static_cast<size_t>(dense.id)];
  if (threshold >= 0) {
    Check(LaunchMaskRows(x, static_cast<int64_t>(rows * inputs), threshold, m.masked.get(), kept_.get() + dense.id,
                         stream));
    x = m.masked.get();
  }
  MatrixView kernel = {static_cast<const float*>(dense.kernel), dense.stride};
  if (dense.storage != Storage::kFloat32) {
    m.widened.Grow(inputs * units);
    Check(LaunchWiden(dense.kernel, dense.storage, dense.stride, dense.scale, dense.zero_point, dense.inputs, dense.units,
                      m.widened.get(), stream));
    kernel = {m.widened.get(), dense.units};
  }
  model_->cublas->Multiply({x, dense.inputs}, kernel, false, static_cast<int>(rows), dense.inputs, dense.units, add, y,
                           dense.units);
  if (dense.bias == nullptr) return;
  Check(LaunchBiasActivation(y, static_cast<int64_t>(rows), dense.units, dense.bias, Activation::kLinear, y, stream));
}

// Query heads that share a key head are a batch.
void DecoderSession::AttendRows(const LayerCache& cache, size_t rows, const float* queries, size_t stride) {
  const DecoderNumbers& n = model_->numbers;
  cudaStream_t const stream = model_->stream;
  RowsMemory& m = model_->rows;
  const Cublas& cublas = *model_->cublas;
  const size_t size = n.head_size, width = Keys(n), positions = length_ + rows;
  const auto *keys = static_cast<const float*>(cache.keys), *values = static_cast<const float*>(cache.values);
  if (cache.narrow) {
    m.keys.Grow(positions * width);
    m.values.Grow(positions * width);
    for (const auto& [from, to] : {std::pair{cache.keys, m.keys.get()}, std::pair{cache.values, m.values.get()}}) {
      Check(LaunchWiden(from, Storage::kBfloat16, static_cast<int64_t>(width), nullptr, nullptr,
                        static_cast<int64_t>(positions), static_cast<int>(width), to, stream));
    }
    keys = m.keys.get();
    values = m.values.get();
  }
  // Without groups all heads are one batch.
  const size_t group = n.heads / n.key_heads, batch = group == 1 ? n.heads : group;
  const auto key_step = static_cast<int64_t>(group == 1 ? size : 0);
  const size_t at_once = std::clamp<size_t>(kScores / (n.heads * positions), 1, rows);
  m.scores.Grow(n.heads * at_once * positions);
  for (size_t first = 0; first < rows; first += at_once) {
    const size_t here = std::min(at_once, rows - first), seen = length_ + first + here;
    const int count = static_cast<int>(here), columns = static_cast<int>(seen), depth = static_cast<int>(size);
    const auto score_step = static_cast<int64_t>(here * seen), head_step = static_cast<int64_t>(size);
    for (size_t h = 0; h < n.heads; h += batch) {
      const MatrixView query = {queries + first * stride + h * size, static_cast<int64_t>(stride), head_step};
      const MatrixView key = {keys + h / group * size, static_cast<int64_t>(width), key_step};
      cublas.Multiply(query, key, true, count, depth, columns, false, m.scores.get() + h * here * seen,
                      static_cast<int64_t>(seen), score_step, static_cast<int>(batch));
    }
    Check(LaunchSoftmax(m.scores.get(), static_cast<int>(n.heads), count, columns, static_cast<int>(length_ + first),
                        static_cast<int>(n.window), stream));
    for (size_t h = 0; h < n.heads; h += batch) {
      const MatrixView share = {m.scores.get() + h * here * seen, static_cast<int64_t>(seen), score_step};
      const MatrixView value = {values + h / group * size, static_cast<int64_t>(width), key_step};
      cublas.Multiply(share, value, false, count, columns, depth, false,
                      m.attended.get() + first * Queries(n) + h * size, static_cast<int64_t>(Queries(n)), head_step,
                      static_cast<int>(batch));
    }
  }
}

void DecoderSession::WriteRows(size_t first, size_t rows, DecoderOutput output, const int32_t* targets, float* result) {
  const DecoderNumbers& n = model_->numbers;
  cudaStream_t const stream = model_->stream;
  RowsMemory& m = model_->rows;
  m.logits.Grow(std::min(kLogitRows, rows) * n.vocabulary);
  for (size_t at = 0; at < rows; at += kLogitRows) {
    const size_t here = std::min(kLogitRows, rows - at);
    const int count = static_cast<int>(here);
    const float* const x = m.x.get() + (first + at) * n.hidden;
    if (here == 1) {
      Check(cudaMemcpyAsync(x_.get(), x, n.hidden * sizeof(float), cudaMemcpyDeviceToDevice, stream));
      Multiply(NormedRow(x_.get(), model_->final_norm), {&model_->head}, false, m.logits.get());
    } else {
      Check(LaunchNormRows(x, model_->final_norm, count, static_cast<int>(n.hidden), n.epsilon, m.normed.get(), stream));
      ProjectRows(model_->head, m.normed.get(), here, false, m.logits.get());
    }
    if (output != DecoderOutput::kScores) {
      Download(result + at * n.vocabulary, m.logits.get(), here * n.vocabulary, stream);
      continue;
    }
    m.targets.Grow(here);
    m.likelihoods.Grow(here);
    Upload(m.targets.get(), targets + at, here, stream);
    Check(LaunchLikelihoods(m.logits.get(), m.targets.get(), count, static_cast<int>(n.vocabulary), m.likelihoods.get(),
                            stream));
    Download(result + at, m.likelihoods.get(), here, stream);
  }
}

}  // namespace sparsify::cuda
