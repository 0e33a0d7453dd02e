// The threads of the pool in WebAssembly: workers of the host, each with an instance of this module over the same memory, which
// join when they are ready.
#include <algorithm>
#include <atomic>
#include <new>

#include "host.h"
#include "pool.h"

namespace sparsify {
namespace {

std::atomic<unsigned> joined{0};

}  // namespace

Pool& Pool::Get() {
  alignas(Pool) static unsigned char storage[sizeof(Pool)];
  static Pool* const pool = new (storage) Pool;
  return *pool;
}

Pool::Pool() : limit_(1) {}

void Pool::StartWorkers(unsigned wanted) { workers_ = std::min(wanted, joined.load(std::memory_order_acquire)); }

void Pool::Join() { Work(joined.fetch_add(1, std::memory_order_acq_rel)); }

}  // namespace sparsify

// To be called once before a worker joins.
SPARSIFY_EXPORT(pool_start) void PoolStart() { sparsify::Pool::Get(); }

// Threads that work on a job, the caller included.
SPARSIFY_EXPORT(pool_set_threads) void PoolSetThreads(unsigned threads) { sparsify::Pool::Get().SetThreads(threads); }

// Takes tasks of the pool for ever; only a worker may call it.
SPARSIFY_EXPORT(pool_join) void PoolJoin() { sparsify::Pool::Get().Join(); }
