// How the weights of a Dense layer, or of an embedding, lie in memory: alike on every target, each in memory of its own.
#ifndef SPARSIFY_SHARED_STORED_KERNEL_H_
#define SPARSIFY_SHARED_STORED_KERNEL_H_

#include <cstddef>
#include <cstdint>

namespace sparsify {

// The upper half of a float.
using BFloat16 = uint16_t;

// A number of float16, by its bits.
using Float16Bits = uint16_t;

enum class Storage : uint8_t { kFloat32, kBfloat16, kInt8, kInt4 };

// What an INT4 matrix has for each group of so many rows, one such group after the other. A number q stands for
// scale * q + minimum where there are minimums, else for scale * (q - zero_point), of which the zero point is 8 where there are
// none.
struct Int4Groups {
  size_t size = 0;  // rows
  const Float16Bits* scale = nullptr;
  const Float16Bits* minimum = nullptr;   // or null
  const uint8_t* zero_point = nullptr;    // laid like rows of the matrix, or null
  size_t stride = 0;                      // scales, or minimums, from one group to the next

  static size_t Stride(size_t columns) { return (columns + 1) / 2 * 2; }
};

// A matrix of weights, row by row. A number q of an INT8 matrix stands for scale * (q - zero_point). A kernel has a scale and a
// zero point for each column, an embedding has them for each row.
//
// Every 8 bytes of a row of an INT4 matrix hold 16 columns: byte j has column j in its lower half and column 8 + j in its upper one.
// An INT4 embedding is a matrix [width, words], so that it can be the kernel of a head as well.
struct StoredKernel {
  const void* data = nullptr;  // null: there is no matrix
  Storage storage = Storage::kFloat32;
  size_t stride = 0;                  // numbers from one row to the next; bytes of INT4
  const float* scale = nullptr;       // only of INT8
  const float* zero_point = nullptr;  // only of INT8
  Int4Groups groups = {};             // only of INT4

  static StoredKernel Floats(const float* data, size_t stride) { return {data, Storage::kFloat32, stride}; }
  static StoredKernel Narrow(const BFloat16* data, size_t stride) { return {data, Storage::kBfloat16, stride}; }
  static StoredKernel Int8(const int8_t* data, size_t stride, const float* scale, const float* zero_point) {
    return {data, Storage::kInt8, stride, scale, zero_point};
  }
  static StoredKernel Int4(const uint8_t* data, size_t stride, const Int4Groups& groups) {
    return {data, Storage::kInt4, stride, nullptr, nullptr, groups};
  }

  // Bytes of an INT4 row of so many columns. They are 64 more where rows would compete for the same places of the caches.
  static size_t Int4Stride(size_t columns) {
    const size_t bytes = (columns + 15) / 16 * 8;
    return bytes % 2048 == 0 ? bytes + 64 : bytes;
  }

  // The numbers, for the storage of that name.
  const float* floats() const { return static_cast<const float*>(data); }
  const BFloat16* narrow() const { return static_cast<const BFloat16*>(data); }
  const int8_t* int8() const { return static_cast<const int8_t*>(data); }
  const uint8_t* int4() const { return static_cast<const uint8_t*>(data); }

  bool is_float() const { return storage == Storage::kFloat32; }
  bool is_narrow() const { return storage == Storage::kBfloat16; }
  bool is_int8() const { return storage == Storage::kInt8; }
  bool is_int4() const { return storage == Storage::kInt4; }
  // Whether it holds steps that scales make weights of.
  bool is_quantized() const { return is_int8() || is_int4(); }

  size_t row_bytes() const {
    return stride * (is_quantized() ? sizeof(int8_t) : is_narrow() ? sizeof(BFloat16) : sizeof(float));
  }
};

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_STORED_KERNEL_H_
