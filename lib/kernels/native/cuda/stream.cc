// TensorFlow's C API gives streams of pluggable devices only (TF_GetStream), so this one function is compiled against the
// C++ headers of the libtensorflow in use, where they are known.
#include "stream.h"

// SPARSIFY_TENSORFLOW_VERSION is the version of those headers, as TF_Version gives it: "2.21.0".
#if defined(SPARSIFY_TENSORFLOW_VERSION)

#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace sparsify::cuda {

const char* StreamVersion() { return SPARSIFY_TENSORFLOW_VERSION; }

void* TensorFlowStream(void* context) {
  // What the C API's opaque type is.
  auto* const op = static_cast<tensorflow::OpKernelContext*>(context);
  const tensorflow::DeviceContext* const device = op->op_device_context();
  if (device == nullptr || device->stream() == nullptr) return nullptr;
  return device->stream()->platform_specific_handle().stream;
}

}  // namespace sparsify::cuda

#else

namespace sparsify::cuda {

const char* StreamVersion() { return nullptr; }
void* TensorFlowStream(void*) { return nullptr; }

}  // namespace sparsify::cuda

#endif
