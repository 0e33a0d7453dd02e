// SparsifiedMatMul for JavaScript. Pointers are into the module's memory; sparsified-matmul.h says the shapes.
#include <cstddef>
#include <cstdint>

#include "host.h"
#include "pool.h"
#include "row-loops.h"
#include "sparsified-matmul.h"

namespace sparsify {
namespace {

void Multiply(const float* x, size_t rows, size_t inputs, const float* threshold, size_t threshold_step,
              const StoredKernel& kernel, size_t units, const float* bias, uint32_t activation, float* y) {
  const Layer layer{kernel, bias, y, units, static_cast<Activation>(activation)};
  SparsifiedMatMul(x, rows, inputs, {threshold, threshold_step}, &layer, 1, Pool::Get());
}

// An INT4 kernel of those parts; `zero_point` and `minimum` may be null.
StoredKernel Int4Kernel(const uint8_t* values, size_t group_size, const Float16Bits* scale, const uint8_t* zero_point,
                        const Float16Bits* minimum, size_t units) {
  return StoredKernel::Int4(values, StoredKernel::Int4Stride(units),
                            {group_size, scale, minimum, zero_point, Int4Groups::Stride(units)});
}

}  // namespace
}  // namespace sparsify

using namespace sparsify;

// `threshold_step` is 1 for a threshold an input, else 0; `bias` may be null; `activation` is the place of its name in
// kActivationNames.
SPARSIFY_EXPORT(sparsified_matmul)
void WasmSparsifiedMatMul(const float* x, size_t rows, size_t inputs, const float* threshold, size_t threshold_step,
                          const float* kernel, size_t units, const float* bias, uint32_t activation, float* y) {
  Multiply(x, rows, inputs, threshold, threshold_step, StoredKernel::Floats(kernel, units), units, bias, activation, y);
}

// The rows of `values` are padded to a multiple of 4.
SPARSIFY_EXPORT(sparsified_matmul_int8)
void WasmSparsifiedMatMulInt8(const float* x, size_t rows, size_t inputs, const float* threshold, size_t threshold_step,
                              const int8_t* values, const float* scale, const float* zero_point, size_t units,
                              const float* bias, uint32_t activation, float* y) {
  const StoredKernel kernel = StoredKernel::Int8(values, (units + 3) / 4 * 4, scale, zero_point);
  Multiply(x, rows, inputs, threshold, threshold_step, kernel, units, bias, activation, y);
}

// The parts lie as shared/stored-kernel.h says.
SPARSIFY_EXPORT(sparsified_matmul_int4)
void WasmSparsifiedMatMulInt4(const float* x, size_t rows, size_t inputs, const float* threshold, size_t threshold_step,
                              const uint8_t* values, size_t group_size, const Float16Bits* scale, const uint8_t* zero_point,
                              const Float16Bits* minimum, size_t units, const float* bias, uint32_t activation, float* y) {
  const StoredKernel kernel = Int4Kernel(values, group_size, scale, zero_point, minimum, units);
  Multiply(x, rows, inputs, threshold, threshold_step, kernel, units, bias, activation, y);
}

// How many inputs any of the rows keeps.
SPARSIFY_EXPORT(count_kept)
size_t WasmCountKept(const float* x, size_t rows, size_t inputs, const float* threshold, size_t threshold_step) {
  return CountUnion(x, rows, inputs, {threshold, threshold_step});
}

// y [rows, inputs] = x with 0 where masked.
SPARSIFY_EXPORT(mask_rows)
void WasmMaskRows(const float* x, size_t rows, size_t inputs, const float* threshold, size_t threshold_step, float* y) {
  MaskRows(x, rows, inputs, {threshold, threshold_step}, y, Pool::Get());
}

// y = activation(y + bias), [rows, units]; `bias` may be null.
SPARSIFY_EXPORT(finish_rows)
void WasmFinishRows(float* y, size_t rows, size_t units, const float* bias, uint32_t activation) {
  AddBiasAndActivate(y, rows, units, bias, static_cast<Activation>(activation), y, Pool::Get());
}

// `weights` is [inputs, units].
SPARSIFY_EXPORT(dequantize_int8)
void WasmDequantizeInt8(const int8_t* values, size_t inputs, size_t units, const float* scale, const float* zero_point,
                        float* weights) {
  const StoredKernel kernel = StoredKernel::Int8(values, (units + 3) / 4 * 4, scale, zero_point);
  DequantizeKernel(kernel, inputs, units, weights, Pool::Get());
}

// `weights` is [inputs, units].
SPARSIFY_EXPORT(dequantize_int4)
void WasmDequantizeInt4(const uint8_t* values, size_t inputs, size_t group_size, const Float16Bits* scale,
                        const uint8_t* zero_point, const Float16Bits* minimum, size_t units, float* weights) {
  const StoredKernel kernel = Int4Kernel(values, group_size, scale, zero_point, minimum, units);
  DequantizeKernel(kernel, inputs, units, weights, Pool::Get());
}
