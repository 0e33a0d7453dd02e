#include "decoder-model.h"

#include <algorithm>

namespace sparsify::cuda {
namespace {

// Rows of packed kernels begin at multiples of so many bytes.
constexpr size_t kRowBytes = 16;

size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

std::vector<int64_t> Shape(std::initializer_list<size_t> dims) { return {dims.begin(), dims.end()}; }

bool IsEmpty(const DecoderTensor& tensor) {
  return std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
}

void CheckShape(const std::string& name, const DecoderTensor& tensor, const std::vector<int64_t>& shape) {
  if (tensor.shape == shape) return;
  throw DecoderProblem(name + " has shape " + ShapeText(tensor.shape) + ", expected " + ShapeText(shape));
}

}  // namespace

class DecoderModel::Reader {
 public:
  Reader(DecoderModel& model, const std::vector<DecoderTensor>& tensors, const std::vector<DecoderTensor>& words)
      : model_(model), tensors_(tensors), words_(words) {}

  const float* Tensor(const std::string& name, std::initializer_list<size_t> dims, bool optional = false) {
    const DecoderTensor& tensor = Next(name);
    if (optional && IsEmpty(tensor)) return nullptr;
    CheckShape(name, tensor, Shape(dims));
    model_.owners_.push_back(tensor.owner);
    return tensor.data;
  }

  // Of `rows` by `columns` numbers in INT8; `channels` rows or columns have a scale each.
  DecoderDense Int8(const std::string& name, size_t rows, size_t columns, size_t channels) {
    if (next_words_ == words_.size()) throw DecoderProblem("there is no tensor for " + name);
    const DecoderTensor& words = words_[next_words_++];
    const size_t stride = RoundUp(columns, kRowBytes);
    CheckShape(name, words, Shape({rows, stride / sizeof(float)}));
    model_.owners_.push_back(words.owner);
    DecoderDense dense;
    dense.kernel = words.data;
    dense.storage = Storage::kInt8;
    dense.stride = static_cast<int64_t>(stride);
    dense.scale = Tensor("the scale of " + name, {channels});
    dense.zero_point = Tensor("the zero point of " + name, {channels});
    return dense;
  }

  DecoderDense Dense(const std::string& name, size_t inputs, size_t units) {
    if (inputs > static_cast<size_t>(kMaxInputs)) throw DecoderProblem(name + " has more than 2^24 inputs");
    const float* const kernel = Tensor(name, {inputs, units}, true);
    const size_t owner = model_.owners_.size() - 1;  // of the kernel, if there is one
    const float* const bias = Tensor("the bias of " + name, {units}, true);
    DecoderDense dense;
    if (kernel == nullptr) {
      dense = Int8(name, inputs, units, units);
    } else if (model_.numbers.narrow) {
      dense = Narrowed(kernel, inputs, units);
      model_.owners_[owner].reset();
    } else {
      dense.kernel = kernel;
      dense.stride = static_cast<int64_t>(units);
    }
    dense.bias = bias;
    dense.inputs = static_cast<int>(inputs);
    dense.units = static_cast<int>(units);
    dense.id = static_cast<int>(model_.dense_count++);
    model_.inputs.push_back(dense.inputs);
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
  const DecoderTensor& Next(const std::string& name) {
    if (at_ == tensors_.size()) throw DecoderProblem("there is no tensor for " + name);
    return tensors_[at_++];
  }

  DecoderDense Narrowed(const float* kernel, size_t inputs, size_t units) {
    DecoderDense dense;
    const size_t stride = RoundUp(units, kRowBytes);
    DeviceArray<uint16_t>& narrow = model_.narrowed_.emplace_back(inputs * stride);
    dense.kernel = narrow.get();
    dense.storage = Storage::kBfloat16;
    dense.stride = static_cast<int64_t>(stride);
    Check(LaunchNarrow(kernel, static_cast<int64_t>(inputs), static_cast<int>(units), dense.stride, narrow.get(),
                       model_.stream));
    // The kernel may be freed when this returns to TensorFlow.
    Check(cudaStreamSynchronize(model_.stream));
    return dense;
  }

  DecoderModel& model_;
  const std::vector<DecoderTensor>& tensors_;
  const std::vector<DecoderTensor>& words_;
  size_t at_ = 0, next_words_ = 0;
};

DecoderModel::DecoderModel(const std::vector<float>& description, const std::vector<DecoderTensor>& tensors,
                           const std::vector<DecoderTensor>& words)
    : numbers(ReadDecoderNumbers(description.data(), {static_cast<int64_t>(description.size())})) {
  const DecoderNumbers& n = numbers;
  if (n.experts != 0) throw DecoderProblem("a mixture of experts cannot be decoded by the CUDA kernels");
  if (n.head_size > static_cast<size_t>(kMaxHeadSize)) {
    throw DecoderProblem("heads of " + std::to_string(n.head_size) + " are too large; at most " +
                         std::to_string(kMaxHeadSize));
  }
  Check(cudaGetDevice(&device_id));
  Check(CurrentDevice(&device));
  Check(cudaDeviceSynchronize());  // the tensors are what TensorFlow's stream has made of them
  frequencies.Grow(n.head_size / 2);
  Check(cudaMemcpyAsync(frequencies.get(), description.data() + DecoderNumbers::kCount, n.head_size / 2 * sizeof(float),
                        cudaMemcpyHostToDevice, stream));
  const size_t queries = n.heads * n.head_size, keys = n.key_heads * n.head_size;
  Reader reader(*this, tensors, words);
  const float* const table = reader.Tensor("the embedding", {n.vocabulary, n.hidden}, true);
  DecoderDense int8_table;
  if (table == nullptr && !n.tied) int8_table = reader.Int8("the embedding", n.vocabulary, n.hidden, n.vocabulary);
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
    layer.gate_up = reader.DenseGroup("gate or up" + at, n.hidden, {n.intermediate, n.intermediate});
    layer.down = reader.Dense("down" + at, n.intermediate, n.hidden);
    layers.push_back(std::move(layer));
  }
  head = reader.Dense("the head", n.hidden, n.vocabulary);
  reader.CheckEnd();
  if (n.tied) {
    embedding = {head.kernel, head.storage, 1, head.stride, head.scale, head.zero_point, n.embedding_scale};
  } else if (table != nullptr) {
    const auto hidden = static_cast<int64_t>(n.hidden);
    embedding = {table, Storage::kFloat32, hidden, 1, nullptr, nullptr, n.embedding_scale};
  } else {
    embedding = {int8_table.kernel, Storage::kInt8,        int8_table.stride, 1,
                 int8_table.scale,  int8_table.zero_point, n.embedding_scale};
  }
  Check(cudaStreamSynchronize(stream));
}

// Before the weights that it may still read are given back.
DecoderModel::~DecoderModel() { cudaStreamSynchronize(stream); }

}  // namespace sparsify::cuda
