// The vectorised loops over kernels in bfloat16, compiled for every instruction set of interest. No threads here. Pointers
// need only the alignment of their elements.
#ifndef SPARSIFY_NARROW_LOOPS_H_
#define SPARSIFY_NARROW_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "shared/stored-kernel.h"

namespace sparsify {

// Rounds to nearest, ties to even; NaN stays NaN.
void Narrow(const float* x, size_t n, BFloat16* y);
void Widen(const BFloat16* x, size_t n, float* y);

// Part of a kernel [K, stride] in bfloat16: columns [first, first + columns) of the rows in question.
struct NarrowPanel {
  const BFloat16* kernel;
  size_t stride;
  size_t first;
  size_t columns;
};

// SumRows of row-loops.h for a kernel in bfloat16; the sums are float.
void SumNarrowRows(const NarrowPanel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
                   float* sum);

// SumRowsBatch of row-loops.h for a kernel in bfloat16.
void SumNarrowRowsBatch(const NarrowPanel& panel, size_t rows, const uint32_t* index, const float* value, size_t count,
                        bool skipping, float* sum);

}  // namespace sparsify

#endif  // SPARSIFY_NARROW_LOOPS_H_
