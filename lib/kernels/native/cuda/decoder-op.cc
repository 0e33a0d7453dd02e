#include "decoder-op.h"

#include <vector>

#include "../decoder-op-inl.h"

namespace sparsify::cuda {
namespace {

void Prepare(TF_OpKernelContext* context, int64_t count) {
  const Tensor description = Input(context, 0);
  std::vector<DecoderTensor> weights, words;
  for (int i = 1; i < tensorflow.TF_NumInputs(context); i++) {
    (i <= count ? weights : words).push_back(DecoderTensorOf<DecoderTensor>(context, i));
  }
  // On the same thread as TensorFlow's own work, so with its device; its stream must have made the numbers.
  Check(cudaDeviceSynchronize());
  std::vector<float> numbers(description.size());
  Check(cudaMemcpy(numbers.data(), description.data(), numbers.size() * sizeof(float), cudaMemcpyDeviceToHost));
  auto model = std::make_shared<DecoderModel>(numbers, weights, words);
  const Tensor id = Output(context, 0, {}, 1);
  const auto value = static_cast<float>(PreparedModels<DecoderModel>::All().Put(std::move(model)));
  // The copy returns when the number has left `value`, which is before it has come: TensorFlow's streams do not wait for it.
  Check(cudaMemcpy(id.data(), &value, sizeof value, cudaMemcpyHostToDevice));
  Check(cudaDeviceSynchronize());
}

}  // namespace

void RegisterDecoderOp() { RegisterPrepare<&Prepare>("words: M * float", "GPU"); }

std::shared_ptr<DecoderModel> TakeDecoderModel(uint32_t id) { return PreparedModels<DecoderModel>::All().Take(id); }

}  // namespace sparsify::cuda
