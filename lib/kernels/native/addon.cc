// The Node-API module for tfjs-node: registers the ops and says how they run. All computing goes through TensorFlow's ops,
// but for the decoder's.
//
//   register()                -> undefined, or throws with the reason
//   instructionSet()          -> name, such as "AVX2"
//   threads()                 -> number of threads, the caller's included
//   setThreads(n)
//   readBandwidth(float32Array) -> bytes a second at which the pool reads it once
//
// and the functions of node/decoder-addon.h. SPARSIFY_MAX_TARGET of the environment (max-target.h) is read at loading.
#include <node_api.h>

#include <string>

#include "decoder-model.h"
#include "decoder-session.h"
#include "max-target.h"
#include "node/decoder-addon.h"
#include "node/node-values.h"
#include "ops.h"
#include "pool.h"
#include "row-loops.h"
#include "sparsified-matmul.h"

namespace sparsify {
namespace {

napi_value JsInstructionSet(napi_env env, napi_callback_info) { return Text(env, LoopTarget()); }

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

using CpuDecoder = DecoderAddon<DecoderModel, DecoderSession, true, 0x8f3a5c1d2b7e4906, 0xa1d40e6c93b8275f>;

}  // namespace
}  // namespace sparsify

NAPI_MODULE_INIT() {
  using namespace sparsify;
  // Once: a worker that loads the addon later must not change the targets under a call of another thread.
  static const std::string* problem = new std::string(CapTargets());
  if (!problem->empty()) {
    napi_throw_error(env, nullptr, problem->c_str());
    return nullptr;
  }
  ExportFunctions(env, exports,
                  {{"register", JsRegister<RegisterOps>}, {"instructionSet", JsInstructionSet}, {"threads", JsThreads},
                   {"setThreads", JsSetThreads}, {"readBandwidth", JsReadBandwidth}});
  CpuDecoder::Export(env, exports);
  return exports;
}
