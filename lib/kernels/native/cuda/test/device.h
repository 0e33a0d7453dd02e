// What the test and the benchmark of the CUDA kernels share: memory, errors, random numbers.
#ifndef SPARSIFY_CUDA_TEST_DEVICE_H_
#define SPARSIFY_CUDA_TEST_DEVICE_H_

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

inline void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}
#define CHECK(call) Check(call, #call)

// Memory on the device. Bytes behind its end are readable by nobody: compute-sanitizer sees every overrun.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t size) : size_(size) { CHECK(cudaMalloc(&data_, size * sizeof(T) + (size == 0))); }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    CHECK(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* get() const { return data_; }
  size_t size() const { return size_; }
  std::vector<T> Values() const {
    std::vector<T> values(size_);
    CHECK(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// xorshift64*, uniform in [-1, 1).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull | 1) {}
  float Uniform() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<float>(static_cast<int32_t>(state_ * 0x2545f4914f6cdd1dull >> 32)) * 0x1p-31f;
  }
  std::vector<float> Uniform(size_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = scale * Uniform();
    return values;
  }

 private:
  uint64_t state_;
};

#endif  // SPARSIFY_CUDA_TEST_DEVICE_H_
