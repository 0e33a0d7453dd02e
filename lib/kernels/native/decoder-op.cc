#include "decoder-op.h"

#include <vector>

#include "decoder-op-inl.h"
#include "large-pages.h"

namespace sparsify {
namespace {

DecoderWords WordsOf(TF_OpKernelContext* context, int index) {
  auto tensor = std::make_shared<Tensor>(Input(context, index));
  return {reinterpret_cast<const int8_t*>(tensor->data()), tensor->shape(), tensor};
}

void Prepare(TF_OpKernelContext* context, int64_t count) {
  const auto numbers = DecoderTensorOf<DecoderTensor>(context, 0);
  std::vector<DecoderTensor> weights;
  std::vector<DecoderWords> words;
  for (int i = 1; i < tensorflow.TF_NumInputs(context); i++) {
    if (i <= count) {
      weights.push_back(DecoderTensorOf<DecoderTensor>(context, i));
    } else {
      words.push_back(WordsOf(context, i));
    }
  }
  auto model = std::make_shared<DecoderModel>(numbers, weights, words);
  UseLargePages(model->InPlace(), model, model->mutex);
  const Tensor id = Output(context, 0, {}, 1);
  *id.data() = static_cast<float>(PreparedModels<DecoderModel>::All().Put(std::move(model)));
}

}  // namespace

void RegisterDecoderOp() { RegisterPrepare<&Prepare>("words: M * int32", "CPU"); }

std::shared_ptr<DecoderModel> TakeDecoderModel(uint32_t id) { return PreparedModels<DecoderModel>::All().Take(id); }

}  // namespace sparsify
