#include "pool.h"

#include <algorithm>

#include "flush-denormals.h"
#include "futex.h"

namespace sparsify {
namespace {

#if defined(__wasm__)

// There is no pause and no yield. With 4,000 looks and a sleep two threads were slower than one; with 30,000, and a wake only
// where somebody sleeps, a job that finds the others awake costs 0.4 us.
constexpr int kSpinPauses = 30000;
constexpr int kYields = 0;

// The main thread of a page must not sleep. What the caller waits for is the rest of one task.
constexpr bool kCallerSleeps = false;

#else

// 10 to 40 us. Longer takes time from other processes: 4,000 pauses halved the speed when one was running.
constexpr int kSpinPauses = 600;

// After them, 30 to 100 us in which others may have the core. A thread that has done its share waits about so long for the
// slowest, and for what the caller computes alone; asleep by then, it came too late to the next job, which the caller
// computed alone: a fifth of a token's time.
constexpr int kYields = 100;

constexpr bool kCallerSleeps = true;

#endif

constexpr uint64_t Claim(uint32_t job, uint32_t left) { return static_cast<uint64_t>(job) << 32 | left; }

}  // namespace

void Pool::SetThreads(unsigned threads) {
  limit_.store(std::min(std::max(1u, threads), kMaxThreads), std::memory_order_relaxed);
}

void Pool::Work(unsigned worker) {
  for (;;) {
    const uint32_t seen = signal_.load(std::memory_order_acquire);
    if (worker + 1 < threads()) {
      while (RunOneTask()) {
      }
    }
    WaitForWork(seen);
  }
}

void Pool::WaitForWork(uint32_t seen_signal) {
  for (int i = 0; i < kSpinPauses; i++) {
    if (signal_.load(std::memory_order_acquire) != seen_signal) return;
    Pause();
  }
  for (int i = 0; i < kYields; i++) {
    if (signal_.load(std::memory_order_acquire) != seen_signal) return;
    Yield();
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (signal_.load(std::memory_order_seq_cst) == seen_signal) FutexWait(signal_, seen_signal);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

// Claims and runs one task of the current job; false if none is left.
bool Pool::RunOneTask() {
  uint64_t claim = claim_.load(std::memory_order_acquire);
  do {
    if (static_cast<uint32_t>(claim) == 0) return false;
  } while (!claim_.compare_exchange_weak(claim, claim - 1, std::memory_order_acq_rel, std::memory_order_acquire));
  // The claim holds the job open: these can't be another job's.
  const uint32_t task = tasks_.load(std::memory_order_relaxed) - static_cast<uint32_t>(claim);
  fn_.load(std::memory_order_relaxed)(arg_.load(std::memory_order_relaxed), task);
  if (pending_.fetch_sub(1, std::memory_order_seq_cst) == 1 && caller_sleeps_.load(std::memory_order_seq_cst)) {
    FutexWake(pending_, 1);
  }
  return true;
}

void Pool::Run(uint32_t tasks, bool worth_waking, void (*fn)(void*, uint32_t), void* arg) {
  const FlushDenormals flush;
  const unsigned limit = threads();
  if (tasks <= 1 || limit == 1 || busy_.exchange(true, std::memory_order_acquire)) {
    for (uint32_t task = 0; task < tasks; task++) fn(arg, task);
    return;
  }
  if (!worth_waking && sleepers_.load(std::memory_order_relaxed) >= workers_) {
    busy_.store(false, std::memory_order_release);
    for (uint32_t task = 0; task < tasks; task++) fn(arg, task);
    return;
  }
  StartWorkers(limit - 1);
  fn_.store(fn, std::memory_order_relaxed);
  arg_.store(arg, std::memory_order_relaxed);
  tasks_.store(tasks, std::memory_order_relaxed);
  pending_.store(tasks, std::memory_order_relaxed);
  const uint32_t job = static_cast<uint32_t>(claim_.load(std::memory_order_relaxed) >> 32) + 1;
  claim_.store(Claim(job, tasks), std::memory_order_release);
  signal_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) {
    FutexWake(signal_, static_cast<int>(std::min<uint32_t>(tasks, limit) - 1));
  }

  while (RunOneTask()) {
  }
  for (int i = 0; pending_.load(std::memory_order_acquire) != 0; i++) {
    if (i < kSpinPauses || !kCallerSleeps) {
      Pause();
      continue;
    }
    if (i < kSpinPauses + kYields) {
      Yield();
      continue;
    }
    caller_sleeps_.store(1, std::memory_order_seq_cst);
    const uint32_t left = pending_.load(std::memory_order_seq_cst);
    if (left != 0) FutexWait(pending_, left);
    caller_sleeps_.store(0, std::memory_order_relaxed);
  }
  busy_.store(false, std::memory_order_release);
}

}  // namespace sparsify
