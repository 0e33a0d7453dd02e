// How the weights of a Dense layer, or of an embedding, lie in memory: alike on every target, each in memory of its own.
#ifndef SPARSIFY_SHARED_STORED_KERNEL_H_
#define SPARSIFY_SHARED_STORED_KERNEL_H_

#include <cstddef>
#include <cstdint>

namespace sparsify {

// The upper half of a float.
using BFloat16 = uint16_t;

enum class Storage : uint8_t { kFloat32, kBfloat16, kInt8 };

// A matrix of weights, row by row. A number q of an INT8 matrix stands for scale * (q - zero_point). A kernel has a scale and a
// zero point for each column, an embedding has them for each row.
struct StoredKernel {
  const void* data = nullptr;  // null: there is no matrix
  Storage storage = Storage::kFloat32;
  size_t stride = 0;                  // numbers from one row to the next
  const float* scale = nullptr;       // only of INT8
  const float* zero_point = nullptr;  // only of INT8

  static StoredKernel Floats(const float* data, size_t stride) { return {data, Storage::kFloat32, stride}; }
  static StoredKernel Narrow(const BFloat16* data, size_t stride) { return {data, Storage::kBfloat16, stride}; }
  static StoredKernel Int8(const int8_t* data, size_t stride, const float* scale, const float* zero_point) {
    return {data, Storage::kInt8, stride, scale, zero_point};
  }

  // The numbers, for the storage of that name.
  const float* floats() const { return static_cast<const float*>(data); }
  const BFloat16* narrow() const { return static_cast<const BFloat16*>(data); }
  const int8_t* int8() const { return static_cast<const int8_t*>(data); }

  bool is_float() const { return storage == Storage::kFloat32; }
  bool is_narrow() const { return storage == Storage::kBfloat16; }
  bool is_int8() const { return storage == Storage::kInt8; }

  size_t row_bytes() const {
    return stride * (is_int8() ? sizeof(int8_t) : is_narrow() ? sizeof(BFloat16) : sizeof(float));
  }
};

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_STORED_KERNEL_H_
