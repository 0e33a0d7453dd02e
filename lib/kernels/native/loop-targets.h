// For which instruction sets the vectorised loops are compiled. To be included before hwy/foreach_target.h.
//
// On x86: AVX-512, AVX2, SSE4 and the baseline, SSE2. What the others add is not used here.
#ifndef SPARSIFY_LOOP_TARGETS_H_
#define SPARSIFY_LOOP_TARGETS_H_

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_AVX10_2 | HWY_AVX3_SPR | HWY_AVX3_ZEN4 | HWY_AVX3_DL | HWY_SSSE3)
#endif

#endif  // SPARSIFY_LOOP_TARGETS_H_
