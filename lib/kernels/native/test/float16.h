// Float16 by its definition, for the tests.
#ifndef SPARSIFY_TEST_FLOAT16_H_
#define SPARSIFY_TEST_FLOAT16_H_

#include <algorithm>
#include <cmath>

#include "../shared/stored-kernel.h"

namespace sparsify {

// Float16's value nearest to v, ties to even, by its definition: 11 bits, or multiples of 2^-24.
inline double Half(double v) {
  int exponent;
  std::frexp(v, &exponent);
  const int unit = std::max(exponent - 11, -24);
  return std::ldexp(std::nearbyint(std::ldexp(v, -unit)), unit);
}

// The bits of a number that float16 has.
inline Float16Bits HalfBits(double half) {
  const int sign = std::signbit(half) ? 0x8000 : 0;
  const double magnitude = std::fabs(half);
  if (magnitude < std::ldexp(1, -14)) return static_cast<Float16Bits>(sign | static_cast<int>(std::ldexp(magnitude, 24)));
  int exponent;
  const double fraction = std::frexp(magnitude, &exponent);
  return static_cast<Float16Bits>(sign | (exponent + 14) << 10 | (static_cast<int>(std::ldexp(fraction, 11)) - 1024));
}

}  // namespace sparsify

#endif  // SPARSIFY_TEST_FLOAT16_H_
