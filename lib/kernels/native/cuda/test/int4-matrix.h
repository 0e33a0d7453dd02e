// Random INT4 matrices on the host and on the device, for the tests.
#ifndef SPARSIFY_CUDA_TEST_INT4_MATRIX_H_
#define SPARSIFY_CUDA_TEST_INT4_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../shared/stored-kernel.h"
#include "../../test/float16.h"
#include "device.h"

namespace sparsify::cuda {

enum class Int4Kind : uint8_t { kSymmetric, kAsymmetric, kMinimum };

// As the GPU has it: the rows of all parts padded to 16 bytes, behind the columns with bytes that must not matter.
struct Int4Matrix {
  Int4Matrix() = default;
  // Scales of about `size` / 8, a sixteenth of them so small that products are subnormal in float16; some negative.
  Int4Matrix(Random& random, size_t rows, size_t columns, size_t group_size, Int4Kind kind, float size)
      : kind(kind), rows(rows), columns(columns), group_size(group_size),
        stride((StoredKernel::Int4Stride(columns) + 15) / 16 * 16), half_stride((columns + 7) / 8 * 8),
        values(Bytes(random, rows * stride)), weights(rows * columns) {
    const size_t groups = rows / group_size;
    std::vector<double> scales(groups * columns), offsets(groups * columns, 8);
    scale.assign(groups * half_stride, 0x3c00);
    if (kind == Int4Kind::kAsymmetric) zero_point = Bytes(random, groups * stride);
    if (kind == Int4Kind::kMinimum) minimum.assign(groups * half_stride, 0x3c00);
    for (size_t g = 0; g < groups; g++) {
      for (size_t n = 0; n < columns; n++) {
        double& own = scales[g * columns + n];
        own = Half(size / 8 * (1 + 0.5f * random.Uniform()) * (n % 16 == 5 ? 0x1p-12f : 1) * (n % 7 == 3 ? -1 : 1));
        scale[g * half_stride + n] = HalfBits(own);
        double& offset = offsets[g * columns + n];
        if (kind == Int4Kind::kAsymmetric) offset = NibbleAt(zero_point, g, n);
        if (kind != Int4Kind::kMinimum) continue;
        offset = Half(size * (random.Uniform() + 1.25f));
        minimum[g * half_stride + n] = HalfBits(offset);
      }
    }
    for (size_t k = 0; k < rows; k++) {
      for (size_t n = 0; n < columns; n++) {
        const size_t group = k / group_size * columns + n;
        const int q = NibbleAt(values, k, n);
        weights[k * columns + n] = static_cast<float>(kind == Int4Kind::kMinimum
                                                          ? scales[group] * q + offsets[group]
                                                          : Half(scales[group] * (q - offsets[group])));
      }
    }
  }

  int NibbleAt(const std::vector<uint8_t>& matrix, size_t row, size_t column) const {
    return matrix[row * stride + column / 16 * 8 + column % 8] >> (column % 16 < 8 ? 0 : 4) & 15;
  }

  Int4Kind kind = Int4Kind::kSymmetric;
  size_t rows = 0, columns = 0, group_size = 1;
  size_t stride = 0;       // bytes
  size_t half_stride = 0;  // numbers
  std::vector<uint8_t> values, zero_point;
  std::vector<Float16Bits> scale, minimum;
  std::vector<float> weights;  // [rows, columns]

 private:
  static std::vector<uint8_t> Bytes(Random& random, size_t count) {
    std::vector<uint8_t> bytes(count);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(static_cast<int>(128 + 127 * random.Uniform()));
    return bytes;
  }
};

struct DeviceInt4 {
  explicit DeviceInt4(const Int4Matrix& matrix)
      : values(matrix.values), zero_point(matrix.zero_point), scale(matrix.scale), minimum(matrix.minimum),
        stride(matrix.stride), half_stride(matrix.half_stride), group_size(matrix.group_size), kind(matrix.kind) {}

  StoredKernel Kernel() const {
    Int4Groups groups;
    groups.size = group_size;
    groups.stride = half_stride;
    groups.scale = scale.get();
    if (kind == Int4Kind::kAsymmetric) groups.zero_point = zero_point.get();
    if (kind == Int4Kind::kMinimum) groups.minimum = minimum.get();
    return StoredKernel::Int4(values.get(), stride, groups);
  }

  Buffer<uint8_t> values, zero_point;
  Buffer<Float16Bits> scale, minimum;
  size_t stride, half_stride, group_size;
  Int4Kind kind;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_TEST_INT4_MATRIX_H_
