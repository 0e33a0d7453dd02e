// Every task exactly once, whoever calls and however many threads there are: run by scripts/sanitize.mjs under
// ThreadSanitizer. Also: a forked child computes, and the process ends while the pool's threads live.
#include "../pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace sparsify {
namespace {

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "pool: %s\n", what);
  std::exit(1);
}

// Plain ints, no atomics: what a task writes must be visible to the caller after Run.
void RunOnce(uint32_t tasks, bool worth_waking) {
  std::vector<int> runs(tasks, 0);
  Pool::Get().ForEach(tasks, worth_waking, [&runs](uint32_t task) { runs[task]++; });
  for (const int count : runs) Require(count == 1, "a task did not run exactly once");
}

void Hammer(int rounds) {
  for (int i = 0; i < rounds; i++) {
    RunOnce(static_cast<uint32_t>(i % 40), i % 3 != 0);
    // Now and then long enough for the workers to fall asleep.
    if (i % 500 == 499) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void ForkAndCompute() {
  const pid_t child = fork();
  if (child == 0) {
    Hammer(100);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  Require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child of a fork could not use it");
}

}  // namespace
}  // namespace sparsify

int main() {
  using namespace sparsify;
  for (const unsigned threads : {1u, 2u, 4u, 8u, 3u}) {
    Pool::Get().SetThreads(threads);
    Hammer(3000);
  }
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; i++) callers.emplace_back([] { Hammer(3000); });
  for (std::thread& caller : callers) caller.join();
#if !defined(__SANITIZE_THREAD__)
  // ThreadSanitizer does not follow threads that a forked child starts.
  ForkAndCompute();
#endif
  std::puts("the pool holds");
}
