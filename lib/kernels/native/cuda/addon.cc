// The Node-API module for tfjs-node-gpu. All computing goes through TensorFlow's ops, but for the decoder's.
//
//   register()  -> undefined, or throws with the reason
//   launches()  -> number of calls that were enqueued on a GPU
//   waits()     -> whether calls wait for the device, since TensorFlow's stream is not known
//   device()    -> {name, computeCapability, multiprocessors, memoryBytes, clusters}, or throws with the reason
//
// and the functions of node/decoder-addon.h, but for the step.
#include <cuda_runtime_api.h>
#include <node_api.h>

#include <string>

#include "../node/decoder-addon.h"
#include "../node/node-values.h"
#include "decoder-model.h"
#include "decoder-session.h"
#include "ops.h"
#include "sparsified-matmul.h"

namespace sparsify::cuda {
namespace {

napi_value JsLaunches(napi_env env, napi_callback_info) { return Number(env, static_cast<double>(Launches())); }

napi_value JsWaits(napi_env env, napi_callback_info info) {
  JsRegister<RegisterOps>(env, info);  // TensorFlow's version must be known
  bool failed = false;
  napi_is_exception_pending(env, &failed);
  return failed ? nullptr : Boolean(env, Waits());
}

napi_value JsDevice(napi_env env, napi_callback_info) {
  int id = 0;
  cudaDeviceProp properties;
  Device device;
  cudaError_t error = cudaGetDevice(&id);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, id);
  if (error == cudaSuccess) error = CurrentDevice(&device);
  if (error != cudaSuccess) {
    napi_throw_error(env, nullptr, cudaGetErrorString(error));
    return nullptr;
  }
  napi_value object;
  napi_create_object(env, &object);
  const std::string capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
  napi_set_named_property(env, object, "name", Text(env, properties.name));
  napi_set_named_property(env, object, "computeCapability", Text(env, capability));
  napi_set_named_property(env, object, "multiprocessors", Number(env, device.multiprocessors));
  napi_set_named_property(env, object, "memoryBytes", Number(env, static_cast<double>(properties.totalGlobalMem)));
  napi_set_named_property(env, object, "clusters", Boolean(env, device.clusters));
  return object;
}

using GpuDecoder = DecoderAddon<DecoderModel, DecoderSession, false, 0x3c71e09ad54f8b62, 0x94e2b70d1f6ac835>;

}  // namespace
}  // namespace sparsify::cuda

NAPI_MODULE_INIT() {
  using namespace sparsify;
  ExportFunctions(env, exports,
                  {{"register", JsRegister<cuda::RegisterOps>}, {"launches", cuda::JsLaunches}, {"waits", cuda::JsWaits},
                   {"device", cuda::JsDevice}});
  cuda::GpuDecoder::Export(env, exports);
  return exports;
}
