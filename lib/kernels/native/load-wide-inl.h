// Numbers as floats, be they stored in float or in bfloat16. Included once for each instruction set, hence the guard that
// toggles.
#if defined(SPARSIFY_LOAD_WIDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPARSIFY_LOAD_WIDE_INL_H_
#undef SPARSIFY_LOAD_WIDE_INL_H_
#else
#define SPARSIFY_LOAD_WIDE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "shared/stored-kernel.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V = hn::Vec<D>>
HWY_INLINE V LoadWide(D d, const float* x) {
  return hn::LoadU(d, x);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LoadWide(D d, const BFloat16* x) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> dh;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, x))));
}
HWY_INLINE float Wide(float x) { return x; }
HWY_INLINE float Wide(BFloat16 x) { return hwy::BitCastScalar<float>(static_cast<uint32_t>(x) << 16); }

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#endif  // toggled guard
