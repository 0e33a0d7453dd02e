// Loads of weights: one vector of a row of the kernel as float numbers, for each way in which they are stored; and single
// weights.
#ifndef SPARSIFY_CUDA_WEIGHTS_CUH_
#define SPARSIFY_CUDA_WEIGHTS_CUH_

#include <cuda_fp16.h>

#include <cstdint>

#include "../shared/stored-kernel.h"
#include "cached.cuh"

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
  static constexpr bool kGrouped = false;
  static __device__ __forceinline__ void Unpack(uint32_t word, float* w) { w[0] = __uint_as_float(word); }
};
struct Bfloat16 {
  static constexpr int kPerWord = 2;
  static constexpr bool kGrouped = false;
  static __device__ __forceinline__ void Unpack(uint32_t word, float* w) {
    w[0] = __uint_as_float(word << 16);
    w[1] = __uint_as_float(word & 0xffff0000u);
  }
};
struct Int8 {
  static constexpr int kPerWord = 4;
  static constexpr bool kGrouped = false;
  // q + 128 becomes the low byte of 2^23's mantissa: exact, and four times as fast as converting integers.
  static __device__ __forceinline__ void Unpack(uint32_t word, float* w) {
    const uint32_t shifted = word ^ 0x80808080u;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      w[i] = __uint_as_float(__byte_perm(shifted, 0x4b000000u, 0x7650u | static_cast<uint32_t>(i))) - 8388736.0f;
    }
  }
};

// Arithmetic on words of two float16 numbers. As PTX: with the types of cuda_fp16.h the compiler takes words apart and puts them
// together again. Products are rounded to nearest, and subnormal numbers kept.
__device__ __forceinline__ uint32_t SubtractHalves(uint32_t a, uint32_t b) {
  uint32_t difference;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(difference) : "r"(a), "r"(b));
  return difference;
}
__device__ __forceinline__ uint32_t MultiplyHalves(uint32_t a, uint32_t b) {
  uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}
__device__ __forceinline__ float2 WidenHalves(uint32_t halves) {
  float2 pair;
  asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
      : "=f"(pair.x), "=f"(pair.y)
      : "r"(halves));
  return pair;
}
__device__ __forceinline__ __half Half(Float16Bits bits) {
  __half_raw raw;
  raw.x = bits;
  return raw;
}

// word & mask | one, in one instruction.
template <uint32_t kMask>
__device__ __forceinline__ uint32_t MaskedOr(uint32_t word, uint32_t one) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(word), "n"(kMask), "r"(one));
  return result;
}

// The 8 columns of a word of INT4 as float16, in four pairs: the lower halves of bytes 0 and 2, their upper halves, and the same of
// bytes 1 and 3. A value q becomes 1024 + q, or 64 + q in the upper halves: its bits are put into a mantissa that has room for
// them.
constexpr uint32_t kLowerZero = 0x64006400u, kUpperZero = 0x54005400u;
__device__ __forceinline__ void SpreadNibbles(uint32_t word, uint32_t (&pair)[4]) {
  constexpr uint32_t kLower = 0x000f000fu, kUpper = 0x00f000f0u;
  pair[0] = MaskedOr<kLower>(word, kLowerZero);
  pair[1] = MaskedOr<kUpper>(word, kUpperZero);
  pair[2] = MaskedOr<kLower>(word >> 8, kLowerZero);
  pair[3] = MaskedOr<kUpper>(word >> 8, kUpperZero);
}
// A lane has kWords words of a row; its columns are numbered with all lower halves first, so that word h has the columns 4 h + i and
// 4 kWords + 4 h + i. The first column of a pair; the other one is two further.
template <int kWords>
__device__ __forceinline__ constexpr int FirstOfPair(int h, int p) {
  return 4 * h + p / 2 + p % 2 * 4 * kWords;
}

// float16 numbers that lie in the order of columns, those of the lower halves and those of the upper ones, as such pairs.
template <int kWords>
__device__ __forceinline__ void PairHalves(const uint32_t (&low)[2 * kWords], const uint32_t (&high)[2 * kWords],
                                           uint32_t (&pair)[4 * kWords]) {
#pragma unroll
  for (int h = 0; h < kWords; h++) {
    pair[4 * h] = __byte_perm(low[2 * h], low[2 * h + 1], 0x5410);
    pair[4 * h + 1] = __byte_perm(high[2 * h], high[2 * h + 1], 0x5410);
    pair[4 * h + 2] = __byte_perm(low[2 * h], low[2 * h + 1], 0x7632);
    pair[4 * h + 3] = __byte_perm(high[2 * h], high[2 * h + 1], 0x7632);
  }
}

// What a lane has of a group of an INT4 kernel, of the kind whose weights are float16(scale * (q - zero point)): the device's own
// product of float16 numbers is rounded so.
template <int kWords>
struct RoundedGroup {
  uint32_t scale[4 * kWords], zero[4 * kWords];

  __device__ __forceinline__ void Set(const uint32_t (&scales)[4 * kWords], const uint32_t (&zeros)[kWords]) {
#pragma unroll
    for (int h = 0; h < kWords; h++) {
      uint32_t spread[4];
      SpreadNibbles(zeros[h], spread);
#pragma unroll
      for (int p = 0; p < 4; p++) scale[4 * h + p] = scales[4 * h + p], zero[4 * h + p] = spread[p];
    }
  }
  __device__ __forceinline__ void Unpack(const uint32_t (&words)[kWords], float (&w)[8 * kWords]) const {
#pragma unroll
    for (int h = 0; h < kWords; h++) {
      uint32_t spread[4];
      SpreadNibbles(words[h], spread);
#pragma unroll
      for (int p = 0; p < 4; p++) {
        const int at = 4 * h + p, column = FirstOfPair<kWords>(h, p);
        const float2 pair = WidenHalves(MultiplyHalves(scale[at], SubtractHalves(spread[p], zero[at])));
        w[column] = pair.x;
        w[column + 2] = pair.y;
      }
    }
  }
};

// The same of the kind whose weights are scale * q + minimum, in float.
template <int kWords>
struct MinimumGroup {
  float scale[8 * kWords], minimum[8 * kWords];

  __device__ __forceinline__ void Set(const uint32_t (&scales)[4 * kWords], const uint32_t (&minimums)[4 * kWords]) {
#pragma unroll
    for (int h = 0; h < kWords; h++) {
#pragma unroll
      for (int p = 0; p < 4; p++) {
        const int at = 4 * h + p, column = FirstOfPair<kWords>(h, p);
        const float2 s = WidenHalves(scales[at]), m = WidenHalves(minimums[at]);
        scale[column] = s.x, scale[column + 2] = s.y;
        minimum[column] = m.x, minimum[column + 2] = m.y;
      }
    }
  }
  __device__ __forceinline__ void Unpack(const uint32_t (&words)[kWords], float (&w)[8 * kWords]) const {
#pragma unroll
    for (int h = 0; h < kWords; h++) {
      uint32_t spread[4];
      SpreadNibbles(words[h], spread);
#pragma unroll
      for (int p = 0; p < 4; p++) {
        const int column = FirstOfPair<kWords>(h, p);
        const float2 q = WidenHalves(SubtractHalves(spread[p], p % 2 == 0 ? kLowerZero : kUpperZero));
        w[column] = fmaf(scale[column], q.x, minimum[column]);
        w[column + 2] = fmaf(scale[column + 2], q.y, minimum[column + 2]);
      }
    }
  }
};

// INT4 is of one of these kinds.
struct Int4 {
  static constexpr int kPerWord = 8;
  static constexpr bool kGrouped = true, kHasMinimum = false;
  template <int kWords>
  using Group = RoundedGroup<kWords>;
};
struct Int4Minimum {
  static constexpr int kPerWord = 8;
  static constexpr bool kGrouped = true, kHasMinimum = true;
  template <int kWords>
  using Group = MinimumGroup<kWords>;
};

__device__ __forceinline__ int NibbleAt(const uint8_t* row, int64_t column) {
  return row[column / 16 * 8 + column % 8] >> (column & 8) / 2 & 15;
}

// One weight, of a matrix whose INT8 scales and zero points belong to `channel`.
__device__ __forceinline__ float WeightAt(const StoredKernel& kernel, int64_t row, int64_t column, int64_t channel) {
  const int64_t at = row * static_cast<int64_t>(kernel.stride) + column;
  switch (kernel.storage) {
    case Storage::kFloat32:
      return static_cast<const float*>(kernel.data)[at];
    case Storage::kBfloat16:
      return Widened(static_cast<const uint16_t*>(kernel.data)[at]);
    case Storage::kInt8: {
      const float q = static_cast<const int8_t*>(kernel.data)[at];
      const float steps = kernel.zero_point == nullptr ? q : q - kernel.zero_point[channel];
      return kernel.scale == nullptr ? steps : kernel.scale[channel] * steps;
    }
    default: {
      const Int4Groups& groups = kernel.groups;
      const int64_t group = static_cast<uint32_t>(row) / static_cast<uint32_t>(groups.size);
      const int64_t half = group * static_cast<int64_t>(groups.stride) + column, stride = static_cast<int64_t>(kernel.stride);
      const int q = NibbleAt(static_cast<const uint8_t*>(kernel.data) + row * stride, column);
      const __half scale = Half(groups.scale[half]);
      if (groups.minimum != nullptr) {
        return fmaf(__half2float(scale), static_cast<float>(q), __half2float(Half(groups.minimum[half])));
      }
      const int zero = groups.zero_point == nullptr ? 8 : NibbleAt(groups.zero_point + group * stride, column);
      return __half2float(__hmul_rn(scale, __int2half_rn(q - zero)));
    }
  }
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_WEIGHTS_CUH_
