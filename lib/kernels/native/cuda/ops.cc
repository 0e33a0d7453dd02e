#include "ops.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <vector>

#include "../op-kernel.h"
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

// x as [rows, columns].
struct Matrix {
  explicit Matrix(const Tensor& x) {
    if (x.rank() == 0) throw InvalidArgument("x is a scalar; it must be [..., inputs]");
    columns = x.shape().back();
    for (size_t i = 0; i + 1 < x.rank(); i++) rows *= x.shape()[i];
    leading.assign(x.shape().begin(), x.shape().end() - 1);
  }
  int64_t rows = 1;
  int64_t columns;
  std::vector<int64_t> leading;
};

// Whether there is one value for each input.
bool IsPerInput(const Tensor& threshold, int64_t inputs) {
  const auto size = static_cast<int64_t>(threshold.size());
  if (size == 1) return false;
  if (threshold.rank() == 1 && size == inputs) return true;
  throw InvalidArgument("the threshold has shape " + threshold.ShapeText() + "; it must hold 1 value or be [" +
                        std::to_string(inputs) + "], one value per input");
}

// `what` as one value per unit; null if it is empty.
const float* PerUnit(const Tensor& values, int64_t units, const char* what) {
  if (values.size() == 0) return nullptr;
  if (static_cast<int64_t>(values.size()) != units) {
    throw InvalidArgument(std::string("the ") + what + " has shape " + values.ShapeText() + "; it must be [" +
                          std::to_string(units) + "], one value per unit, or [0]");
  }
  return values.data();
}

// What a kernel of TensorFlow's keeps: the attributes, parsed.
struct Kernel {
  Activation activation = Activation::kLinear;
  Storage storage = Storage::kFloat32;
  int64_t units = 0;       // of packed storage
  int64_t parameters = 0;  // likewise: inputs between the threshold and the bias
};

void ReadNothing(TF_OpKernelConstruction*, Kernel*) {}
void ReadActivation(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationNamed(StringAttribute(construction, "activation"));
}
void ReadPacked(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationNamed(StringAttribute(construction, "activation"));
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

template <void (*kRead)(TF_OpKernelConstruction*, Kernel*)>
void* Create(TF_OpKernelConstruction* construction) {
  auto* kernel = new Kernel;
  Guarded(construction, [&] { kRead(construction, kernel); });
  return kernel;
}

void Destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }

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
  std::vector<Tensor> rest;
  for (int i = 3; i < tensorflow.TF_NumInputs(context); i++) rest.push_back(Input(context, i));
  const auto parameters = static_cast<size_t>(kernel.parameters);
  const bool packed = kernel.storage != Storage::kFloat32;
  const int64_t per_word = kernel.storage == Storage::kInt8 ? 4 : kernel.storage == Storage::kBfloat16 ? 2 : 1;
  const int64_t columns = weights.rank() == 2 ? weights.shape()[1] : 0;
  const int64_t units = packed ? kernel.units : columns;
  const int64_t stride = packed ? (units + 15) / 16 * 16 : units;
  if (weights.rank() != 2 || weights.shape()[0] != matrix.columns || columns * per_word != stride) {
    throw InvalidArgument("the kernel has shape " + weights.ShapeText() + "; it must be [" +
                          std::to_string(matrix.columns) + ", " +
                          (packed ? std::to_string(stride / per_word) : std::string("units")) +
                          "] for an x with that many inputs");
  }
  if (matrix.columns > kMaxInputs || units > std::numeric_limits<int>::max() / 2) {
    throw InvalidArgument("a kernel of shape " + weights.ShapeText() + " is too large: at most " +
                          std::to_string(kMaxInputs) + " inputs");
  }
  MatMul call = {};
  call.inputs = static_cast<int>(matrix.columns);
  call.threshold_per_input = IsPerInput(threshold, matrix.columns);
  call.threshold = threshold.data();
  call.kernel = weights.data();
  call.storage = kernel.storage;
  call.stride = stride;
  call.units = static_cast<int>(units);
  call.activation = kernel.activation;
  if (parameters == 2) {
    call.scale = PerUnit(rest.at(0), units, "scale");
    call.zero_point = PerUnit(rest.at(1), units, "zero point");
  }
  if (rest.size() > parameters) call.bias = PerUnit(rest[parameters], units, "bias");
  const Tensor y = Output(context, 0, matrix.leading, static_cast<size_t>(units));
  if (y.size() == 0) return;
  const Stream stream(context);
  call.rows = static_cast<int>(std::min<int64_t>(matrix.rows, kMaxRows));
  const Plan plan = PlanFor(call, ThisDevice());
  const std::vector<Tensor> workspace = Workspace(context, plan.workspace_bytes);
  for (int64_t row = 0; row < matrix.rows; row += kMaxRows) {
    call.rows = static_cast<int>(std::min<int64_t>(matrix.rows - row, kMaxRows));
    call.x = x.data() + row * matrix.columns;
    call.y = y.data() + row * units;
    Plan own = PlanFor(call, ThisDevice());
    Check(Launch(call, own, workspace.empty() ? nullptr : workspace[0].data(), stream));
  }
  stream.Done();
}

void Mask(const Kernel&, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), threshold = Input(context, 1);
  const Matrix matrix(x);
  const bool per_input = IsPerInput(threshold, matrix.columns);
  const Tensor y = Output(context, 0, {matrix.rows}, static_cast<size_t>(matrix.columns));
  const Stream stream(context);
  Check(LaunchMask(x.data(), matrix.rows, matrix.columns, threshold.data(), per_input, y.data(), stream));
  stream.Done();
}

void AddBias(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0);
  const Matrix matrix(x);
  std::vector<Tensor> rest;
  if (tensorflow.TF_NumInputs(context) > 1) rest.push_back(Input(context, 1));
  const float* const bias = rest.empty() ? nullptr : PerUnit(rest[0], matrix.columns, "bias");
  const Tensor y = Output(context, 0, matrix.leading, static_cast<size_t>(matrix.columns));
  const Stream stream(context);
  Check(LaunchBiasActivation(x.data(), matrix.rows, matrix.columns, bias, kernel.activation, y.data(), stream));
  stream.Done();
}

template <void (*kCompute)(const Kernel&, TF_OpKernelContext*)>
void Compute(void* kernel, TF_OpKernelContext* context) {
  Guarded(context, [&] { kCompute(*static_cast<const Kernel*>(kernel), context); });
}

}  // namespace

uint64_t Launches() { return launches; }

bool Waits() {
  static const bool waits =
      StreamVersion() == nullptr || std::strcmp(StreamVersion(), tensorflow.TF_Version()) != 0;
  return waits;
}

std::string RegisterOps() {
  static std::mutex mutex;
  static bool registered = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (registered) return "";
  const std::string problem = LoadTensorFlow();
  if (!problem.empty()) return problem;
  try {
    Register({"SparsifiedMatMul",
              {"x: float", "kernel: float", "threshold: float", "bias: B * float"},
              "y: float",
              {"B: int >= 0", "activation: string"},
              &Create<ReadActivation>,
              &Compute<Multiply>,
              &Destroy,
              "GPU"});
    Register({"SparsifiedMatMulPacked",
              {"x: float", "kernel: float", "threshold: float", "parameters: P * float", "bias: B * float"},
              "y: float",
              {"P: int >= 0", "B: int >= 0", "units: int", "storage: string", "activation: string"},
              &Create<ReadPacked>,
              &Compute<Multiply>,
              &Destroy,
              "GPU"});
    Register({"SparsifyMask",
              {"x: float", "threshold: float"},
              "y: float",
              {},
              &Create<ReadNothing>,
              &Compute<Mask>,
              &Destroy,
              "GPU"});
    Register({"SparsifyBiasActivation",
              {"x: float", "bias: B * float"},
              "y: float",
              {"B: int >= 0", "activation: string"},
              &Create<ReadActivation>,
              &Compute<AddBias>,
              &Destroy,
              "GPU"});
    RegisterDecoderOp();
  } catch (const std::exception& error) {
    return error.what();
  }
  registered = true;
  return "";
}

}  // namespace sparsify::cuda
