#include "decoder-loops.h"

#include <cmath>
#include <limits>

#include "loop-targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "decoder-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

void NormalizeLoop(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto v = hn::LoadU(d, x + i), w = hn::LoadU(d, x + i + lanes);
    a = hn::MulAdd(v, v, a);
    b = hn::MulAdd(w, w, b);
  }
  float squares = hn::ReduceSum(d, hn::Add(a, b));
  for (; i < n; i++) squares += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(n) + epsilon);
  const auto scales = hn::Set(d, scale);
  for (i = 0; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), scales), hn::LoadU(d, weight + i)), d, y + i);
  }
  for (; i < n; i++) y[i] = x[i] * scale * weight[i];
}

void AddPartsLoop(const float* parts, size_t count, size_t part_stride, const float* bias, float factor, size_t n,
                  float* x) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    auto v = hn::LoadU(d, parts + i);
    for (size_t p = 1; p < count; p++) v = hn::Add(v, hn::LoadU(d, parts + p * part_stride + i));
    if (bias) v = hn::Add(v, hn::LoadU(d, bias + i));
    hn::StoreU(hn::MulAdd(factors, v, hn::LoadU(d, x + i)), d, x + i);
  }
  for (; i < n; i++) {
    float v = parts[i];
    for (size_t p = 1; p < count; p++) v += parts[p * part_stride + i];
    if (bias) v += bias[i];
    x[i] += factor * v;
  }
}

// 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))), which is x * sigmoid of twice that argument.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V x) {
  const V cube = hn::Mul(hn::Mul(x, x), x);
  const V argument = hn::Mul(hn::Set(d, 1.5957691216057308f), hn::MulAdd(hn::Set(d, 0.044715f), cube, x));
  return hn::Mul(x, Sigmoid(d, argument));
}

template <class F>
HWY_INLINE void GateBy(const F& activate, const float* gate, const float* up, size_t n, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(activate(d, hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, y + i);
  }
  if (i == n) return;
  const auto last = hn::Mul(activate(d, hn::LoadN(d, gate + i, n - i)), hn::LoadN(d, up + i, n - i));
  hn::StoreN(last, d, y + i, n - i);
}

void GateLoop(GateActivation activation, const float* gate, const float* up, size_t n, float* y) {
  switch (activation) {
    case GateActivation::kSilu:
      return GateBy([](auto d, auto x) HWY_ATTR { return Activate<Activation::kSilu>(d, x); }, gate, up, n, y);
    case GateActivation::kGelu:
      return GateBy([](auto d, auto x) HWY_ATTR { return Activate<Activation::kGelu>(d, x); }, gate, up, n, y);
    case GateActivation::kGeluTanh:
      return GateBy([](auto d, auto x) HWY_ATTR { return GeluTanh(d, x); }, gate, up, n, y);
  }
}

void RotateLoop(const float* cos, const float* sin, size_t half, float* x) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + half + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + half + i);
  }
  for (; i < half; i++) {
    const float a = x[i], b = x[half + i];
    x[i] = a * cos[i] - b * sin[i];
    x[half + i] = b * cos[i] + a * sin[i];
  }
}

size_t CountMaskedLoop(const float* x, size_t n, float threshold) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto limit = hn::Set(d, threshold);
  size_t count = 0;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) count += hn::CountTrue(d, hn::Le(hn::Abs(hn::LoadU(d, x + i)), limit));
  for (; i < n; i++) count += hwy::ScalarAbs(x[i]) <= threshold;
  return count;
}

double LogLikelihoodLoop(const float* x, size_t n, size_t target) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto highest = hn::Set(d, kMinusInfinity);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) highest = hn::Max(highest, hn::LoadU(d, x + i));
  float maximum = hn::ReduceMax(d, highest);
  for (; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
  // In pieces, so that the float sums stay short.
  double total = 0;
  const auto shift = hn::Set(d, maximum);
  for (i = 0; i + lanes <= n;) {
    auto sum = hn::Zero(d);
    for (size_t piece = 0; piece < 256 && i + lanes <= n; piece++, i += lanes) {
      sum = hn::Add(sum, Exp(d, hn::Sub(hn::LoadU(d, x + i), shift)));
    }
    total += static_cast<double>(hn::ReduceSum(d, sum));
  }
  for (; i < n; i++) total += std::exp(static_cast<double>(x[i]) - maximum);
  return static_cast<double>(x[target]) - maximum - std::log(total);
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparsify {

HWY_EXPORT(NormalizeLoop);
HWY_EXPORT(AddPartsLoop);
HWY_EXPORT(GateLoop);
HWY_EXPORT(RotateLoop);
HWY_EXPORT(CountMaskedLoop);
HWY_EXPORT(LogLikelihoodLoop);

void Normalize(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  HWY_DYNAMIC_DISPATCH(NormalizeLoop)(x, weight, n, epsilon, y);
}

void AddParts(const float* parts, size_t count, size_t part_stride, const float* bias, float factor, size_t n,
              float* x) {
  HWY_DYNAMIC_DISPATCH(AddPartsLoop)(parts, count, part_stride, bias, factor, n, x);
}

void Gate(GateActivation activation, const float* gate, const float* up, size_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(GateLoop)(activation, gate, up, n, y);
}

void Rotate(const float* cos, const float* sin, size_t half, float* x) {
  HWY_DYNAMIC_DISPATCH(RotateLoop)(cos, sin, half, x);
}

size_t CountMasked(const float* x, size_t n, float threshold) {
  return HWY_DYNAMIC_DISPATCH(CountMaskedLoop)(x, n, threshold);
}

double LogLikelihood(const float* x, size_t n, size_t target) {
  return HWY_DYNAMIC_DISPATCH(LogLikelihoodLoop)(x, n, target);
}

}  // namespace sparsify
#endif  // HWY_ONCE
