// The threads of the pool where the system has POSIX threads: as many as are needed, started when they are.
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <thread>

#include "flush-denormals.h"
#include "pool.h"

namespace sparsify {
namespace {

unsigned DefaultThreads() {
  if (const char* text = std::getenv("SPARSIFY_NUM_THREADS")) {
    const long value = std::strtol(text, nullptr, 10);
    if (value >= 1) return static_cast<unsigned>(std::min<long>(value, Pool::kMaxThreads));
  }
  // With glibc and musl this is the affinity mask, so containers pinned to some cores are right.
  return std::min(std::max(1u, std::thread::hardware_concurrency()), Pool::kMaxThreads);
}

struct WorkerStart {
  Pool* pool;
  unsigned worker;
};

}  // namespace

Pool& Pool::Get() {
  static Pool* pool = [] {
    void* storage = std::aligned_alloc(alignof(Pool), sizeof(Pool));
    Pool* made = new (storage) Pool;
    pthread_atfork(nullptr, nullptr, &Pool::AfterForkInChild);
    return made;
  }();
  return *pool;
}

Pool::Pool() : limit_(DefaultThreads()) {}

// The child of a fork has none of the threads and perhaps a job half done: start from nothing.
void Pool::AfterForkInChild() {
  Pool& pool = Get();
  const unsigned limit = pool.threads();
  new (&pool) Pool;
  pool.SetThreads(limit);
}

void Pool::StartWorkers(unsigned wanted) {
  if (workers_ >= wanted) return;
  // Signals are for the process's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (workers_ < wanted) {
    pthread_t thread;
    auto* start = new WorkerStart{this, workers_};
    if (pthread_create(&thread, nullptr, &Pool::WorkerMain, start) != 0) {
      delete start;  // no more threads to be had: go on with those there are
      break;
    }
    pthread_detach(thread);
    workers_++;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void* Pool::WorkerMain(void* arg) {
  auto* start = static_cast<WorkerStart*>(arg);
  const WorkerStart copy = *start;
  delete start;
  const FlushDenormals flush;
  copy.pool->Work(copy.worker);
  return nullptr;
}

}  // namespace sparsify
