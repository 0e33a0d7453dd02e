// What the module asks of its host, the JavaScript that has made an instance of it (lib/kernels/wasm/instance.ts).
#ifndef SPARSIFY_WASM_HOST_H_
#define SPARSIFY_WASM_HOST_H_

#include <cstddef>

// A function that JavaScript calls under its own name.
#define SPARSIFY_EXPORT(name) extern "C" __attribute__((export_name(#name)))

// Throws an error with a text of `length` bytes, and so leaves the module.
extern "C" [[noreturn]] __attribute__((import_module("host"), import_name("fail"))) void HostFail(const char* text,
                                                                                                  size_t length);

// Gives at least `bytes` more bytes of the memory, aligned to 16; or null.
extern "C" __attribute__((import_module("host"), import_name("more_memory"))) void* HostMoreMemory(size_t bytes);

#endif  // SPARSIFY_WASM_HOST_H_
