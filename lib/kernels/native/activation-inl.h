// The activations on vectors of float. Included once per target, hence the guard that toggles.
//
// Polynomials: Cephes (S. L. Moshier), expf.c, tanhf.c and ndtrf.c. Largest relative errors found by native/test on
// [-110, 110]: tanh 1e-7, sigmoid 1.3e-7, silu 1e-6 and gelu 1.1e-5 (both far in the left tail, where the results are
// below 1e-20).
#if defined(SPARSIFY_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPARSIFY_ACTIVATION_INL_H_
#undef SPARSIFY_ACTIVATION_INL_H_
#else
#define SPARSIFY_ACTIVATION_INL_H_
#endif

#include "shared/activation.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V, size_t kCount>
HWY_INLINE V Polynomial(D d, V x, const float (&coefficients)[kCount]) {
  V y = hn::Set(d, coefficients[0]);
  for (size_t i = 1; i < kCount; i++) y = hn::MulAdd(y, x, hn::Set(d, coefficients[i]));
  return y;
}

// e^x: 0 below -104, +inf above 88.8, NaN for NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  // Comparisons instead of Min and Max, which on x86 drop NaN.
  const V low = hn::Set(d, -104.0f), high = hn::Set(d, 89.0f);
  V z = hn::IfThenElse(hn::Lt(x, low), low, x);
  z = hn::IfThenElse(hn::Gt(z, high), high, z);
  const V n = hn::Round(hn::Mul(z, hn::Set(d, 1.44269504088896341f)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), z);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  const float coefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  const V p = hn::Add(hn::MulAdd(Polynomial(d, r, coefficients), hn::Mul(r, r), r), hn::Set(d, 1.0f));
  // 2^n in two factors: n reaches -150 and 128, beyond one exponent.
  const auto exponent = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(exponent);
  const auto bias = hn::Set(di, 127);
  const V scale_a = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V scale_b = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(exponent, half), bias)));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(hn::Mul(p, scale_a), scale_b));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V magnitude = hn::Abs(x);
  const V square = hn::Mul(x, x);
  const float coefficients[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                                -3.33332819422e-1f};
  const V small = hn::MulAdd(hn::Mul(Polynomial(d, square, coefficients), square), x, x);
  const V one = hn::Set(d, 1.0f), two = hn::Set(d, 2.0f);
  const V large = hn::Sub(one, hn::Div(two, hn::Add(Exp(d, hn::Add(magnitude, magnitude)), one)));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), small, hn::CopySign(large, x));
}

// The normal distribution's cumulative function, 0.5 * erfc(-x / sqrt 2). Without the cancellation of 1 + erf(x) in
// the left tail, where gelu would lose all digits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V NormalCdf(D d, V x) {
  const V half = hn::Set(d, 0.5f), one = hn::Set(d, 1.0f);
  const V z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118654752f));
  const V square = hn::Mul(z, z);
  // |z| < 1: erf(z) = z * T(z^2)
  const float t[] = {7.853861353153693e-5f,  -8.010193625184903e-4f, 5.188327685732524e-3f, -2.685381193529856e-2f,
                     1.128358514861418e-1f, -3.761262582423300e-1f, 1.128379165726710e+0f};
  const V erf = hn::Mul(z, Polynomial(d, square, t));
  // Beyond: erfc(z) = e^(-z^2) / z * P or R (1 / z^2), by range
  const V inverse = hn::Div(one, z);
  const V inverse_square = hn::Mul(inverse, inverse);
  const float p[] = {2.326819970068386e-2f, -1.387039388740657e-1f, 3.687424674597105e-1f,
                     -5.824733027278666e-1f, 6.210004621745983e-1f, -4.944515323274145e-1f,
                     3.404879937665872e-1f, -2.741127028184656e-1f, 5.638259427386472e-1f};
  const float r[] = {-1.047766399936249e+1f, 1.297719955372516e+1f, -7.495518717768503e+0f, 2.921019019210786e+0f,
                     -1.015265279202700e+0f, 4.218463358204948e-1f, -2.820767439740514e-1f, 5.641895067754075e-1f};
  const V ratio = hn::IfThenElse(hn::Lt(z, hn::Set(d, 2.0f)), Polynomial(d, inverse_square, p),
                                 Polynomial(d, inverse_square, r));
  const V erfc = hn::Mul(hn::Mul(Exp(d, hn::Neg(square)), inverse), ratio);
  const V tail = hn::Mul(half, hn::IfThenElse(hn::Lt(z, one), hn::Sub(one, erf), erfc));
  const V cdf = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail));
  return hn::IfThenElse(hn::IsNaN(x), x, cdf);
}

template <Activation kActivation, class D, class V = hn::Vec<D>>
HWY_INLINE V Activate(D d, V x) {
  if constexpr (kActivation == Activation::kRelu) {
    // Not Max: NaN stays, as in TensorFlow.
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x);
  } else if constexpr (kActivation == Activation::kSilu) {
    return hn::Mul(x, Sigmoid(d, x));
  } else if constexpr (kActivation == Activation::kGelu) {
    return hn::Mul(x, NormalCdf(d, x));
  } else if constexpr (kActivation == Activation::kTanh) {
    return Tanh(d, x);
  } else if constexpr (kActivation == Activation::kSigmoid) {
    return Sigmoid(d, x);
  } else {
    return x;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#endif  // toggled guard
