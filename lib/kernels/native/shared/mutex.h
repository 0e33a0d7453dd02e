// A mutex. In WebAssembly one thread makes all calls, and the others only take tasks of the pool, so that there is nothing to
// guard; the standard library there has no mutex.
#ifndef SPARSIFY_SHARED_MUTEX_H_
#define SPARSIFY_SHARED_MUTEX_H_

#if !defined(__wasm__)
#include <mutex>
#endif

namespace sparsify {

#if defined(__wasm__)

struct Mutex {};

struct Lock {
  explicit Lock(Mutex&) {}
  Lock(const Lock&) = delete;
  Lock(Lock&&) = default;
  ~Lock() {}
};

#else

using Mutex = std::mutex;
using Lock = std::unique_lock<std::mutex>;

#endif

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_MUTEX_H_
