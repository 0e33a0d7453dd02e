#include "cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace sparsify::cuda {
namespace {

// Of cuBLAS' own header, the same in versions 11 to 13.
constexpr int kSuccess = 0, kNoTranspose = 0, kTranspose = 1, kDefaultMath = 0, kTf32Math = 3;

struct Api {
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*set_stream)(void* handle, cudaStream_t stream);
  int (*set_math_mode)(void* handle, int mode);
  int (*multiply)(void* handle, int transpose_a, int transpose_b, int m, int n, int k, const float* alpha, const float* a,
                  int lda, const float* b, int ldb, const float* beta, float* c, int ldc);
  int (*multiply_batch)(void* handle, int transpose_a, int transpose_b, int m, int n, int k, const float* alpha,
                        const float* a, int lda, long long stride_a, const float* b, int ldb, long long stride_b,
                        const float* beta, float* c, int ldc, long long stride_c, int count);
};

constexpr const char* kNames[] = {"libcublas.so.12", "libcublas.so.13", "libcublas.so.11"};

Api Load() {
  void* library = nullptr;
  for (const int flag : {RTLD_NOLOAD, 0}) {
    for (const char* name : kNames) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | flag);
    }
  }
  if (library == nullptr) {
    throw std::runtime_error(std::string("cuBLAS cannot be loaded: ") + dlerror() + "; run npx tfjs-sparsify doctor");
  }
  Api api = {};
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr) throw std::runtime_error(std::string("cuBLAS has no ") + name);
  };
  find(api.create, "cublasCreate_v2");
  find(api.destroy, "cublasDestroy_v2");
  find(api.set_stream, "cublasSetStream_v2");
  find(api.set_math_mode, "cublasSetMathMode");
  find(api.multiply, "cublasSgemm_v2");
  find(api.multiply_batch, "cublasSgemmStridedBatched");
  return api;
}

const Api& Functions() {
  static const Api api = Load();
  return api;
}

void CheckStatus(int status, const char* what) {
  if (status != kSuccess) throw std::runtime_error(std::string("cuBLAS: ") + what + " gave status " + std::to_string(status));
}

// cuBLAS reads the variable too, but not all of its products heed it.
bool UsesTf32() {
  const char* const override = std::getenv("NVIDIA_TF32_OVERRIDE");
  return override == nullptr || std::string(override) != "0";
}

}  // namespace

Cublas::Cublas(cudaStream_t stream) {
  CheckStatus(Functions().create(&handle_), "cublasCreate");
  CheckStatus(Functions().set_stream(handle_, stream), "cublasSetStream");
  CheckStatus(Functions().set_math_mode(handle_, UsesTf32() ? kTf32Math : kDefaultMath), "cublasSetMathMode");
}

Cublas::~Cublas() {
  if (handle_ != nullptr) Functions().destroy(handle_);
}

// cuBLAS has its matrices column by column: what it calls the transpose of a matrix is the matrix here. So b comes first.
void Cublas::Multiply(const MatrixView& a, const MatrixView& b, bool transposed, int rows, int inner, int columns, bool add,
                      float* y, int64_t y_step, int64_t y_batch_step, int batch) const {
  const float alpha = 1, beta = add ? 1 : 0;
  const int transpose = transposed ? kTranspose : kNoTranspose;
  const auto lda = static_cast<int>(b.step), ldb = static_cast<int>(a.step), ldc = static_cast<int>(y_step);
  const Api& api = Functions();
  const int status =
      batch == 1
          ? api.multiply(handle_, transpose, kNoTranspose, columns, rows, inner, &alpha, b.data, lda, a.data, ldb, &beta, y, ldc)
          : api.multiply_batch(handle_, transpose, kNoTranspose, columns, rows, inner, &alpha, b.data, lda, b.batch_step,
                               a.data, ldb, a.batch_step, &beta, y, ldc, y_batch_step, batch);
  CheckStatus(status, "a matrix product");
}

}  // namespace sparsify::cuda
