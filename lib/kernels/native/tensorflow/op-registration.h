// How ops are registered with the libtensorflow of the process: the name and the inputs of each, what TensorFlow keeps of it,
// and the function that computes it.
#ifndef SPARSIFY_TENSORFLOW_OP_REGISTRATION_H_
#define SPARSIFY_TENSORFLOW_OP_REGISTRATION_H_

#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include "op-kernel.h"

namespace sparsify {

struct OpDefinition {
  const char* name;
  std::vector<const char*> inputs;
  const char* output;
  std::vector<const char*> attributes;
  const char* device = "CPU";
};

// What TensorFlow keeps of an op is a `Kernel`. A ReadKernel sets it from the op's attributes, a ComputeKernel computes a call
// with it. Both may throw.
template <class Kernel>
using ReadKernel = void (*)(TF_OpKernelConstruction*, Kernel*);
template <class Kernel>
using ComputeKernel = void (*)(const Kernel&, TF_OpKernelContext*);

// The three functions that TensorFlow calls.
template <class Kernel>
struct OpFunctions {
  template <ReadKernel<Kernel> kRead>
  static void* Create(TF_OpKernelConstruction* construction) {
    auto* kernel = new Kernel;
    Guarded(construction, [&] { kRead(construction, kernel); });
    return kernel;
  }
  template <ComputeKernel<Kernel> kCompute>
  static void Compute(void* kernel, TF_OpKernelContext* context) {
    Guarded(context, [&] { kCompute(*static_cast<const Kernel*>(kernel), context); });
  }
  static void Destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }
};

inline void RegisterOp(const OpDefinition& op, void* (*create)(TF_OpKernelConstruction*),
                       void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)) {
  TF_OpDefinitionBuilder* const builder = tensorflow.TF_NewOpDefinitionBuilder(op.name);
  for (const char* attribute : op.attributes) tensorflow.TF_OpDefinitionBuilderAddAttr(builder, attribute);
  for (const char* input : op.inputs) tensorflow.TF_OpDefinitionBuilderAddInput(builder, input);
  tensorflow.TF_OpDefinitionBuilderAddOutput(builder, op.output);
  tensorflow.TF_OpDefinitionBuilderSetShapeInferenceFunction(
      builder, [](TF_ShapeInferenceContext* context, TF_Status* status) {
        tensorflow.TF_ShapeInferenceContextSetUnknownShape(context, status);
      });
  Status status;
  tensorflow.TF_RegisterOpDefinition(builder, status);  // takes the builder
  status.Check();
  TF_KernelBuilder* const kernel = tensorflow.TF_NewKernelBuilder(op.name, op.device, create, compute, destroy);
  tensorflow.TF_RegisterKernelBuilder(op.name, kernel, status);  // takes the builder
  status.Check();
}

// Registers an op whose kernel is read by kRead and computed by kCompute.
template <auto kRead, auto kCompute, class Kernel>
void RegisterAs(const OpDefinition& op, ReadKernel<Kernel>) {
  using Functions = OpFunctions<Kernel>;
  RegisterOp(op, &Functions::template Create<kRead>, &Functions::template Compute<kCompute>, &Functions::Destroy);
}
template <auto kRead, auto kCompute>
void Register(const OpDefinition& op) {
  RegisterAs<kRead, kCompute>(op, kRead);
}

// Finds TensorFlow's functions and calls `register_all`, if no call of this process has done so. Returns why that failed, or
// an empty string. Thread-safe.
inline std::string RegisterOnce(void (*register_all)()) {
  static std::mutex mutex;
  static bool registered = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (registered) return "";
  const std::string problem = LoadTensorFlow();
  if (!problem.empty()) return problem;
  try {
    register_all();
  } catch (const std::exception& error) {
    return error.what();
  }
  registered = true;
  return "";
}

}  // namespace sparsify

#endif  // SPARSIFY_TENSORFLOW_OP_REGISTRATION_H_
