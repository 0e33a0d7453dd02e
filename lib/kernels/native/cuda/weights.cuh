// Loads of weights: one vector of a row of the kernel as float numbers, for each way in which they are stored.
#ifndef SPARSIFY_CUDA_WEIGHTS_CUH_
#define SPARSIFY_CUDA_WEIGHTS_CUH_

#include <cstdint>

namespace sparsify::cuda {

// A weight is read once: past L1, and with the neighbouring sectors into L2.
__device__ __forceinline__ uint4 LoadStream(const uint4* at) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}
__device__ __forceinline__ uint2 LoadStream(const uint2* at) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(at));
  return v;
}
__device__ __forceinline__ uint32_t LoadStream(const uint32_t* at) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.u32 %0, [%1];" : "=r"(v) : "l"(at));
  return v;
}

template <int kWords>
struct Words;
template <>
struct Words<4> {
  using Type = uint4;
};
template <>
struct Words<2> {
  using Type = uint2;
};
template <>
struct Words<1> {
  using Type = uint32_t;
};

__device__ __forceinline__ void Split(uint4 v, uint32_t* words) {
  words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
}
__device__ __forceinline__ void Split(uint2 v, uint32_t* words) { words[0] = v.x, words[1] = v.y; }
__device__ __forceinline__ void Split(uint32_t v, uint32_t* words) { words[0] = v; }

// kPerWord numbers in 4 bytes.
struct Float32 {
  static constexpr int kPerWord = 1;
  static __device__ __forceinline__ void Unpack(uint32_t word, float* w) { w[0] = __uint_as_float(word); }
};
struct Bfloat16 {
  static constexpr int kPerWord = 2;
  static __device__ __forceinline__ void Unpack(uint32_t word, float* w) {
    w[0] = __uint_as_float(word << 16);
    w[1] = __uint_as_float(word & 0xffff0000u);
  }
};
struct Int8 {
  static constexpr int kPerWord = 4;
  // q + 128 becomes the low byte of 2^23's mantissa: exact, and four times as fast as converting integers.
  static __device__ __forceinline__ void Unpack(uint32_t word, float* w) {
    const uint32_t shifted = word ^ 0x80808080u;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      w[i] = __uint_as_float(__byte_perm(shifted, 0x4b000000u, 0x7650u | static_cast<uint32_t>(i))) - 8388736.0f;
    }
  }
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_WEIGHTS_CUH_
