// The Node-API module for tfjs-node-gpu. All computing goes through TensorFlow's ops.
//
//   register()  -> undefined, or throws with the reason
//   launches()  -> number of calls that were enqueued on a GPU
//   waits()     -> whether calls wait for the device, since TensorFlow's stream is not known
//   device()    -> {name, computeCapability, multiprocessors, memoryBytes, clusters}, or throws with the reason
// and what decoder-addon.h has.
#include <cuda_runtime_api.h>
#include <node_api.h>

#include <string>

#include "decoder-addon.h"
#include "ops.h"
#include "sparsified-matmul.h"

namespace sparsify::cuda {
namespace {

napi_value JsRegister(napi_env env, napi_callback_info) {
  const std::string problem = RegisterOps();
  if (!problem.empty()) napi_throw_error(env, nullptr, problem.c_str());
  return nullptr;
}

napi_value Number(napi_env env, double value) {
  napi_value number;
  napi_create_double(env, value, &number);
  return number;
}

napi_value Boolean(napi_env env, bool value) {
  napi_value boolean;
  napi_get_boolean(env, value, &boolean);
  return boolean;
}

napi_value Text(napi_env env, const std::string& value) {
  napi_value text;
  napi_create_string_utf8(env, value.c_str(), value.size(), &text);
  return text;
}

napi_value JsLaunches(napi_env env, napi_callback_info) { return Number(env, static_cast<double>(Launches())); }

napi_value JsWaits(napi_env env, napi_callback_info) {
  if (JsRegister(env, nullptr) != nullptr) return nullptr;  // TensorFlow's version must be known
  return Boolean(env, Waits());
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

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace
}  // namespace sparsify::cuda

NAPI_MODULE_INIT() {
  using namespace sparsify::cuda;
  Export(env, exports, "register", JsRegister);
  Export(env, exports, "launches", JsLaunches);
  Export(env, exports, "waits", JsWaits);
  Export(env, exports, "device", JsDevice);
  ExportDecoder(env, exports);
  return exports;
}
