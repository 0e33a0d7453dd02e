#include "decoder-token-pass.h"

#include <algorithm>

namespace sparsify::cuda {
namespace {

std::vector<const DecoderDense*> Pointers(const std::vector<DecoderDense>& layers) {
  std::vector<const DecoderDense*> pointers;
  for (const DecoderDense& dense : layers) pointers.push_back(&dense);
  return pointers;
}

Row NormedRow(const DecoderNumbers& numbers, const float* x, const float* norm) {
  return {RowKind::kNormed, x, norm, numbers.epsilon, numbers.activation};
}

}  // namespace

TokenPass::TokenPass(const DecoderModel& model) : host_logits_(model.numbers.vocabulary) {
  const DecoderNumbers& n = model.numbers;
  const size_t projected = n.queries() + 2 * n.keys();
  const size_t widest = std::max({projected, 2 * n.intermediate, n.vocabulary, n.hidden});
  x_.Grow(n.hidden);
  cos_.Grow(n.head_size / 2);
  sin_.Grow(n.head_size / 2);
  qkv_.Grow(projected);
  attended_.Grow(n.queries());
  gate_up_.Grow(2 * n.intermediate);
  logits_.Grow(n.vocabulary);
  product_workspace_.Grow(RowWorkspaceBytes(static_cast<int>(widest), model.device) / sizeof(float));
  const size_t bytes = AttentionWorkspaceBytes(HeadsOf(n, model.layers[0], nullptr, nullptr), model.device);
  attention_workspace_.Grow(bytes);
  Check(cudaMemset(attention_workspace_.get(), 0, bytes));
  Check(cudaDeviceSynchronize());
}

TokenPass::~TokenPass() { DropGraph(); }

void TokenPass::DropGraph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  graph_ = nullptr;
}

void TokenPass::Compute(const DecoderModel& model, const DecoderCache& cache, PassInput& input) {
  cudaStream_t const stream = model.stream;
  if (graph_ == nullptr) {
    // Other threads, TensorFlow's, may call CUDA meanwhile.
    Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      Enqueue(model, cache, input);
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

void TokenPass::Enqueue(const DecoderModel& model, const DecoderCache& cache, PassInput& input) const {
  const DecoderNumbers& n = model.numbers;
  cudaStream_t const stream = model.stream;
  input.Begin(1, stream);
  Check(LaunchEmbed(model.token_embedding, input.tokens(), 1, static_cast<int>(n.hidden),
                    AnglesOf(model, cos_.get(), sin_.get()), x_.get(), stream));
  float* const keys = qkv_.get() + n.queries();
  const Row attended = {RowKind::kPlain, attended_.get(), nullptr, 0, n.activation};
  const Row gated = {RowKind::kGated, gate_up_.get(), gate_up_.get() + n.intermediate, 0, n.activation};
  for (size_t l = 0; l < n.layers; l++) {
    const DecoderLayer& layer = model.layers[l];
    const FeedForward& feed = layer.feeds[0];
    Multiply(model, input, NormedRow(n, x_.get(), layer.input_norm), Pointers(layer.qkv), false, qkv_.get());
    Check(LaunchTokenAttention(
        {HeadsOf(n, layer, cos_.get(), sin_.get()), qkv_.get(), keys, keys + n.keys(), cache.Layer(l),
         input.tokens().position, attention_workspace_.get(), attended_.get()},
        model.device, stream));
    Multiply(model, input, attended, {&layer.output}, true, x_.get());
    Multiply(model, input, NormedRow(n, x_.get(), layer.feed_norm), Pointers(feed.gate_up), false, gate_up_.get());
    Multiply(model, input, gated, {&feed.down}, true, x_.get());
  }
  Multiply(model, input, NormedRow(n, x_.get(), model.final_norm), {&model.head}, false, logits_.get());
  Download(host_logits_.get(), logits_.get(), n.vocabulary, stream);
  input.End(stream);
}

void TokenPass::Logits(const DecoderModel& model, const PassInput& input, const float* x, float* logits) const {
  const DecoderNumbers& n = model.numbers;
  Check(cudaMemcpyAsync(x_.get(), x, n.hidden * sizeof(float), cudaMemcpyDeviceToDevice, model.stream));
  Multiply(model, input, NormedRow(n, x_.get(), model.final_norm), {&model.head}, false, logits);
}

// The layers' results lie one after another in y.
void TokenPass::Multiply(const DecoderModel& model, const PassInput& input, const Row& row,
                         const std::vector<const DecoderDense*>& layers, bool add, float* y) const {
  RowProducts products = {};
  products.row = row;
  products.add = add;
  for (const DecoderDense* dense : layers) {
    products.dense[products.count] = dense;
    products.y[products.count++] = y;
    y += dense->units;
  }
  Check(LaunchRowProducts(products, input.masking(), model.device, product_workspace_.get(), model.stream));
}

}  // namespace sparsify::cuda
