#include "decoder-model.h"

#include <algorithm>

#include "pool.h"

namespace sparsify {
namespace {

std::vector<int64_t> Shape(std::initializer_list<size_t> dims) { return {dims.begin(), dims.end()}; }

bool IsEmpty(const DecoderTensor& tensor) {
  return std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
}

// Large enough for a task, small enough that all threads get some.
constexpr size_t kFloatsATask = 256 * 1024;

void NarrowAll(const float* data, size_t size, BFloat16* narrow) {
  Pool::Get().ForEach(static_cast<uint32_t>((size + kFloatsATask - 1) / kFloatsATask), true, [&](size_t task) {
    const size_t first = task * kFloatsATask;
    Narrow(data + first, std::min(kFloatsATask, size - first), narrow + first);
  });
}

}  // namespace

class DecoderModel::Reader {
 public:
  Reader(DecoderModel& model, const std::vector<DecoderTensor>& tensors, const std::vector<DecoderWords>& words)
      : model_(model), tensors_(tensors), words_(words) {}

  const float* Tensor(const std::string& name, std::initializer_list<size_t> dims, bool optional = false) {
    if (at_ == tensors_.size()) throw DecoderProblem("there is no tensor for " + name);
    const DecoderTensor& tensor = tensors_[at_++];
    if (optional && IsEmpty(tensor)) return nullptr;
    if (tensor.shape != Shape(dims)) {
      throw DecoderProblem(name + " has shape " + ShapeText(tensor.shape) + ", expected " + ShapeText(Shape(dims)));
    }
    model_.owners_.push_back(tensor.owner);
    return tensor.data;
  }

  // `channels` rows or columns have a scale each.
  Int8Kernel Int8(const std::string& name, size_t rows, size_t columns, size_t channels) {
    if (next_words_ == words_.size()) throw DecoderProblem("there is no tensor for " + name);
    const DecoderWords& words = words_[next_words_++];
    const size_t row_words = (columns + 3) / 4;
    if (words.shape != Shape({rows, row_words})) {
      throw DecoderProblem(name + " has shape " + ShapeText(words.shape) + ", expected " +
                           ShapeText(Shape({rows, row_words})));
    }
    model_.owners_.push_back(words.owner);
    const float* const scale = Tensor("the scale of " + name, {channels});
    return {words.data, row_words * 4, scale, Tensor("the zero point of " + name, {channels})};
  }

  DecoderDense Dense(const std::string& name, size_t inputs, size_t units) {
    DecoderDense dense;
    const size_t kernel_owner = model_.owners_.size();
    dense.kernel = Tensor(name, {inputs, units}, true);
    dense.bias = Tensor("the bias of " + name, {units}, true);
    dense.inputs = inputs;
    dense.units = units;
    dense.id = model_.dense_count++;
    if (dense.kernel == nullptr) {
      dense.int8 = Int8(name, inputs, units, units);
    } else if (model_.numbers.narrow) {
      const size_t size = inputs * units;
      auto* const narrow = static_cast<BFloat16*>(model_.narrowed_.Allocate(size * sizeof(BFloat16)));
      NarrowAll(dense.kernel, size, narrow);
      model_.owners_[kernel_owner].reset();
      dense.kernel = nullptr;
      dense.narrow = narrow;
    }
    return dense;
  }

  std::vector<DecoderDense> DenseGroup(const std::string& name, size_t inputs, std::vector<size_t> units) {
    std::vector<DecoderDense> group;
    if (model_.numbers.fused) {
      size_t all = 0;
      for (const size_t count : units) all += count;
      units = {all};
    }
    for (const size_t count : units) group.push_back(Dense(name, inputs, count));
    return group;
  }

  void CheckEnd() const {
    if (at_ != tensors_.size()) {
      throw DecoderProblem(std::to_string(tensors_.size()) + " tensors, expected " + std::to_string(at_));
    }
    if (next_words_ != words_.size()) {
      throw DecoderProblem(std::to_string(words_.size()) + " INT8 tensors, expected " + std::to_string(next_words_));
    }
  }

 private:
  DecoderModel& model_;
  const std::vector<DecoderTensor>& tensors_;
  const std::vector<DecoderWords>& words_;
  size_t at_ = 0, next_words_ = 0;
};

DecoderModel::DecoderModel(const DecoderTensor& description, const std::vector<DecoderTensor>& tensors,
                           const std::vector<DecoderWords>& words)
    : numbers(ReadDecoderNumbers(description.data, description.shape)) {
  const DecoderNumbers& n = numbers;
  const float* const frequency = description.data + DecoderNumbers::kCount;
  frequencies.assign(frequency, frequency + n.head_size / 2);
  const size_t queries = n.heads * n.head_size, keys = n.key_heads * n.head_size;
  Reader reader(*this, tensors, words);
  embedding = reader.Tensor("the embedding", {n.vocabulary, n.hidden}, true);
  if (embedding == nullptr && !n.tied) {
    int8_embedding = reader.Int8("the embedding", n.vocabulary, n.hidden, n.vocabulary);
  }
  final_norm = reader.Tensor("the final norm", {n.hidden});
  for (size_t l = 0; l < n.layers; l++) {
    const std::string at = " of layer " + std::to_string(l);
    DecoderLayer layer{};
    layer.input_norm = reader.Tensor("the input norm" + at, {n.hidden});
    layer.qkv = reader.DenseGroup("a projection of q, k, v" + at, n.hidden, {queries, keys, keys});
    layer.query_norm = reader.Tensor("the norm of queries" + at, {n.head_size}, true);
    layer.key_norm = reader.Tensor("the norm of keys" + at, {n.head_size}, true);
    layer.output = reader.Dense("the output projection" + at, queries, n.hidden);
    layer.feed_norm = reader.Tensor("the second norm" + at, {n.hidden});
    if (n.experts != 0) layer.router = reader.Dense("the router" + at, n.hidden, n.experts);
    for (size_t e = 0; e < std::max<size_t>(1, n.experts); e++) {
      FeedForward feed;
      feed.gate_up = reader.DenseGroup("gate or up" + at, n.hidden, {n.intermediate, n.intermediate});
      feed.down = reader.Dense("down" + at, n.intermediate, n.hidden);
      layer.feeds.push_back(std::move(feed));
    }
    for (const DecoderDense& dense : layer.qkv) bytes_a_token += dense.bytes();
    bytes_a_token += layer.output.bytes() + layer.router.bytes();
    for (size_t e = 0; e < std::max<size_t>(1, n.experts_per_token); e++) {
      for (const DecoderDense& dense : layer.feeds[e].gate_up) bytes_a_token += dense.bytes();
      bytes_a_token += layer.feeds[e].down.bytes();
    }
    layers.push_back(std::move(layer));
  }
  head = reader.Dense("the head", n.hidden, n.vocabulary);
  bytes_a_token += head.bytes();
  reader.CheckEnd();
}

std::vector<MemoryRange> DecoderModel::InPlace() const {
  std::vector<MemoryRange> ranges;
  const auto add = [&ranges](const DecoderDense& dense) {
    const auto first = dense.int8.values ? reinterpret_cast<uintptr_t>(dense.int8.values)
                                         : reinterpret_cast<uintptr_t>(dense.kernel);
    if (first == 0) return;
    ranges.push_back({first, first + dense.bytes()});
  };
  for (const DecoderLayer& layer : layers) {
    for (const DecoderDense& dense : layer.qkv) add(dense);
    add(layer.output);
    for (const FeedForward& feed : layer.feeds) {
      for (const DecoderDense& dense : feed.gate_up) add(dense);
      add(feed.down);
    }
  }
  add(head);
  return ranges;
}

}  // namespace sparsify
