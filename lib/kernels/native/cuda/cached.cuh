// Numbers of the cache of keys and values: float, or bfloat16 as its bits.
#ifndef SPARSIFY_CUDA_CACHED_CUH_
#define SPARSIFY_CUDA_CACHED_CUH_

#include <cstdint>

namespace sparsify::cuda {

// Rounds to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ uint16_t Narrowed(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
__device__ __forceinline__ float Widened(uint16_t x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }

__device__ __forceinline__ void Put(float* at, float x) { *at = x; }
__device__ __forceinline__ void Put(uint16_t* at, float x) { *at = Narrowed(x); }

// Two neighbours; the first has an even place.
__device__ __forceinline__ float2 LoadPair(const float* at) { return *reinterpret_cast<const float2*>(at); }
__device__ __forceinline__ float2 LoadPair(const uint16_t* at) {
  const uint32_t pair = *reinterpret_cast<const uint32_t*>(at);
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_CACHED_CUH_
