#include "decoder-op.h"

#include <map>
#include <mutex>

#include "../op-kernel.h"

namespace sparsify::cuda {
namespace {

std::mutex models_mutex;
std::map<uint32_t, std::shared_ptr<DecoderModel>>& Models() {
  static auto* models = new std::map<uint32_t, std::shared_ptr<DecoderModel>>;  // outlives every thread
  return *models;
}

DecoderTensor TensorOf(TF_OpKernelContext* context, int index) {
  auto tensor = std::make_shared<Tensor>(Input(context, index));
  return {tensor->data(), tensor->shape(), tensor};
}

// The attribute N: how many of the inputs are weights.
struct Counts {
  int64_t weights = 0;
};

void* CreatePrepare(TF_OpKernelConstruction* construction) {
  auto* counts = new Counts;
  Guarded(construction, [&] { counts->weights = IntAttribute(construction, "N"); });
  return counts;
}

void ComputePrepare(const Counts& counts, TF_OpKernelContext* context) {
  const Tensor description = Input(context, 0);
  std::vector<DecoderTensor> weights, words;
  for (int i = 1; i < tensorflow.TF_NumInputs(context); i++) {
    (i <= counts.weights ? weights : words).push_back(TensorOf(context, i));
  }
  // On the same thread as TensorFlow's own work, so with its device; its stream must have made the numbers.
  Check(cudaDeviceSynchronize());
  std::vector<float> numbers(description.size());
  Check(cudaMemcpy(numbers.data(), description.data(), numbers.size() * sizeof(float), cudaMemcpyDeviceToHost));
  auto model = std::make_shared<DecoderModel>(numbers, weights, words);
  const Tensor id = Output(context, 0, {}, 1);
  const std::lock_guard<std::mutex> lock(models_mutex);
  static uint32_t last = 0;
  last = last % (1 << 24) + 1;  // exact as a float
  const auto value = static_cast<float>(last);
  // The copy returns when the number has left `value`, which is before it has come: TensorFlow's streams do not wait for it.
  Check(cudaMemcpy(id.data(), &value, sizeof value, cudaMemcpyHostToDevice));
  Check(cudaDeviceSynchronize());
  Models()[last] = std::move(model);
}

void Prepare(void* counts, TF_OpKernelContext* context) {
  Guarded(context, [&] {
    try {
      ComputePrepare(*static_cast<const Counts*>(counts), context);
    } catch (const DecoderProblem& error) {
      throw InvalidArgument(error.what());
    }
  });
}

}  // namespace

void RegisterDecoderOp() {
  Register({"SparsifyDecoderPrepare",
            {"numbers: float", "weights: N * float", "words: M * float"},
            "id: float",
            {"N: int >= 1", "M: int >= 0"},
            &CreatePrepare,
            &Prepare,
            [](void* counts) { delete static_cast<Counts*>(counts); },
            "GPU"});
}

std::shared_ptr<DecoderModel> TakeDecoderModel(uint32_t id) {
  const std::lock_guard<std::mutex> lock(models_mutex);
  const auto found = Models().find(id);
  if (found == Models().end()) return nullptr;
  std::shared_ptr<DecoderModel> model = std::move(found->second);
  Models().erase(found);
  return model;
}

}  // namespace sparsify::cuda
