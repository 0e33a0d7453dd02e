#include "large-pages.h"

#include <algorithm>

#if defined(__linux__)
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#endif

namespace sparsify {
namespace {

constexpr uintptr_t kPage = 2 << 20;

// What an allocator puts between two blocks, its own notes and the rest of a page, is less.
constexpr uintptr_t kGap = 16 << 10;

// Less is not worth a thread.
constexpr size_t kFewestPages = 8;

}  // namespace

std::vector<uintptr_t> LargePagesWithin(std::vector<MemoryRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const MemoryRange& a, const MemoryRange& b) { return a.first < b.first; });
  std::vector<uintptr_t> pages;
  for (size_t i = 0; i < ranges.size();) {
    MemoryRange whole = ranges[i++];
    for (; i < ranges.size() && ranges[i].first <= whole.last + kGap; i++) whole.last = std::max(whole.last, ranges[i].last);
    for (uintptr_t page = (whole.first + kPage - 1) / kPage * kPage; page + kPage <= whole.last; page += kPage) {
      pages.push_back(page);
    }
  }
  return pages;
}

#if defined(__linux__)
namespace {

#if !defined(MADV_COLLAPSE)
constexpr int MADV_COLLAPSE = 25;
#endif

using Clock = std::chrono::steady_clock;

constexpr auto kAtOnce = std::chrono::milliseconds(250);

// Between two pages, and two looks at whether the memory is in use.
constexpr auto kWait = std::chrono::milliseconds(4);

struct Job {
  std::vector<uintptr_t> pages;
  size_t done = 0;
  std::weak_ptr<void> owner;
  Mutex* in_use;
};

// MADV_COLLAPSE would not ask.
bool AdministratorForbidsThem() {
  std::FILE* const file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  if (file == nullptr) return true;
  char text[128] = {};
  const size_t length = std::fread(text, 1, sizeof(text) - 1, file);
  std::fclose(file);
  return length == 0 || std::strstr(text, "[never]") != nullptr;
}

// EAGAIN, ENOMEM: there is no free page of that size just now; EBUSY, EINVAL: something else lies here. The next may do.
void MovePage(uintptr_t page) { madvise(reinterpret_cast<void*>(page), kPage, MADV_COLLAPSE); }

void* MoveOthers(void* argument) {
  const std::unique_ptr<Job> job(static_cast<Job*>(argument));
  while (job->done < job->pages.size()) {
    {
      const std::shared_ptr<void> owner = job->owner.lock();
      if (!owner) break;
      const Lock lock(*job->in_use, std::try_to_lock);
      if (lock.owns_lock()) MovePage(job->pages[job->done++]);
    }
    // After a page too: who waits for the mutex would not get it from a thread that takes it again at once.
    std::this_thread::sleep_for(kWait);
  }
  return nullptr;
}

}  // namespace

void UseLargePages(std::vector<MemoryRange> ranges, const std::shared_ptr<void>& owner, Mutex& in_use) {
  auto job = std::make_unique<Job>(Job{LargePagesWithin(std::move(ranges)), 0, owner, &in_use});
  if (job->pages.size() < kFewestPages || AdministratorForbidsThem()) return;
  const auto start = Clock::now();
  while (job->done < job->pages.size() && Clock::now() - start < kAtOnce) MovePage(job->pages[job->done++]);
  if (job->done == job->pages.size()) return;
  // Signals are for the process's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, &MoveOthers, job.get()) == 0) {
    job.release();
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}
#else
void UseLargePages(std::vector<MemoryRange>, const std::shared_ptr<void>&, Mutex&) {}
#endif

}  // namespace sparsify
