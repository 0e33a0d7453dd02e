// How the decoder says that it cannot go on: by an exception, or where there are none, in WebAssembly, by a function of the host
// that throws an error of its own and so leaves the module.
#ifndef SPARSIFY_SHARED_PROBLEM_H_
#define SPARSIFY_SHARED_PROBLEM_H_

#include <new>
#include <stdexcept>
#include <string>

namespace sparsify {

struct DecoderProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#if defined(__wasm__)

// wasm/host.cc.
[[noreturn]] void Fail(const std::string& problem);
[[noreturn]] void FailOutOfMemory();

#else

[[noreturn]] inline void Fail(const std::string& problem) { throw DecoderProblem(problem); }
[[noreturn]] inline void FailOutOfMemory() { throw std::bad_alloc(); }

#endif

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_PROBLEM_H_
