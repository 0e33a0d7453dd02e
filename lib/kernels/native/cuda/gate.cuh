// The activations of gates on the device, defined as in ../decoder-loops.cc.
#ifndef SPARSIFY_CUDA_GATE_CUH_
#define SPARSIFY_CUDA_GATE_CUH_

#include "../shared/activation.h"
#include "activation.cuh"

namespace sparsify::cuda {

__device__ __forceinline__ float ActivateGate(GateActivation activation, float z) {
  switch (activation) {
    case GateActivation::kGelu:
      return Activate(Activation::kGelu, z);
    case GateActivation::kGeluTanh:
      // x * sigmoid of twice the argument of tanh.
      return z / (1.0f + expf(-1.5957691216057308f * (z + 0.044715f * z * z * z)));
    default:
      return Activate(Activation::kSilu, z);
  }
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_GATE_CUH_
