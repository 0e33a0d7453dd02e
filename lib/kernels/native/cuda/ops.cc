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

// What TensorFlow keeps of an op: its attributes, parsed.
struct Kernel {
  Activation activation = Activation::kLinear;
  Storage storage = Storage::kFloat32;
  int64_t units = 0;       // only of packed storage
  int64_t parameters = 0;  // only of packed storage: inputs between the threshold and the bias
};

void ReadNothing(TF_OpKernelConstruction*, Kernel*) {}
void ReadActivation(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationAttribute(construction);
}
void ReadPacked(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationAttribute(construction);
  kernel->units = IntAttribute(construction, "units");
  kernel->parameters = IntAttribute(construction, "P");
  const std::string storage = StringAttribute(construction, "storage");
  if (storage != "bf16" && storage != "int8") {
    throw InvalidArgument("there is no storage \"" + storage + "\"; there are bf16, int8");
  }
  kernel->storage = storage == "int8" ? Storage::kInt8 : Storage::kBfloat16;
  if (kernel->parameters != (kernel->storage == Storage::kInt8 ? 2 : 0)) {
    throw InvalidArgument("storage " + storage + " with " + std::to_string(kernel->parameters) +
                          " parameters; int8 has a scale and a zero point, bf16 has none");
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
  const auto parameters = static_cast<size_t>(kernel.parameters);
  const bool packed = kernel.storage != Storage::kFloat32;
  const int64_t per_word = kernel.storage == Storage::kInt8 ? 4 : kernel.storage == Storage::kBfloat16 ? 2 : 1;
  const int64_t columns = weights.rank() == 2 ? weights.shape()[1] : 0;
  const int64_t units = packed ? kernel.units : columns;
  const int64_t stride = packed ? (units + 15) / 16 * 16 : units;
  if (weights.rank() != 2 || weights.shape()[0] != inputs || columns * per_word != stride) {
    throw InvalidArgument("the kernel has shape " + weights.ShapeText() + "; it must be [" + std::to_string(inputs) + ", " +
                          (packed ? std::to_string(stride / per_word) : std::string("units")) +
                          "] for an x with that many inputs");
  }
  if (inputs > kMaxInputs || units > std::numeric_limits<int>::max() / 2) {
    throw InvalidArgument("a kernel of shape " + weights.ShapeText() + " is too large: at most " +
                          std::to_string(kMaxInputs) + " inputs");
  }
  const auto unit_count = static_cast<size_t>(units);
  MatMul call = {};
  call.inputs = static_cast<int>(inputs);
  call.threshold_per_input = IsPerInput(threshold, matrix.columns);
  call.threshold = threshold.data();
  call.kernel = weights.data();
  call.storage = kernel.storage;
  call.stride = stride;
  call.units = static_cast<int>(units);
  call.activation = kernel.activation;
  if (parameters == 2) {
    call.scale = PerUnit(rest.at(0), unit_count, "scale");
    call.zero_point = PerUnit(rest.at(1), unit_count, "zero point");
  }
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
