// INT4 matrices of every kind with random numbers, and the weights that they stand for; by how much rounding inputs to 8 bits may
// move what they are multiplied to.
#ifndef SPARSIFY_TEST_INT4_MATRIX_H_
#define SPARSIFY_TEST_INT4_MATRIX_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "../shared/stored-kernel.h"
#include "checked-array.h"
#include "float16.h"

namespace sparsify {

// Rows that are summed in 16 bits, at most (int4-loops.cc).
constexpr size_t kMostSegmentRows = 32;

enum class Int4Kind { kAsymmetric, kSymmetric, kMinimum };

struct Int4Matrix {
  Int4Matrix(size_t inputs, size_t units, size_t group, Int4Kind kind, float magnitude, size_t offset, std::mt19937& random)
      : kind(kind), group(group), units(units), stride(StoredKernel::Int4Stride(units)),
        half_stride(Int4Groups::Stride(units)), values(inputs * stride, 4 * offset), zeros(inputs / group * stride, 4 * offset),
        scale_bits(inputs / group * half_stride, 2 * offset), minimum_bits(inputs / group * half_stride, 2 * offset),
        q(inputs * units), zero(inputs / group * units, 8), scale(zero.size()), minimum(zero.size()) {
    std::uniform_real_distribution<float> uniform(0.5f, 1);
    for (size_t i = 0; i < q.size(); i++) Set(values, i / units, i % units, q[i] = static_cast<int>(random() % 16));
    for (size_t i = 0; i < scale.size(); i++) {
      const size_t g = i / units, n = i % units;
      const double half = Half(magnitude * uniform(random) * (n % 5 == 4 && kind == Int4Kind::kSymmetric ? -1 : 1));
      scale[i] = half == 0 ? std::ldexp(1, -24) : half;
      scale_bits[g * half_stride + n] = HalfBits(scale[i]);
      minimum[i] = Half(-8 * magnitude * uniform(random));
      minimum_bits[g * half_stride + n] = HalfBits(minimum[i]);
      if (kind == Int4Kind::kAsymmetric) Set(zeros, g, n, zero[i] = static_cast<int>(random() % 16));
    }
  }
  StoredKernel Kernel() {
    const Float16Bits* const minimums = kind == Int4Kind::kMinimum ? minimum_bits.data() : nullptr;
    const uint8_t* const zero_points = kind == Int4Kind::kAsymmetric ? zeros.data() : nullptr;
    return StoredKernel::Int4(values.data(), stride, {group, scale_bits.data(), minimums, zero_points, half_stride});
  }
  // Without rounding to float16.
  double Product(size_t k, size_t n) const {
    const size_t at = k / group * units + n;
    const int value = q[k * units + n];
    return kind == Int4Kind::kMinimum ? scale[at] * value + minimum[at] : scale[at] * (value - zero[at]);
  }
  double Weight(size_t k, size_t n) const {
    return kind == Int4Kind::kMinimum ? static_cast<double>(static_cast<float>(Product(k, n))) : Half(Product(k, n));
  }
  // What its parts sum to, where its own magnitude is small against them.
  double Magnitude(size_t k, size_t n) const {
    const size_t at = k / group * units + n;
    if (kind == Int4Kind::kMinimum) return scale[at] * q[k * units + n] + std::fabs(minimum[at]);
    return std::fabs(scale[at]) * (q[k * units + n] + zero[at]);
  }

  Int4Kind kind;
  size_t group, units, stride, half_stride;
  Array<uint8_t> values, zeros;
  Array<Float16Bits> scale_bits, minimum_bits;
  std::vector<int> q, zero;
  std::vector<double> scale, minimum;

 private:
  void Set(Array<uint8_t>& rows, size_t row, size_t n, int value) {
    rows[row * stride + n / 16 * 8 + n % 8] |= static_cast<uint8_t>(value << (n % 16 < 8 ? 0 : 4));
  }
};

// By how much rounding x to 8 bits may move an output, by the rule: half a step of each group, of which any 32 kept rows or fewer
// have no larger one than the rule gives them all.
inline double RoundingLimit(const Int4Matrix& kernel, const float* x, size_t n, const std::vector<bool>& kept) {
  double limit = 0;
  for (size_t first = 0; first < kept.size(); first += kernel.group) {
    double largest = 0, positive = 0, negative = 0, weights = 0;
    std::vector<double> above, below;
    for (size_t k = first; k < first + kernel.group; k++) {
      if (!kept[k]) continue;
      const double v = x[k];
      largest = std::max(largest, std::fabs(v));
      (v > 0 ? above : below).push_back(std::fabs(v));
      weights += std::fabs(kernel.Product(k, n));
    }
    const auto most = [](std::vector<double>& values) {
      std::sort(values.rbegin(), values.rend());
      double sum = 0;
      for (size_t i = 0; i < std::min(values.size(), kMostSegmentRows); i++) sum += values[i];
      return sum;
    };
    positive = most(above);
    negative = most(below);
    limit += 0.5001 * std::max(largest / 127, std::max(positive, negative) / 2168) * weights;
  }
  return limit;
}

}  // namespace sparsify

#endif  // SPARSIFY_TEST_INT4_MATRIX_H_
