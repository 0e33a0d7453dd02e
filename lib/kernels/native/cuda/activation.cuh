// The activations on the device. Same definitions as lib/kernels/activations.ts.
#ifndef SPARSIFY_CUDA_ACTIVATION_CUH_
#define SPARSIFY_CUDA_ACTIVATION_CUH_

#include "../shared/activation.h"

namespace sparsify::cuda {

__device__ __forceinline__ float Activate(Activation activation, float z) {
  switch (activation) {
    case Activation::kRelu:
      return z < 0 ? 0.0f : z;  // not fmaxf: NaN stays, as in TensorFlow
    case Activation::kSilu:
      return z / (1.0f + expf(-z));
    case Activation::kGelu:
      // 0.5 * erfc(-z / sqrt 2) instead of 1 + erf, which loses all digits in the left tail.
      return z * (0.5f * erfcf(z * -0.70710678118654752f));
    case Activation::kTanh:
      return tanhf(z);
    case Activation::kSigmoid:
      return 1.0f / (1.0f + expf(-z));
    default:
      return z;
  }
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_ACTIVATION_CUH_
