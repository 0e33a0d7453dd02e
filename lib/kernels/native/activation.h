// The activations that a kernel applies to its sums. Same names and definitions as lib/kernels/activations.ts.
#ifndef SPARSIFY_ACTIVATION_H_
#define SPARSIFY_ACTIVATION_H_

#include <cstdint>
#include <cstring>

namespace sparsify {

enum class Activation : uint8_t { kLinear, kRelu, kSilu, kGelu, kTanh, kSigmoid };

constexpr const char* kActivationNames[] = {"linear", "relu", "silu", "gelu", "tanh", "sigmoid"};

// False if there is no activation of that name, which need not end in a zero byte.
inline bool ParseActivation(const char* name, size_t length, Activation* activation) {
  for (uint8_t i = 0; i < sizeof(kActivationNames) / sizeof(*kActivationNames); i++) {
    if (std::strlen(kActivationNames[i]) == length && std::memcmp(kActivationNames[i], name, length) == 0) {
      *activation = static_cast<Activation>(i);
      return true;
    }
  }
  return false;
}

}  // namespace sparsify

#endif  // SPARSIFY_ACTIVATION_H_
