// What the ops are written with: TensorFlow's tensors, statuses and attributes as C++ objects.
#ifndef SPARSIFY_TENSORFLOW_OP_KERNEL_H_
#define SPARSIFY_TENSORFLOW_OP_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../shared/shape-text.h"
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
  // Numbers of float16, by their bits.
  const uint16_t* halves() const { return static_cast<const uint16_t*>(tensorflow.TF_TensorData(tensor_)); }
  const std::vector<int64_t>& shape() const { return shape_; }
  size_t rank() const { return shape_.size(); }
  size_t size() const {
    size_t size = 1;
    for (const int64_t dim : shape_) size *= static_cast<size_t>(dim);
    return size;
  }
  std::string ShapeText() const { return sparsify::ShapeText(shape_); }

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

inline void Fail(TF_OpKernelConstruction* construction, TF_Status* status) {
  tensorflow.TF_OpKernelConstruction_Failure(construction, status);
}
inline void Fail(TF_OpKernelContext* context, TF_Status* status) {
  tensorflow.TF_OpKernelContext_Failure(context, status);
}

// Calls f for TensorFlow, through which no exception may pass: it is told of one instead. `Context` is that of a kernel's
// construction or of a call.
template <class Context, class F>
void Guarded(Context* context, F&& f) {
  const auto report = [context](const std::exception& error, int code) {
    Status status;
    tensorflow.TF_SetStatus(status, code, error.what());
    Fail(context, status);
  };
  try {
    f();
  } catch (const InvalidArgument& error) {
    report(error, TF_INVALID_ARGUMENT);
  } catch (const std::exception& error) {
    report(error, TF_INTERNAL);
  }
}

inline std::string StringAttribute(TF_OpKernelConstruction* construction, const char* name) {
  Status status;
  int32_t list_size = 0, total_size = 0;
  tensorflow.TF_OpKernelConstruction_GetAttrSize(construction, name, &list_size, &total_size, status);
  status.Check();
  std::string value(static_cast<size_t>(total_size), '\0');
  tensorflow.TF_OpKernelConstruction_GetAttrString(construction, name, value.data(), value.size(), status);
  status.Check();
  return value;
}

inline int64_t IntAttribute(TF_OpKernelConstruction* construction, const char* name) {
  Status status;
  int64_t value = 0;
  tensorflow.TF_OpKernelConstruction_GetAttrInt64(construction, name, &value, status);
  status.Check();
  return value;
}

}  // namespace sparsify

#endif  // SPARSIFY_TENSORFLOW_OP_KERNEL_H_
