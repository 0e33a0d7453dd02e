#include "decoder-op.h"

#include "decoder-model.h"
#include "large-pages.h"
#include "tensorflow/prepare-op.h"

namespace sparsify {
namespace {

void Prepare(TF_OpKernelContext* context, const GivenModel& given) {
  auto model = std::make_shared<DecoderModel>(given.numbers, given.tensors, given.words);
  UseLargePages(model->InPlace(), model, model->mutex);
  const Tensor id = Output(context, 0, {}, 1);
  *id.data() = static_cast<float>(PreparedModels<DecoderModel>::All().Put(std::move(model)));
}

}  // namespace

void RegisterDecoderOp() { RegisterPrepare<Prepare>("words: M * int32", "CPU"); }

}  // namespace sparsify
