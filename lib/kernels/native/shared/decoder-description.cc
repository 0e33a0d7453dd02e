#include "decoder-description.h"

#include <algorithm>
#include <initializer_list>
#include <string>

namespace sparsify {
namespace {

// INT8 numbers of a word.
constexpr size_t kWordNumbers = 4;

size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

template <class T>
void CheckShape(const std::string& name, const OwnedArray<T>& array, std::initializer_list<size_t> dims) {
  const std::vector<int64_t> shape(dims.begin(), dims.end());
  if (array.shape == shape) return;
  Fail(name + " has shape " + ShapeText(array.shape) + ", expected " + ShapeText(shape));
}

template <class T>
const OwnedArray<T>& Next(const std::string& name, const std::vector<OwnedArray<T>>& arrays, size_t& at) {
  if (at == arrays.size()) Fail("there is no tensor for " + name);
  return arrays[at++];
}

}  // namespace

class DecoderDescription::Reader {
 public:
  Reader(DecoderDescription& model, const std::vector<DecoderTensor>& tensors, const std::vector<DecoderWords>& words,
         const DecoderMemory& memory)
      : model_(model), tensors_(tensors), words_(words), memory_(memory) {}

  const float* Tensor(const std::string& name, std::initializer_list<size_t> dims) {
    return Keep(Checked(name, dims, false));
  }
  // Null if the model does not have it.
  const float* Optional(const std::string& name, std::initializer_list<size_t> dims) {
    return Keep(Checked(name, dims, true));
  }

  StoredKernel Embedding() {
    const DecoderNumbers& n = model_.numbers;
    const float* const table = Optional("the embedding", {n.vocabulary, n.hidden});
    if (table != nullptr || n.tied) return StoredKernel::Floats(table, n.hidden);
    if (IsInt4Next()) return Int4("the embedding", n.hidden, n.vocabulary);
    return Int8("the embedding", n.vocabulary, n.hidden, n.vocabulary);
  }

  DecoderDense Dense(const std::string& name, size_t inputs, size_t units) {
    DecoderDense dense;
    const DecoderTensor kernel = Checked(name, {inputs, units}, true);
    dense.bias = Optional("the bias of " + name, {units});
    dense.inputs = inputs;
    dense.units = units;
    dense.id = model_.inputs.size();
    model_.inputs.push_back(inputs);
    if (kernel.data == nullptr) {
      dense.kernel = IsInt4Next() ? Int4(name, inputs, units) : Int8(name, inputs, units, units);
    } else if (model_.numbers.narrow) {
      const size_t stride = RoundUp(units, memory_.narrow_step);
      dense.kernel = StoredKernel::Narrow(memory_.narrow(kernel.data, inputs, units, stride), stride);
    } else {
      dense.kernel = StoredKernel::Floats(Keep(kernel), units);
    }
    return dense;
  }

  // Dense layers that read the same, or the one that stands for them.
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
    if (next_tensor_ != tensors_.size()) {
      Fail(std::to_string(tensors_.size()) + " tensors, expected " + std::to_string(next_tensor_));
    }
    if (next_words_ != words_.size()) {
      Fail(std::to_string(words_.size()) + " packed tensors, expected " + std::to_string(next_words_));
    }
  }

 private:
  // The next tensor; without data if it is `optional` and not there.
  DecoderTensor Checked(const std::string& name, std::initializer_list<size_t> dims, bool optional) {
    const DecoderTensor& tensor = Next(name, tensors_, next_tensor_);
    if (optional && IsEmpty(tensor)) return {nullptr, tensor.shape, nullptr};
    CheckShape(name, tensor, dims);
    return tensor;
  }

  template <class T>
  const T* Keep(const OwnedArray<T>& array) {
    if (array.data != nullptr) model_.owners_.push_back(array.owner);
    return array.data;
  }

  // `channels` rows or columns have a scale and a zero point each.
  StoredKernel Int8(const std::string& name, size_t rows, size_t columns, size_t channels) {
    const DecoderWords& words = Next(name, words_, next_words_);
    const size_t stride = RoundUp(columns, memory_.int8_step);
    CheckShape(name, words, {rows, stride / kWordNumbers});
    const float* const scale = Tensor("the scale of " + name, {channels});
    return StoredKernel::Int8(Keep(words), stride, scale, Tensor("the zero point of " + name, {channels}));
  }

  // Whether the next tensor says that a matrix without data is INT4: of INT8 a scale would follow.
  bool IsInt4Next() {
    const bool is_int4 = next_tensor_ < tensors_.size() && IsEmpty(tensors_[next_tensor_]);
    if (is_int4) next_tensor_++;
    return is_int4;
  }

  template <class T>
  static bool IsEmpty(const OwnedArray<T>& array) {
    return std::find(array.shape.begin(), array.shape.end(), 0) != array.shape.end();
  }

  StoredKernel Int4(const std::string& name, size_t rows, size_t columns) {
    const size_t stride = RoundUp(StoredKernel::Int4Stride(columns), memory_.int4_step), words = stride / sizeof(int32_t);
    Int4Groups groups;
    groups.stride = RoundUp(Int4Groups::Stride(columns), memory_.int4_step / sizeof(Float16Bits));
    const size_t half_words = groups.stride / 2;
    const DecoderWords& values = Next(name, words_, next_words_);
    CheckShape(name, values, {rows, words});
    const DecoderWords& scale = Next("the scale of " + name, words_, next_words_);
    const size_t count = scale.shape.empty() ? 0 : static_cast<size_t>(scale.shape[0]);
    CheckShape("the scale of " + name, scale, {count, half_words});
    if (count == 0 || rows % count != 0) {
      Fail(name + " has " + std::to_string(rows) + " inputs in " + std::to_string(count) + " groups, which must divide them");
    }
    groups.size = rows / count;
    groups.scale = reinterpret_cast<const Float16Bits*>(Keep(scale));
    const DecoderWords& zero_point = Next("the zero point of " + name, words_, next_words_);
    if (!IsEmpty(zero_point)) {
      CheckShape("the zero point of " + name, zero_point, {count, words});
      groups.zero_point = reinterpret_cast<const uint8_t*>(Keep(zero_point));
    }
    const DecoderWords& minimum = Next("the minimum of " + name, words_, next_words_);
    if (!IsEmpty(minimum)) {
      CheckShape("the minimum of " + name, minimum, {count, half_words});
      groups.minimum = reinterpret_cast<const Float16Bits*>(Keep(minimum));
    }
    return StoredKernel::Int4(reinterpret_cast<const uint8_t*>(Keep(values)), stride, groups);
  }

  DecoderDescription& model_;
  const std::vector<DecoderTensor>& tensors_;
  const std::vector<DecoderWords>& words_;
  const DecoderMemory& memory_;
  size_t next_tensor_ = 0, next_words_ = 0;
};

DecoderDescription::DecoderDescription(const DecoderTensor& description)
    : numbers(ReadDecoderNumbers(description.data, description.shape)) {
  const float* const frequency = description.data + DecoderNumbers::kCount;
  frequencies.assign(frequency, frequency + numbers.head_size / 2);
}

void DecoderDescription::ReadWeights(const std::vector<DecoderTensor>& tensors, const std::vector<DecoderWords>& words,
                                     const DecoderMemory& memory) {
  const DecoderNumbers& n = numbers;
  Reader reader(*this, tensors, words, memory);
  embedding = reader.Embedding();
  final_norm = reader.Tensor("the final norm", {n.hidden});
  for (size_t l = 0; l < n.layers; l++) {
    const std::string at = " of layer " + std::to_string(l);
    DecoderLayer layer{};
    layer.input_norm = reader.Tensor("the input norm" + at, {n.hidden});
    layer.qkv = reader.DenseGroup("a projection of q, k, v" + at, n.hidden, {n.queries(), n.keys(), n.keys()});
    layer.query_norm = reader.Optional("the norm of queries" + at, {n.head_size});
    layer.key_norm = reader.Optional("the norm of keys" + at, {n.head_size});
    layer.output = reader.Dense("the output projection" + at, n.queries(), n.hidden);
    layer.feed_norm = reader.Tensor("the second norm" + at, {n.hidden});
    if (n.experts != 0) layer.router = reader.Dense("the router" + at, n.hidden, n.experts);
    for (size_t e = 0; e < std::max<size_t>(1, n.experts); e++) {
      FeedForward feed;
      feed.gate_up = reader.DenseGroup("gate or up" + at, n.hidden, {n.intermediate, n.intermediate});
      feed.down = reader.Dense("down" + at, n.intermediate, n.hidden);
      layer.feeds.push_back(std::move(feed));
    }
    layers.push_back(std::move(layer));
  }
  head = reader.Dense("the head", n.hidden, n.vocabulary);
  reader.CheckEnd();
}

ProjectionPlaces PlacesOfRows(const DecoderNumbers& n, size_t rows) {
  const size_t queries = n.queries(), keys = n.keys(), width = n.intermediate;
  if (n.fused) return {queries, queries + keys, queries + 2 * keys, queries + 2 * keys, width, 2 * width};
  return {rows * queries, rows * (queries + keys), queries, keys, rows * width, width};
}

}  // namespace sparsify
