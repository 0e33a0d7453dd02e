// A pool of threads that claim the tasks of one job at a time; the caller works too.
//
// Why not one share per thread: a static split stalls for a time slice (1 ms and more) whenever another process runs
// on one of the cores. Why not TensorFlow's pool: it sleeps between ops, and waking it costs more than a small layer.
#ifndef SPARSIFY_POOL_H_
#define SPARSIFY_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sparsify {

class Pool {
 public:
  // At most this many threads, however many cores there are: beyond it memory bandwidth is long exhausted.
  static constexpr unsigned kMaxThreads = 128;

  // The pool of the process. It is never destroyed: its threads sleep, detached, until the process ends.
  static Pool& Get();

  // Calls fn(arg, task) once for every task in [0, tasks), from this and other threads, and returns when all are
  // done. If another thread is inside Run, or after fork, the tasks run here one by one: the result is the same.
  // fn must not throw and must not call Run. Denormal numbers count as 0 meanwhile.
  // `worth_waking`: whether the job is large enough to wake threads that have gone to sleep; threads that still look
  // for work after the last job take part in any.
  void Run(uint32_t tasks, bool worth_waking, void (*fn)(void* arg, uint32_t task), void* arg);

  template <class F>
  void ForEach(uint32_t tasks, bool worth_waking, const F& f) {
    Run(tasks, worth_waking, [](void* arg, uint32_t task) { (*static_cast<const F*>(arg))(task); }, const_cast<F*>(&f));
  }

  // Threads that may work on a job, the caller included. Default: the cores that the process may use, or
  // SPARSIFY_NUM_THREADS.
  unsigned threads() const { return limit_.load(std::memory_order_relaxed); }
  void SetThreads(unsigned threads);

  // Only in WebAssembly, where threads are the host's: the calling one works for the pool from now on and never returns.
  void Join();

 private:
  Pool();
  void StartWorkers(unsigned wanted);
  void Work(unsigned worker);
  bool RunOneTask();
  void WaitForWork(uint32_t seen_signal);
  static void* WorkerMain(void* arg);
  static void AfterForkInChild();

  // Upper 32 bits: number of the job. Lower 32: tasks not yet claimed. One word, so that a worker that comes late
  // can't claim a task of the next job with the function of the last.
  alignas(64) std::atomic<uint64_t> claim_{0};
  std::atomic<void (*)(void*, uint32_t)> fn_{nullptr};
  std::atomic<void*> arg_{nullptr};
  std::atomic<uint32_t> tasks_{0};
  alignas(64) std::atomic<uint32_t> pending_{0};  // tasks not yet finished
  std::atomic<uint32_t> caller_sleeps_{0};
  alignas(64) std::atomic<uint32_t> signal_{0};  // changes with every job; sleeping workers wait on it
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<unsigned> limit_;
  std::atomic<bool> busy_{false};
  unsigned workers_ = 0;  // guarded by busy_
};

}  // namespace sparsify

#endif  // SPARSIFY_POOL_H_
