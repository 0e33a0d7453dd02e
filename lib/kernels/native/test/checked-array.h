// What the tests of the products share: arrays that end where their allocation ends, so that a read or a write beyond them is seen,
// and float16 by its definition.
#ifndef SPARSIFY_TEST_CHECKED_ARRAY_H_
#define SPARSIFY_TEST_CHECKED_ARRAY_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>

namespace sparsify {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// n numbers that start `offset` numbers into an allocation and end with it.
template <class T>
class Array {
 public:
  explicit Array(size_t n, size_t offset = 0) : all_(new T[n + offset]()), data_(all_.get() + offset), size_(n) {}
  T* data() { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }

 private:
  std::unique_ptr<T[]> all_;
  T* data_;
  size_t size_;
};

// Float16's value nearest to v, ties to even, by its definition: 11 bits, or multiples of 2^-24.
inline double Half(double v) {
  int exponent;
  std::frexp(v, &exponent);
  const int unit = std::max(exponent - 11, -24);
  return std::ldexp(std::nearbyint(std::ldexp(v, -unit)), unit);
}

}  // namespace sparsify

#endif  // SPARSIFY_TEST_CHECKED_ARRAY_H_
