// Matrix products of many rows by cuBLAS, which TensorFlow has loaded or which is found by name: the addon does not link it.
// In TF32, as TensorFlow's; NVIDIA_TF32_OVERRIDE=0 turns that off.
#ifndef SPARSIFY_CUDA_CUBLAS_H_
#define SPARSIFY_CUDA_CUBLAS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sparsify::cuda {

// A matrix of floats on the device, row by row; `step` floats lie between rows, `batch_step` between the matrices of a batch.
struct MatrixView {
  const float* data;
  int64_t step;
  int64_t batch_step = 0;
};

class Cublas {
 public:
  // Throws if the library is not there.
  explicit Cublas(cudaStream_t stream);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // y [rows, columns] = a [rows, inner] * b [inner, columns], plus y if `add`. With `transposed` b is [columns, inner].
  void Multiply(const MatrixView& a, const MatrixView& b, bool transposed, int rows, int inner, int columns, bool add,
                float* y, int64_t y_step, int64_t y_batch_step = 0, int batch = 1) const;

 private:
  void* handle_ = nullptr;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_CUBLAS_H_
