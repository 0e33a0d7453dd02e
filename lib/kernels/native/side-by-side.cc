#include "side-by-side.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "int8-loops.h"
#include "page-arena.h"

namespace sparsify {
namespace {

// Longer rows are read at the rate of long ones.
constexpr size_t kLongRow = 2048;

// Models whose copies would be larger go without.
constexpr size_t kMostBytes = 256 << 20;

// Columns that an INT4 kernel can be cut at.
constexpr size_t kInt4Columns = 16;

struct Group {
  std::vector<DecoderDense>* parts;
  DecoderDense* whole;

  size_t units() const {
    size_t all = 0;
    for (const DecoderDense& part : *parts) all += part.units;
    return all;
  }
  size_t bytes() const {
    size_t all = 0;
    for (const DecoderDense& part : *parts) all += part.inputs * part.kernel.row_bytes();
    return all;
  }
};

// Whether the product of all of them is that of each.
bool FitTogether(const std::vector<DecoderDense>& parts) {
  const StoredKernel& first = parts[0].kernel;
  return parts.size() > 1 && first.is_quantized() && std::all_of(parts.begin(), parts.end(), [&](const DecoderDense& part) {
    const StoredKernel& kernel = part.kernel;
    if (kernel.storage != first.storage || kernel.row_bytes() >= kLongRow) return false;
    // Weights of small kernels are rounded.
    if (part.inputs * part.units <= kRoundedWeights) return false;
    if (kernel.is_int8()) return kernel.stride == part.units;
    return part.units % kInt4Columns == 0 && kernel.groups.size == first.groups.size &&
           (kernel.groups.minimum == nullptr) == (first.groups.minimum == nullptr) &&
           (kernel.groups.zero_point == nullptr) == (first.groups.zero_point == nullptr);
  });
}

std::vector<Group> GroupsOf(std::vector<DecoderLayer>& layers) {
  std::vector<Group> groups;
  size_t bytes = 0;
  const auto add = [&](std::vector<DecoderDense>& parts, DecoderDense& whole) {
    if (!FitTogether(parts)) return;
    groups.push_back({&parts, &whole});
    bytes += groups.back().bytes();
  };
  for (DecoderLayer& layer : layers) {
    add(layer.qkv, layer.qkv_whole);
    for (FeedForward& feed : layer.feeds) add(feed.gate_up, feed.gate_up_whole);
  }
  if (bytes > kMostBytes) groups.clear();
  return groups;
}

// A copy of the kernels and biases of all groups.
struct Copy {
  PageArena memory;
  std::vector<DecoderDense> wholes;

  template <class T>
  T* Allocate(size_t count) {
    return static_cast<T*>(memory.Allocate(count * sizeof(T)));
  }
};

void CopyRows(const void* from, size_t from_stride, size_t rows, size_t bytes, void* to, size_t to_stride) {
  for (size_t row = 0; row < rows; row++) {
    std::memcpy(static_cast<char*>(to) + row * to_stride, static_cast<const char*>(from) + row * from_stride, bytes);
  }
}

StoredKernel CopyInt8(const Group& group, size_t units, Copy& copy) {
  const size_t inputs = (*group.parts)[0].inputs;
  auto* const values = copy.Allocate<int8_t>(inputs * units);
  auto* const scale = copy.Allocate<float>(units);
  auto* const zero_point = copy.Allocate<float>(units);
  size_t first = 0;
  for (const DecoderDense& part : *group.parts) {
    CopyRows(part.kernel.data, part.kernel.stride, inputs, part.units, values + first, units);
    std::copy_n(part.kernel.scale, part.units, scale + first);
    std::copy_n(part.kernel.zero_point, part.units, zero_point + first);
    first += part.units;
  }
  return StoredKernel::Int8(values, units, scale, zero_point);
}

StoredKernel CopyInt4(const Group& group, size_t units, Copy& copy) {
  const size_t inputs = (*group.parts)[0].inputs;
  const Int4Groups& given = (*group.parts)[0].kernel.groups;
  const size_t stride = StoredKernel::Int4Stride(units), count = inputs / given.size;
  Int4Groups groups;
  groups.size = given.size;
  groups.stride = Int4Groups::Stride(units);
  auto* const values = copy.Allocate<uint8_t>(inputs * stride);
  auto* const scale = copy.Allocate<Float16Bits>(count * groups.stride);
  auto* const minimum = given.minimum ? copy.Allocate<Float16Bits>(count * groups.stride) : nullptr;
  auto* const zero_point = given.zero_point ? copy.Allocate<uint8_t>(count * stride) : nullptr;
  size_t first = 0;
  for (const DecoderDense& part : *group.parts) {
    const StoredKernel& kernel = part.kernel;
    const size_t half_bytes = part.units * sizeof(Float16Bits);
    const size_t from = kernel.groups.stride * sizeof(Float16Bits), to = groups.stride * sizeof(Float16Bits);
    CopyRows(kernel.data, kernel.stride, inputs, part.units / 2, values + first / 2, stride);
    CopyRows(kernel.groups.scale, from, count, half_bytes, scale + first, to);
    if (minimum) CopyRows(kernel.groups.minimum, from, count, half_bytes, minimum + first, to);
    if (zero_point) CopyRows(kernel.groups.zero_point, kernel.stride, count, part.units / 2, zero_point + first / 2, stride);
    first += part.units;
  }
  groups.scale = scale;
  groups.minimum = minimum;
  groups.zero_point = zero_point;
  return StoredKernel::Int4(values, stride, groups);
}

std::shared_ptr<Copy> CopyOf(const std::vector<Group>& groups) {
  auto copy = std::make_shared<Copy>();
  for (const Group& group : groups) {
    DecoderDense whole = (*group.parts)[0];
    whole.units = group.units();
    whole.kernel = whole.kernel.is_int8() ? CopyInt8(group, whole.units, *copy) : CopyInt4(group, whole.units, *copy);
    const bool has_bias =
        std::any_of(group.parts->begin(), group.parts->end(), [](const DecoderDense& part) { return part.bias != nullptr; });
    float* const bias = has_bias ? copy->Allocate<float>(whole.units) : nullptr;
    size_t first = 0;
    for (const DecoderDense& part : *group.parts) {
      if (part.bias) std::copy_n(part.bias, part.units, bias + first);
      first += part.units;
    }
    whole.bias = bias;
    copy->wholes.push_back(whole);
  }
  return copy;
}

// Columns from `first` on.
StoredKernel ColumnsOf(const StoredKernel& whole, size_t first) {
  if (whole.is_int8()) {
    return StoredKernel::Int8(whole.int8() + first, whole.stride, whole.scale + first, whole.zero_point + first);
  }
  Int4Groups groups = whole.groups;
  groups.scale += first;
  if (groups.minimum) groups.minimum += first;
  if (groups.zero_point) groups.zero_point += first / 2;
  return StoredKernel::Int4(whole.int4() + first / 2, whole.stride, groups);
}

// By all that it was made of. A copy lives as long as models that keep the kernels it was made of, so these are where they were.
std::shared_ptr<Copy> SharedCopyOf(const std::vector<Group>& groups) {
  static auto* const mutex = new std::mutex;
  static auto* const copies = new std::map<std::vector<const void*>, std::weak_ptr<Copy>>;
  std::vector<const void*> key;
  for (const Group& group : groups) {
    for (const DecoderDense& part : *group.parts) {
      for (const void* const data : {part.kernel.data, static_cast<const void*>(part.kernel.scale),
                                     static_cast<const void*>(part.kernel.groups.scale), static_cast<const void*>(part.bias)}) {
        key.push_back(data);
      }
    }
  }
  const std::lock_guard<std::mutex> lock(*mutex);
  for (auto entry = copies->begin(); entry != copies->end();) entry = entry->second.expired() ? copies->erase(entry) : ++entry;
  std::shared_ptr<Copy> copy = (*copies)[key].lock();
  if (!copy) {
    copy = CopyOf(groups);
    (*copies)[key] = copy;
  }
  return copy;
}

}  // namespace

std::shared_ptr<void> LaySideBySide(std::vector<DecoderLayer>& layers) {
  const std::vector<Group> groups = GroupsOf(layers);
  if (groups.empty()) return nullptr;
  const std::shared_ptr<Copy> copy = SharedCopyOf(groups);
  for (size_t i = 0; i < groups.size(); i++) {
    const DecoderDense& whole = *groups[i].whole = copy->wholes[i];
    size_t first = 0;
    for (DecoderDense& part : *groups[i].parts) {
      part.kernel = ColumnsOf(whole.kernel, first);
      first += part.units;
    }
  }
  return copy;
}

}  // namespace sparsify
