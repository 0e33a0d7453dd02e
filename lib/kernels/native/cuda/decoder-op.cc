#include "decoder-op.h"

#include <vector>

#include "../tensorflow/prepare-op.h"
#include "decoder-model.h"

namespace sparsify::cuda {
namespace {

// On the same thread as TensorFlow's own work, so with its device; its stream must have made the numbers.
std::vector<float> OnHost(const DecoderTensor& vector) {
  size_t size = 1;
  for (const int64_t dim : vector.shape) size *= static_cast<size_t>(dim);
  std::vector<float> values(size);
  Check(cudaDeviceSynchronize());
  Check(cudaMemcpy(values.data(), vector.data, size * sizeof(float), cudaMemcpyDeviceToHost));
  return values;
}

void Prepare(TF_OpKernelContext* context, const GivenModel& given) {
  auto model = std::make_shared<DecoderModel>(OnHost(given.numbers), given.tensors, given.words);
  const Tensor id = Output(context, 0, {}, 1);
  const auto value = static_cast<float>(PreparedModels<DecoderModel>::All().Put(std::move(model)));
  // The copy returns when the number has left `value`, which is before it has come: TensorFlow's streams do not wait for it.
  Check(cudaMemcpy(id.data(), &value, sizeof value, cudaMemcpyHostToDevice));
  Check(cudaDeviceSynchronize());
}

}  // namespace

void RegisterDecoderOp() { RegisterPrepare<Prepare>("words: M * float", "GPU"); }

}  // namespace sparsify::cuda
