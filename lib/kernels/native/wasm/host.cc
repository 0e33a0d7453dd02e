// What C++ needs of a system, as far as this module uses it: memory, and a way out when something fails.
#include "host.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "hwy/base.h"
#include "shared/problem.h"

namespace sparsify {

void Fail(const std::string& problem) { HostFail(problem.data(), problem.size()); }
void FailOutOfMemory() { HostFail("out of memory", std::strlen("out of memory")); }

}  // namespace sparsify

// The allocator, emmalloc.c of the compiler's C library, takes its memory in pieces, of the host. The two symbols are those
// between which the linker of a whole program leaves memory; in a module that can lie anywhere there is none.
extern "C" {

unsigned char __heap_base;
extern unsigned char __heap_end __attribute__((alias("__heap_base")));

void* sbrk(intptr_t bytes) {
  void* const none = reinterpret_cast<void*>(-1);
  if (bytes <= 0) return none;
  void* const memory = HostMoreMemory(static_cast<size_t>(bytes));
  return memory == nullptr ? none : memory;
}

// Destructors of a thread's variables: a thread ends with the memory.
int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }

void abort() { HostFail("the module has stopped itself", std::strlen("the module has stopped itself")); }

}  // extern "C"

void* operator new(size_t bytes) {
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) sparsify::FailOutOfMemory();
  return memory;
}
void* operator new[](size_t bytes) { return operator new(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

// What the standard library calls where it would throw.
namespace std {
inline namespace __1 {
[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) noexcept { HostFail(format, std::strlen(format)); }
}  // namespace __1
}  // namespace std

// In place of Highway's abort.cc, which prints.
namespace hwy {
void Abort(const char*, int, const char* format, ...) { HostFail(format, std::strlen(format)); }
}  // namespace hwy

SPARSIFY_EXPORT(allocate) void* Allocate(size_t bytes) {
  void* const memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (memory == nullptr) sparsify::FailOutOfMemory();
  return memory;
}

SPARSIFY_EXPORT(release) void Release(void* memory) { std::free(memory); }
