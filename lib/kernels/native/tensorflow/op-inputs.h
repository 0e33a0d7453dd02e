// What the ops are given, checked: the same on every device.
#ifndef SPARSIFY_TENSORFLOW_OP_INPUTS_H_
#define SPARSIFY_TENSORFLOW_OP_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../shared/activation.h"
#include "op-kernel.h"

namespace sparsify {

// A tensor [..., columns] as [rows, columns]; it keeps the data.
struct Matrix {
  explicit Matrix(const Tensor& x) {
    if (x.rank() == 0) throw InvalidArgument("x is a scalar; it must be [..., inputs]");
    data = x.data();
    columns = static_cast<size_t>(x.shape().back());
    leading.assign(x.shape().begin(), x.shape().end() - 1);
    for (const int64_t dim : leading) rows *= static_cast<size_t>(dim);
  }
  const float* data;
  size_t rows = 1;
  size_t columns;
  std::vector<int64_t> leading;  // x's dimensions without the last
};

// Whether the threshold has a value for each input, not one for all.
inline bool IsPerInput(const Tensor& threshold, size_t inputs) {
  const size_t size = threshold.size();
  if (size == 1) return false;
  if (threshold.rank() == 1 && size == inputs) return true;
  throw InvalidArgument("the threshold has shape " + threshold.ShapeText() + "; it must hold 1 value or be [" +
                        std::to_string(inputs) + "], one value per input");
}

// Values of which each unit has one; null if they are empty. `what` names them.
inline const float* PerUnit(const Tensor& values, size_t units, const char* what) {
  if (values.size() == 0) return nullptr;
  if (values.size() == units) return values.data();
  throw InvalidArgument(std::string("the ") + what + " has shape " + values.ShapeText() + "; it must be [" +
                        std::to_string(units) + "], one value per unit, or [0]");
}

// Inputs `first` and above.
inline std::vector<Tensor> InputsFrom(TF_OpKernelContext* context, int first) {
  std::vector<Tensor> inputs;
  for (int i = first; i < tensorflow.TF_NumInputs(context); i++) inputs.push_back(Input(context, i));
  return inputs;
}

// The attribute `activation`. Throws InvalidArgument with the names that there are.
inline Activation ActivationAttribute(TF_OpKernelConstruction* construction) {
  const std::string name = StringAttribute(construction, "activation");
  Activation activation;
  if (ParseActivation(name.data(), name.size(), &activation)) return activation;
  std::string known;
  for (const char* other : kActivationNames) known += std::string(known.empty() ? "" : ", ") + other;
  throw InvalidArgument("there is no activation \"" + name + "\"; there are " + known);
}

}  // namespace sparsify

#endif  // SPARSIFY_TENSORFLOW_OP_INPUTS_H_
