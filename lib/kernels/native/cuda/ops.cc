#include "ops.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "../tensorflow/op-inputs.h"
#include "../tensorflow/op-registration.h"
#include "decoder-op.h"
#include "device-memory.h"
#include "sparsified-matmul.h"
#include "stream.h"

namespace sparsify::cuda {
namespace {

std::atomic<uint64_t> launches{0};

// Where a call is enqueued. TensorFlow's stream, on which everything is in order already; or one of our own, before
// which all the device's work is waited for and whose end is waited for too.
class Stream {
 public:
  explicit Stream(TF_OpKernelContext* context) : waits_(Waits()) {
    if (!waits_) {
      stream_ = static_cast<cudaStream_t>(TensorFlowStream(context));
      if (stream_ == nullptr) throw std::runtime_error("TensorFlow gives no stream for this op");
      return;
    }
    Check(cudaDeviceSynchronize());
    Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~Stream() {
    if (waits_) cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // After the last call.
  void Done() const {
    launches++;
    if (waits_) Check(cudaStreamSynchronize(stream_));
  }
  operator cudaStream_t() const { return stream_; }

 private:
  bool waits_;
  cudaStream_t stream_ = nullptr;
};

const Device& ThisDevice() {
  static const Device device = [] {
    Device found;
    Check(CurrentDevice(&found));
    return found;
  }();
  return device;
}

// What kernels that are not float32 are called.
enum class Packing : uint8_t { kNone, kBfloat16, kInt8, kInt4, kInt4Asymmetric, kInt4Minimum };
struct PackingName {
  const char* name;
  Packing packing;
  int64_t parameters;  // inputs that belong to the kernel
};
constexpr PackingName kPackings[] = {{"bf16", Packing::kBfloat16, 0},
                                     {"int8", Packing::kInt8, 2},
                                     {"int4", Packing::kInt4, 1},
                                     {"int4_asymmetric", Packing::kInt4Asymmetric, 2},
                                     {"int4_minimum", Packing::kInt4Minimum, 2}};

// What TensorFlow keeps of an op: its attributes, parsed.
struct Kernel {
  Activation activation = Activation::kLinear;
  Packing packing = Packing::kNone;
  int64_t units = 0;              // only of packed kernels
  int64_t parameters = 0;         // only of packed kernels: inputs between the threshold and the bias
  int64_t first = 0, columns = 0;  // only of the dequantization
};

void ReadNothing(TF_OpKernelConstruction*, Kernel*) {}
void ReadActivation(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationAttribute(construction);
}
void ReadPacking(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->units = IntAttribute(construction, "units");
  kernel->parameters = IntAttribute(construction, "P");
  const std::string storage = StringAttribute(construction, "storage");
  std::string known;
  for (const PackingName& packing : kPackings) {
    if (storage == packing.name) {
      if (kernel->parameters != packing.parameters) {
        throw InvalidArgument("storage " + storage + " with " + std::to_string(kernel->parameters) + " parameters; it has " +
                              std::to_string(packing.parameters));
      }
      kernel->packing = packing.packing;
      return;
    }
    known += std::string(known.empty() ? "" : ", ") + packing.name;
  }
  throw InvalidArgument("there is no storage \"" + storage + "\"; there are " + known);
}
void ReadPacked(TF_OpKernelConstruction* construction, Kernel* kernel) {
  ReadActivation(construction, kernel);
  ReadPacking(construction, kernel);
}
void ReadDequantize(TF_OpKernelConstruction* construction, Kernel* kernel) {
  ReadPacking(construction, kernel);
  kernel->first = IntAttribute(construction, "first");
  kernel->columns = IntAttribute(construction, "columns");
  if (kernel->first < 0 || kernel->columns < 0 || kernel->first > kernel->units - kernel->columns) {
    throw InvalidArgument("there are no columns from " + std::to_string(kernel->first) + " on, " +
                          std::to_string(kernel->columns) + " of " + std::to_string(kernel->units));
  }
}

// Bytes of which rows of packed kernels, and of what groups have, are a multiple.
constexpr size_t kRowStep = 16;

size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

// Throws unless a tensor is [rows, columns].
void CheckMatrix(const char* name, const Tensor& tensor, int64_t rows, size_t columns) {
  if (tensor.rank() == 2 && tensor.shape()[0] == rows && tensor.shape()[1] == static_cast<int64_t>(columns)) return;
  throw InvalidArgument(std::string(name) + " has shape " + tensor.ShapeText() + "; it must be [" + std::to_string(rows) + ", " +
                        std::to_string(columns) + "]");
}

// `parameters` are those behind the kernel.
StoredKernel Int4KernelOf(const Kernel& kernel, const Tensor& values, int64_t inputs, const std::vector<Tensor>& parameters) {
  const auto units = static_cast<size_t>(kernel.units);
  const size_t stride = RoundUp(StoredKernel::Int4Stride(units), kRowStep), words = stride / sizeof(float);
  CheckMatrix("the INT4 kernel", values, inputs, words);
  const Tensor& scale = parameters.at(0);
  const int64_t groups = scale.rank() == 2 ? scale.shape()[0] : 0;
  if (groups == 0 || inputs % groups != 0) {
    throw InvalidArgument("the INT4 kernel's scale has shape " + scale.ShapeText() + " for " + std::to_string(inputs) +
                          " inputs; it must have a row for each group of them, and groups that divide the inputs");
  }
  Int4Groups of;
  of.size = static_cast<size_t>(inputs / groups);
  of.stride = RoundUp(Int4Groups::Stride(units), kRowStep / sizeof(Float16Bits));
  const size_t half_words = of.stride * sizeof(Float16Bits) / sizeof(float);
  CheckMatrix("the INT4 kernel's scale", scale, groups, half_words);
  of.scale = scale.halves();
  if (kernel.packing == Packing::kInt4Asymmetric) {
    CheckMatrix("the INT4 kernel's zero point", parameters.at(1), groups, words);
    of.zero_point = reinterpret_cast<const uint8_t*>(parameters[1].bytes());
  } else if (kernel.packing == Packing::kInt4Minimum) {
    CheckMatrix("the INT4 kernel's minimum", parameters.at(1), groups, half_words);
    of.minimum = parameters[1].halves();
  }
  return StoredKernel::Int4(reinterpret_cast<const uint8_t*>(values.bytes()), stride, of);
}

// A kernel of `inputs` rows. `parameters` are those behind it, of packed kernels.
StoredKernel KernelOf(const Kernel& kernel, const Tensor& weights, int64_t inputs, const std::vector<Tensor>& parameters) {
  const auto units = static_cast<size_t>(kernel.units);
  const size_t stride = RoundUp(units, kRowStep);
  switch (kernel.packing) {
    case Packing::kNone:
      if (weights.rank() != 2 || weights.shape()[0] != inputs) {
        throw InvalidArgument("the kernel has shape " + weights.ShapeText() + "; it must be [" + std::to_string(inputs) +
                              ", units] for an x with that many inputs");
      }
      return StoredKernel::Floats(weights.data(), static_cast<size_t>(weights.shape()[1]));
    case Packing::kBfloat16:
      CheckMatrix("the bfloat16 kernel", weights, inputs, stride / 2);
      return StoredKernel::Narrow(weights.halves(), stride);
    case Packing::kInt8:
      CheckMatrix("the INT8 kernel", weights, inputs, stride / 4);
      return StoredKernel::Int8(weights.bytes(), stride, PerUnit(parameters.at(0), units, "scale"),
                                PerUnit(parameters.at(1), units, "zero point"));
    default:
      return Int4KernelOf(kernel, weights, inputs, parameters);
  }
}

// Device memory that TensorFlow may give to what is enqueued after this op. Empty for 0 bytes.
std::vector<Tensor> Workspace(TF_OpKernelContext* context, size_t bytes) {
  std::vector<Tensor> workspace;
  if (bytes == 0) return workspace;
  const auto size = static_cast<int64_t>((bytes + sizeof(float) - 1) / sizeof(float));
  TF_AllocatorAttributes attributes = {};
  attributes.struct_size = offsetof(TF_AllocatorAttributes, on_host) + sizeof(attributes.on_host);
  Status status;
  TF_Tensor* const tensor = tensorflow.TF_AllocateTemp(context, TF_FLOAT, &size, 1, &attributes, status);
  status.Check();
  workspace.emplace_back(tensor);
  return workspace;
}

void Multiply(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), weights = Input(context, 1), threshold = Input(context, 2);
  const Matrix matrix(x);
  const auto inputs = static_cast<int64_t>(matrix.columns), rows = static_cast<int64_t>(matrix.rows);
  const std::vector<Tensor> rest = InputsFrom(context, 3);
  const StoredKernel stored = KernelOf(kernel, weights, inputs, rest);
  const int64_t units = kernel.packing == Packing::kNone ? weights.shape()[1] : kernel.units;
  if (inputs > kMaxInputs || units > std::numeric_limits<int>::max() / 2) {
    throw InvalidArgument("a kernel of shape " + weights.ShapeText() + " is too large: at most " +
                          std::to_string(kMaxInputs) + " inputs");
  }
  const auto unit_count = static_cast<size_t>(units), parameters = static_cast<size_t>(kernel.parameters);
  MatMul call = {};
  call.inputs = static_cast<int>(inputs);
  call.threshold_per_input = IsPerInput(threshold, matrix.columns);
  call.threshold = threshold.data();
  call.kernel = stored;
  call.units = static_cast<int>(units);
  call.activation = kernel.activation;
  if (rest.size() > parameters) call.bias = PerUnit(rest[parameters], unit_count, "bias");
  const Tensor y = Output(context, 0, matrix.leading, unit_count);
  if (y.size() == 0) return;
  const Stream stream(context);
  call.rows = static_cast<int>(std::min<int64_t>(rows, kMaxRows));
  const Plan plan = PlanFor(call, ThisDevice());
  const std::vector<Tensor> workspace = Workspace(context, plan.workspace_bytes);
  for (int64_t row = 0; row < rows; row += kMaxRows) {
    call.rows = static_cast<int>(std::min<int64_t>(rows - row, kMaxRows));
    call.x = matrix.data + row * inputs;
    call.y = y.data() + row * units;
    const Plan own = PlanFor(call, ThisDevice());
    Check(Launch(call, own, workspace.empty() ? nullptr : workspace[0].data(), stream));
  }
  stream.Done();
}

void Dequantize(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor packed = Input(context, 0);
  const std::vector<Tensor> parameters = InputsFrom(context, 1);
  const int64_t inputs = packed.rank() == 2 ? packed.shape()[0] : 0;
  const StoredKernel stored = KernelOf(kernel, packed, inputs, parameters);
  const Tensor y = Output(context, 0, {inputs}, static_cast<size_t>(kernel.columns));
  if (y.size() == 0) return;
  const Stream stream(context);
  Check(LaunchWiden(stored, inputs, kernel.first, static_cast<int>(kernel.columns), y.data(), stream));
  stream.Done();
}

void Mask(const Kernel&, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), threshold = Input(context, 1);
  const Matrix matrix(x);
  const auto rows = static_cast<int64_t>(matrix.rows), inputs = static_cast<int64_t>(matrix.columns);
  const bool per_input = IsPerInput(threshold, matrix.columns);
  const Tensor y = Output(context, 0, {rows}, matrix.columns);
  const Stream stream(context);
  Check(LaunchMask(matrix.data, rows, inputs, threshold.data(), per_input, y.data(), stream));
  stream.Done();
}

void AddBias(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0);
  const Matrix matrix(x);
  const auto rows = static_cast<int64_t>(matrix.rows), units = static_cast<int64_t>(matrix.columns);
  const std::vector<Tensor> rest = InputsFrom(context, 1);
  const float* const bias = rest.empty() ? nullptr : PerUnit(rest[0], matrix.columns, "bias");
  const Tensor y = Output(context, 0, matrix.leading, matrix.columns);
  const Stream stream(context);
  Check(LaunchBiasActivation(matrix.data, rows, units, bias, kernel.activation, y.data(), stream));
  stream.Done();
}

void RegisterAll() {
  Register<ReadActivation, Multiply>({"SparsifiedMatMul",
                                      {"x: float", "kernel: float", "threshold: float", "bias: B * float"},
                                      "y: float",
                                      {"B: int >= 0", "activation: string"},
                                      "GPU"});
  Register<ReadPacked, Multiply>(
      {"SparsifiedMatMulPacked",
       {"x: float", "kernel: float", "threshold: float", "parameters: P * float", "bias: B * float"},
       "y: float",
       {"P: int >= 0", "B: int >= 0", "units: int", "storage: string", "activation: string"},
       "GPU"});
  Register<ReadDequantize, Dequantize>({"SparsifyDequantizePacked",
                                        {"kernel: float", "parameters: P * float"},
                                        "weights: float",
                                        {"P: int >= 0", "units: int", "storage: string", "first: int", "columns: int"},
                                        "GPU"});
  Register<ReadNothing, Mask>({"SparsifyMask", {"x: float", "threshold: float"}, "y: float", {}, "GPU"});
  Register<ReadActivation, AddBias>({"SparsifyBiasActivation",
                                     {"x: float", "bias: B * float"},
                                     "y: float",
                                     {"B: int >= 0", "activation: string"},
                                     "GPU"});
  RegisterDecoderOp();
}

}  // namespace

uint64_t Launches() { return launches; }

bool Waits() {
  static const bool waits =
      StreamVersion() == nullptr || std::strcmp(StreamVersion(), tensorflow.TF_Version()) != 0;
  return waits;
}

std::string RegisterOps() { return RegisterOnce(RegisterAll); }

}  // namespace sparsify::cuda
