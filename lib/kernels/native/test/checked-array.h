// What the tests of the products share: arrays that end where their allocation ends, so that a read or a write beyond them is seen.
#ifndef SPARSIFY_TEST_CHECKED_ARRAY_H_
#define SPARSIFY_TEST_CHECKED_ARRAY_H_

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

}  // namespace sparsify

#endif  // SPARSIFY_TEST_CHECKED_ARRAY_H_
