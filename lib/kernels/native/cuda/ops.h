// The TensorFlow ops on GPU. As in ../ops.h, with the tensors in the device's memory:
//
//   SparsifiedMatMul(x, kernel, threshold, bias: B * float; B: int, activation: string) -> y
//   SparsifyMask(x, threshold) -> y [rows, K]
//   SparsifyBiasActivation(x, bias: B * float; B: int, activation: string) -> y
// and for a kernel that is stored as bf16, INT8 or INT4, whose bytes travel as float numbers since TensorFlow keeps int32
// tensors in the host's memory:
//   SparsifiedMatMulPacked(x, kernel, threshold, parameters: P * float, bias: B * float;
//       P: int, B: int, units: int, storage: string, activation: string) -> y
//     storage "bf16" or "int8": rows of the kernel padded to a multiple of 16 numbers; parameters: none, or for INT8
//     scale [units] and zero point [units]. Storage "int4", "int4_asymmetric" or "int4_minimum": kernel and parameters laid as
//     ../shared/stored-kernel.h says, the rows of all padded to 16 bytes; parameters: scale [G, …], and zero point or minimum
//     [G, …].
//   SparsifyDequantizePacked(kernel, parameters: P * float; P: int, units: int, storage: string, first: int, columns: int)
//       -> weights [inputs, columns], from column `first` on
// and SparsifyDecoderPrepare (../tensorflow/prepare-op.h).
//
// Nothing waits for the device where TensorFlow's stream is known (stream.h); elsewhere every call does.
#ifndef SPARSIFY_CUDA_OPS_H_
#define SPARSIFY_CUDA_OPS_H_

#include <cstdint>
#include <string>

namespace sparsify::cuda {

// Registers the ops with the libtensorflow of the process, the first time. Returns why that failed, or an empty
// string. Thread-safe.
std::string RegisterOps();

// Calls that were enqueued on a GPU so far.
uint64_t Launches();

// Whether calls wait for the device.
bool Waits();

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_OPS_H_
