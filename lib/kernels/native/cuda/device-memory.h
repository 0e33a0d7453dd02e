// Memory of the device, and of the host where the device copies from and to it; a stream; and errors of CUDA's runtime as
// exceptions.
#ifndef SPARSIFY_CUDA_DEVICE_MEMORY_H_
#define SPARSIFY_CUDA_DEVICE_MEMORY_H_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparsify::cuda {

inline void Check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next call of anyone would report it again
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

// Throws with what was wanted and what there is if it is not to be had.
inline void* AllocateDevice(size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, std::max<size_t>(bytes, 1));
  if (error != cudaErrorMemoryAllocation) {
    Check(error);
    return memory;
  }
  cudaGetLastError();
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw std::runtime_error("the GPU's memory is used up: the decoder needs " + std::to_string(bytes >> 20) + " MB more, " +
                           std::to_string(free >> 20) + " of " + std::to_string(total >> 20) +
                           " MB are free; shorten the context, use bfloat16 for cache or weights, or free tensors");
}

// Whole memory of the device for `size` T; its contents are lost when it grows.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(size_t size) { Grow(size); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(DeviceArray&& other) noexcept { *this = std::move(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void Grow(size_t size) {
    if (size <= size_) return;
    DeviceArray old;
    std::swap(*this, old);
    cudaFree(std::exchange(old.data_, nullptr));  // before the new one: both need not fit
    data_ = static_cast<T*>(AllocateDevice(size * sizeof(T)));
    size_ = size;
  }
  T* get() const { return data_; }
  size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

// A stream that does not wait for the default stream.
class DeviceStream {
 public:
  DeviceStream() { Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~DeviceStream() { cudaStreamDestroy(stream_); }
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Memory of the host that the device reads and writes while the host goes on.
template <class T>
class HostArray {
 public:
  explicit HostArray(size_t size) : size_(size) {
    Check(cudaMallocHost(reinterpret_cast<void**>(&data_), std::max<size_t>(size, 1) * sizeof(T)));
  }
  ~HostArray() { cudaFreeHost(data_); }
  HostArray(const HostArray&) = delete;
  HostArray& operator=(const HostArray&) = delete;
  T* get() const { return data_; }
  T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  size_t size_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DEVICE_MEMORY_H_
