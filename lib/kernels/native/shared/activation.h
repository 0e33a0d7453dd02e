// The activations that a kernel applies to its sums, with the names and definitions of lib/kernels/activations.ts; and the
// activations of a decoder's gates.
#ifndef SPARSIFY_SHARED_ACTIVATION_H_
#define SPARSIFY_SHARED_ACTIVATION_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sparsify {

enum class Activation : uint8_t { kLinear, kRelu, kSilu, kGelu, kTanh, kSigmoid };

constexpr const char* kActivationNames[] = {"linear", "relu", "silu", "gelu", "tanh", "sigmoid"};

// Finds the activation of a name, which need not end in a zero byte. Returns whether there is one.
inline bool ParseActivation(const char* name, size_t length, Activation* activation) {
  for (uint8_t i = 0; i < sizeof(kActivationNames) / sizeof(*kActivationNames); i++) {
    if (std::strlen(kActivationNames[i]) == length && std::memcmp(kActivationNames[i], name, length) == 0) {
      *activation = static_cast<Activation>(i);
      return true;
    }
  }
  return false;
}

// What a feed-forward part applies to its gate, in the order of ACTIVATIONS in lib/language/decoding/decoder-description.ts.
enum class GateActivation : uint8_t { kSilu, kGelu, kGeluTanh };

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_ACTIVATION_H_
