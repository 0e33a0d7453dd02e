// Which rows of a kernel a block of threads reads, and in which order: the inputs of its slice that are kept, listed in
// shared memory in the order of the inputs, each with the values of all rows of x that keep it.
#ifndef SPARSIFY_CUDA_KEPT_ROWS_CUH_
#define SPARSIFY_CUDA_KEPT_ROWS_CUH_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "sparsified-matmul.h"

namespace sparsify::cuda {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kIndexMask = kMaxInputs - 1;

// Inputs that a thread lists at a time, all loaded before the first is looked at; more are done in further rounds.
template <int kRows>
constexpr int kListedByThread = kRows == 1 ? 8 : kRows <= 4 ? 4 : 2;
template <int kRows>
constexpr int kListed = kThreads * kListedByThread<kRows>;

// The same where blocks take stretches of inputs, whose kernels need registers for more sums: 8 inputs a thread do not fit beside,
// and each would be moved to memory as it comes, before the next one is asked for.
template <int kRows>
constexpr int kListedOfStretchByThread = kRows <= 4 ? 4 : 2;
template <int kRows>
constexpr int kListedOfStretch = kThreads * kListedOfStretchByThread<kRows>;

// Blocks take turns every so many inputs, so that a stretch of inputs that are all kept is divided among them.
constexpr int kTurn = 8;

// How the inputs are divided: `splits` blocks share a tile of columns.
struct Cut {
  int inputs;
  int splits;
  int slice;  // inputs of a block in one round, a multiple of 32
};

// The kept inputs of a block's slice, in order.
template <int kRows>
struct List {
  unsigned entry[kListed<kRows>];  // index of the input, and the rows that keep it from bit 24 on
  float x[kListed<kRows>][kRows];
  unsigned ballots[kListed<kRows> / 32];
};

// The input that is i-th in a slice. Where inputs have scales in common, blocks take stretches of inputs instead of turns, so that
// each reads scales of its own.
template <bool kStretches>
__device__ __forceinline__ int InputAt(int i, int first, int split, const Cut& cut) {
  return kStretches ? first + split * cut.slice + i : first + ((i / kTurn) * cut.splits + split) * kTurn + i % kTurn;
}

// Fills the list and returns its length. Ends with a barrier. A Source has what is multiplied, for inputs within range:
// Load(row, input) and Threshold(input), which are asked for before Ready(memory) is called by all threads, in the first
// round only; and Value(loaded) after it. It has Rows(), at most kRows.
template <int kRows, bool kStretches, class Source>
__device__ __forceinline__ int ListKeptRows(Source& source, const Cut& cut, int first, int split, List<kRows>& list) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int groups = cut.slice / 32;
  constexpr int kCount = kStretches ? kListedOfStretchByThread<kRows> : kListedByThread<kRows>;
  // Of a thread's inputs those that lie in the slice: the others take no time.
  const auto has = [&](int j) { return j * kThreads < cut.slice; };
  typename Source::Loaded loaded[kCount][kRows] = {};
  float x[kCount][kRows], threshold[kCount];
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    if (!has(j)) break;
    const int i = j * kThreads + static_cast<int>(threadIdx.x), k = InputAt<kStretches>(i, first, split, cut);
    const bool inside = i < cut.slice && k < cut.inputs;
    threshold[j] = inside ? source.Threshold(k) : 0.0f;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      if (inside && r < source.Rows()) loaded[j][r] = source.Load(r, k);
    }
  }
  // The list is written after the next barrier: until then its memory is free.
  if (first == 0) source.Ready(reinterpret_cast<float*>(&list));
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    if (!has(j)) break;
#pragma unroll
    for (int r = 0; r < kRows; r++) x[j][r] = source.Value(loaded[j][r]);
  }
  unsigned kept[kCount] = {};
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    if (!has(j)) break;
    const int i = j * kThreads + static_cast<int>(threadIdx.x);
    const bool inside = i < cut.slice && InputAt<kStretches>(i, first, split, cut) < cut.inputs;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      if (inside && r < source.Rows() && !(fabsf(x[j][r]) <= threshold[j])) kept[j] |= 1u << r;
    }
    const unsigned ballot = __ballot_sync(0xffffffffu, kept[j] != 0);
    if (lane == 0) list.ballots[j * kWarps + warp] = ballot;
  }
  __syncthreads();
  // Every warp finds for itself how many entries lie before each group of 32 inputs.
  int total = 0, before[(kListed<kRows> / 32 + 31) / 32];
#pragma unroll
  for (int half = 0; half < (kListed<kRows> / 32 + 31) / 32; half++) {
    const int group = half * 32 + lane;
    const int own = group < groups ? __popc(list.ballots[group]) : 0;
    int sum = own;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, sum, step);
      if (lane >= step) sum += other;
    }
    before[half] = total + sum - own;
    total += __shfl_sync(0xffffffffu, sum, 31);
  }
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    if (!has(j)) break;
    const int group = j * kWarps + warp;
    const int start = __shfl_sync(0xffffffffu, before[j * kWarps / 32], group % 32);
    const unsigned ballot = __ballot_sync(0xffffffffu, kept[j] != 0);
    if (kept[j] == 0) continue;
    const int at = start + __popc(ballot & ((1u << lane) - 1));
    const int i = j * kThreads + static_cast<int>(threadIdx.x);
    list.entry[at] = static_cast<unsigned>(InputAt<kStretches>(i, first, split, cut)) | kept[j] << 24;
#pragma unroll
    for (int r = 0; r < kRows; r++) list.x[at][r] = x[j][r];
  }
  __syncthreads();
  return total;
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_KEPT_ROWS_CUH_
