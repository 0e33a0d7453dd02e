// The vectorised loops over INT8 kernels, compiled for every instruction set of interest. No threads here.
//
// A weight is float16(scale[n] * (q - zero_point[n])): the product, exact in float, rounded to float16 (ties to even). To
// round takes twice the time of reading one row of x from memory, so for large kernels the sums of a few rows can leave
// the rounding out: then scale and zero point apply once a column, to the sum, and each weight is off by at most 2^-11 of
// itself.
#ifndef SPARSIFY_INT8_LOOPS_H_
#define SPARSIFY_INT8_LOOPS_H_

#include <cstddef>
#include <cstdint>

namespace sparsify {

// For a few rows a kernel of up to so many weights is multiplied with its weights rounded: at this size that takes 3 us more.
constexpr size_t kRoundedWeights = 1 << 16;

// Part of an INT8 kernel [K, stride]: columns [first, first + columns) of the rows in question.
struct Int8Panel {
  const int8_t* values;
  size_t stride;  // units, rounded up to a multiple of 4
  const float* scale;       // of column 0
  const float* zero_point;  // of column 0; integers in [-128, 127]
  size_t first;
  size_t columns;
  bool prefetches = false;  // also where the list leaves no rows out: it changes the time of Int8Sums::kSteps, and no sum
};

enum class Int8Sums : uint8_t {
  kWeights,  // of value * weight, rounded as defined
  kSteps,    // of value * q; ScaleSums makes the product of them
};

// SumRowsBatch of row-loops.h: sum[r * columns + n] = sum over i < count of value[i * rows + r] * kernel[index[i]][n].
void SumInt8RowsBatch(const Int8Panel& panel, Int8Sums sums, size_t rows, const uint32_t* index, const float* value,
                      size_t count, bool skipping, float* sum);

// y[n] = scale[n] * (sum of parts[p * part_stride + n] over p, in order, - zero_point[n] * total), where total is the sum
// of the values that the parts were made of. y may be parts.
void ScaleSums(const float* parts, size_t count, size_t part_stride, float total, const float* scale,
               const float* zero_point, size_t n, float* y);

// The weights of `depth` rows, rounded as defined, as MultiplyPacked of block-loops.h reads them.
void PackInt8Panel(const Int8Panel& panel, size_t depth, float* packed);

// The weights of one row of `columns`.
void DequantizeInt8(const int8_t* values, const float* scale, const float* zero_point, size_t columns, float* weights);

}  // namespace sparsify

#endif  // SPARSIFY_INT8_LOOPS_H_
