#include "large-pages.h"

#include <algorithm>

#if defined(__linux__)
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
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

struct Job {
  std::vector<uintptr_t> pages;
  std::weak_ptr<void> owner;
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

void* Run(void* argument) {
  const std::unique_ptr<Job> job(static_cast<Job*>(argument));
  // Of this thread only. Any lower, and it might be kept waiting with a lock of the process's memory in its hands.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 10);
  for (const uintptr_t page : job->pages) {
    const auto start = std::chrono::steady_clock::now();
    {
      const std::shared_ptr<void> owner = job->owner.lock();
      if (!owner) return nullptr;
      // EAGAIN, ENOMEM: no free page of that size just now; EBUSY, EINVAL: something else lies here. The next may do.
      if (madvise(reinterpret_cast<void*>(page), kPage, MADV_COLLAPSE) != 0 && errno == ENOSYS) return nullptr;
    }
    std::this_thread::sleep_for(std::chrono::steady_clock::now() - start);
  }
  return nullptr;
}

}  // namespace

void UseLargePages(std::vector<MemoryRange> ranges, std::weak_ptr<void> owner) {
  auto job = std::make_unique<Job>(Job{LargePagesWithin(std::move(ranges)), std::move(owner)});
  if (job->pages.size() < kFewestPages || AdministratorForbidsThem()) return;
  // Signals are for the process's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, &Run, job.get()) == 0) {
    job.release();
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}
#else
void UseLargePages(std::vector<MemoryRange>, std::weak_ptr<void>) {}
#endif

}  // namespace sparsify
