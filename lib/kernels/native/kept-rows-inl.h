// Which entries of x are kept: of a vector of them, and one by one. Included once for each instruction set, hence the guard that
// toggles.
#if defined(SPARSIFY_KEPT_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPARSIFY_KEPT_ROWS_INL_H_
#undef SPARSIFY_KEPT_ROWS_INL_H_
#else
#define SPARSIFY_KEPT_ROWS_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "row-loops.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::Mask<D> Kept(D d, V x, Threshold threshold, size_t k) {
  const V limit = threshold.step ? hn::LoadU(d, threshold.values + k) : hn::Set(d, *threshold.values);
  return hn::Not(hn::Le(hn::Abs(x), limit));
}

HWY_INLINE bool IsKept(float x, Threshold threshold, size_t k) {
  return !(hwy::ScalarAbs(x) <= threshold.values[k * threshold.step]);
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#endif  // toggled guard
