// The Node-API module: registers the ops and says how they run. All computing goes through TensorFlow's ops, but for the
// decoder's (decoder-addon.h).
//
//   register()                -> undefined, or throws with the reason
//   instructionSet()          -> name, such as "AVX2"
//   threads()                 -> number of threads, the caller's included
//   setThreads(n)
//   readBandwidth(float32Array) -> bytes a second at which the pool reads it once
//
// SPARSIFY_MAX_TARGET=sse2|sse4|avx2|avx512 in the environment leaves the instruction sets above it unused, so that one
// machine can run the specs as older ones do.
#include <node_api.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "decoder-addon.h"
#include "hwy/detect_targets.h"
#include "hwy/targets.h"
#include "loops.h"
#include "ops.h"
#include "pool.h"
#include "sparsified-matmul.h"

namespace sparsify {
namespace {

napi_value Number(napi_env env, double value) {
  napi_value number;
  napi_create_double(env, value, &number);
  return number;
}

napi_value Argument(napi_env env, napi_callback_info info) {
  napi_value argument = nullptr;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  return argument;
}

napi_value JsRegister(napi_env env, napi_callback_info) {
  const std::string problem = RegisterOps();
  if (!problem.empty()) napi_throw_error(env, nullptr, problem.c_str());
  return nullptr;
}

napi_value JsInstructionSet(napi_env env, napi_callback_info) {
  napi_value text;
  napi_create_string_utf8(env, LoopTarget(), NAPI_AUTO_LENGTH, &text);
  return text;
}

napi_value JsThreads(napi_env env, napi_callback_info) { return Number(env, Pool::Get().threads()); }

napi_value JsSetThreads(napi_env env, napi_callback_info info) {
  uint32_t threads = 0;
  if (napi_get_value_uint32(env, Argument(env, info), &threads) != napi_ok || threads == 0) {
    napi_throw_type_error(env, nullptr, "setThreads: give a whole number of at least 1");
    return nullptr;
  }
  Pool::Get().SetThreads(threads);
  return nullptr;
}

napi_value JsReadBandwidth(napi_env env, napi_callback_info info) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, Argument(env, info), &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float32_array) {
    napi_throw_type_error(env, nullptr, "readBandwidth: give a Float32Array");
    return nullptr;
  }
  return Number(env, ReadBandwidth(static_cast<const float*>(data), length, Pool::Get()));
}

// Returns what is wrong with SPARSIFY_MAX_TARGET, empty if nothing is.
std::string CapTargets() {
  const char* text = std::getenv("SPARSIFY_MAX_TARGET");
  if (text == nullptr || *text == '\0') return "";
  const std::string name(text);
  for (const auto& [known, target] :
       {std::pair("sse2", HWY_SSE2), {"sse4", HWY_SSE4}, {"avx2", HWY_AVX2}, {"avx512", HWY_AVX3}}) {
    if (name != known) continue;
    hwy::DisableTargets(target - 1);  // the better a target of x86, the lower its bit
    return "";
  }
  return "SPARSIFY_MAX_TARGET is \"" + name + "\"; it must be sse2, sse4, avx2 or avx512, or unset for the best there is";
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace
}  // namespace sparsify

NAPI_MODULE_INIT() {
  using namespace sparsify;
  // Once: a worker that loads the addon later must not change it under a call of another thread.
  static const std::string* problem = new std::string(CapTargets());
  if (!problem->empty()) {
    napi_throw_error(env, nullptr, problem->c_str());
    return nullptr;
  }
  Export(env, exports, "register", JsRegister);
  Export(env, exports, "instructionSet", JsInstructionSet);
  Export(env, exports, "threads", JsThreads);
  Export(env, exports, "setThreads", JsSetThreads);
  Export(env, exports, "readBandwidth", JsReadBandwidth);
  ExportDecoder(env, exports);
  return exports;
}
