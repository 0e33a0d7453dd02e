// What the ops are written with: TensorFlow's tensors and statuses as C++ objects, and registering.
#ifndef SPARSIFY_OP_KERNEL_H_
#define SPARSIFY_OP_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow-api.h"

namespace sparsify {

// Reported to TensorFlow, and by it to JavaScript, as an invalid argument.
struct InvalidArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Status {
 public:
  Status() : status_(tensorflow.TF_NewStatus()) {}
  ~Status() { tensorflow.TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;
  operator TF_Status*() const { return status_; }
  void Check() const {
    if (tensorflow.TF_GetCode(status_) != TF_OK) throw std::runtime_error(tensorflow.TF_Message(status_));
  }

 private:
  TF_Status* status_;
};

class Tensor {
 public:
  explicit Tensor(TF_Tensor* tensor) : tensor_(tensor) {
    for (int i = 0; i < tensorflow.TF_NumDims(tensor); i++) shape_.push_back(tensorflow.TF_Dim(tensor, i));
  }
  ~Tensor() {
    if (tensor_ != nullptr) tensorflow.TF_DeleteTensor(tensor_);
  }
  Tensor(Tensor&& other) noexcept : tensor_(other.tensor_), shape_(std::move(other.shape_)) {
    other.tensor_ = nullptr;
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  // The same memory, no copy.
  void SetAsOutput(TF_OpKernelContext* context, int index) const {
    Status status;
    tensorflow.TF_SetOutput(context, index, tensor_, status);
    status.Check();
  }

  float* data() const { return static_cast<float*>(tensorflow.TF_TensorData(tensor_)); }
  const int8_t* bytes() const { return static_cast<const int8_t*>(tensorflow.TF_TensorData(tensor_)); }
  const std::vector<int64_t>& shape() const { return shape_; }
  size_t rank() const { return shape_.size(); }
  size_t size() const {
    size_t size = 1;
    for (const int64_t dim : shape_) size *= static_cast<size_t>(dim);
    return size;
  }
  std::string ShapeText() const {
    std::string text = "[";
    for (size_t i = 0; i < shape_.size(); i++) text += (i ? "," : "") + std::to_string(shape_[i]);
    return text + "]";
  }

 private:
  TF_Tensor* tensor_;
  std::vector<int64_t> shape_;
};

inline Tensor Input(TF_OpKernelContext* context, int index) {
  Status status;
  TF_Tensor* tensor = nullptr;
  tensorflow.TF_GetInput(context, index, &tensor, status);
  status.Check();
  return Tensor(tensor);
}

// float32, [rows..., columns].
inline Tensor Output(TF_OpKernelContext* context, int index, std::vector<int64_t> shape, size_t columns) {
  shape.push_back(static_cast<int64_t>(columns));
  size_t size = 1;
  for (const int64_t dim : shape) size *= static_cast<size_t>(dim);
  Status status;
  TF_Tensor* tensor = tensorflow.TF_AllocateOutput(context, index, TF_FLOAT, shape.data(),
                                                   static_cast<int>(shape.size()), size * sizeof(float), status);
  status.Check();
  return Tensor(tensor);
}

template <class F>
void Report(F&& report, const std::exception& error, int code) {
  Status status;
  tensorflow.TF_SetStatus(status, code, error.what());
  report(status);
}

struct OpDefinition {
  const char* name;
  std::vector<const char*> inputs;
  const char* output;
  std::vector<const char*> attributes;
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
  const char* device = "CPU";
};

inline void Register(const OpDefinition& op) {
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
  TF_KernelBuilder* const kernel =
      tensorflow.TF_NewKernelBuilder(op.name, op.device, op.create, op.compute, op.destroy);
  tensorflow.TF_RegisterKernelBuilder(op.name, kernel, status);  // takes the builder
  status.Check();
}

}  // namespace sparsify

#endif  // SPARSIFY_OP_KERNEL_H_
