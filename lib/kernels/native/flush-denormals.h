// Denormal numbers count as 0 on this thread while one of these lives, as TensorFlow has it on the threads that run its
// ops: on x86 a multiplication with one takes a hundred cycles. Pool threads need it too, or the result would depend
// on which of them computed what.
#ifndef SPARSIFY_FLUSH_DENORMALS_H_
#define SPARSIFY_FLUSH_DENORMALS_H_

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <cstdint>

namespace sparsify {

class FlushDenormals {
 public:
  FlushDenormals() : before_(Read()) { Write(before_ | kFlush); }
  ~FlushDenormals() { Write(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE2__)
  static constexpr uint64_t kFlush = 0x8040;  // results: bit 15, operands: bit 6
  static uint64_t Read() { return _mm_getcsr(); }
  static void Write(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kFlush = 1u << 24;  // FPCR.FZ
  static uint64_t Read() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void Write(uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
  static constexpr uint64_t kFlush = 0;
  static uint64_t Read() { return 0; }
  static void Write(uint64_t) {}
#endif

  const uint64_t before_;
};

}  // namespace sparsify

#endif  // SPARSIFY_FLUSH_DENORMALS_H_
