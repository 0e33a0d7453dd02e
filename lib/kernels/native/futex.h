// Sleeping on an atomic word: futex on Linux, the instructions of WebAssembly's threads, a condition variable elsewhere. And what
// a waiting loop does meanwhile.
#ifndef SPARSIFY_FUTEX_H_
#define SPARSIFY_FUTEX_H_

#include <atomic>
#include <cstdint>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif !defined(__wasm__)
#include <condition_variable>
#include <mutex>
#endif

#if !defined(__wasm__)
#include <sched.h>
#endif

namespace sparsify {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "a futex is a plain 32-bit word");

#if defined(__linux__)

// Returns when the word is not `expected`, after a wake, or for no reason: call it in a loop.
inline void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

// Wakes at most `count` of those who wait.
inline void FutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

#elif defined(__wasm_atomics__)

inline void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int*>(&word), static_cast<int>(expected), -1);
}

inline void FutexWake(std::atomic<uint32_t>& word, int count) {
  __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&word), static_cast<unsigned>(count));
}

#elif defined(__wasm__)

// There is one thread only.
inline void FutexWait(std::atomic<uint32_t>&, uint32_t) {}
inline void FutexWake(std::atomic<uint32_t>&, int) {}

#else

struct Parking {
  std::mutex mutex;
  std::condition_variable changed;
  static Parking& Get() {
    static Parking* parking = new Parking;
    return *parking;
  }
};

inline void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  Parking& parking = Parking::Get();
  std::unique_lock<std::mutex> lock(parking.mutex);
  if (word.load() == expected) parking.changed.wait(lock);
}

inline void FutexWake(std::atomic<uint32_t>&, int) {
  Parking& parking = Parking::Get();
  // Taken and released, so that a waiter between its check and its wait can't miss the wake.
  { std::lock_guard<std::mutex> lock(parking.mutex); }
  parking.changed.notify_all();
}

#endif

// Lets other threads have the core, where the system can be asked to.
inline void Yield() {
#if !defined(__wasm__)
  sched_yield();
#endif
}

// Tells the core that this is a waiting loop.
inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace sparsify

#endif  // SPARSIFY_FUTEX_H_
