// The CUDA stream on which TensorFlow runs an op.
#ifndef SPARSIFY_CUDA_STREAM_H_
#define SPARSIFY_CUDA_STREAM_H_

namespace sparsify::cuda {

// TensorFlow's version that TensorFlowStream was compiled for, or null if it was compiled without its headers.
const char* StreamVersion();

// The stream of the device that `context`, a TF_OpKernelContext of a kernel for "GPU", computes on: a cudaStream_t. Null
// without TensorFlow's headers. Only for the libtensorflow of StreamVersion: it reads that version's classes.
void* TensorFlowStream(void* context);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_STREAM_H_
