// What the ops that prepare a model for the decoder have in common on all devices: models by id, and the attributes.
#ifndef SPARSIFY_DECODER_OP_INL_H_
#define SPARSIFY_DECODER_OP_INL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "decoder-numbers.h"
#include "op-kernel.h"

namespace sparsify {

// Models that JavaScript has not taken yet.
template <class Model>
class PreparedModels {
 public:
  // Returns its id, exact as a float.
  uint32_t Put(std::shared_ptr<Model> model) {
    const std::lock_guard<std::mutex> lock(mutex_);
    last_ = last_ % (1 << 24) + 1;
    models_[last_] = std::move(model);
    return last_;
  }
  // Null if there is none of that id, or no more.
  std::shared_ptr<Model> Take(uint32_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = models_.find(id);
    if (found == models_.end()) return nullptr;
    std::shared_ptr<Model> model = std::move(found->second);
    models_.erase(found);
    return model;
  }
  // It outlives every thread.
  static PreparedModels& All() {
    static auto* all = new PreparedModels;
    return *all;
  }

 private:
  std::mutex mutex_;
  std::map<uint32_t, std::shared_ptr<Model>> models_;
  uint32_t last_ = 0;
};

// A tensor of the model that keeps TensorFlow's memory.
template <class DecoderTensor>
DecoderTensor DecoderTensorOf(TF_OpKernelContext* context, int index) {
  auto tensor = std::make_shared<Tensor>(Input(context, index));
  return {tensor->data(), tensor->shape(), tensor};
}

// Registers SparsifyDecoderPrepare for a device. `words`: their type. kPrepare(context, N) makes the model of the
// inputs, N of which are weights, and gives its id as the output.
template <void (*kPrepare)(TF_OpKernelContext*, int64_t)>
void RegisterPrepare(const char* words, const char* device) {
  Register({"SparsifyDecoderPrepare",
            {"numbers: float", "weights: N * float", words},
            "id: float",
            {"N: int >= 1", "M: int >= 0"},
            [](TF_OpKernelConstruction* construction) -> void* {
              auto* weights = new int64_t(0);
              Guarded(construction, [&] { *weights = IntAttribute(construction, "N"); });
              return weights;
            },
            [](void* weights, TF_OpKernelContext* context) {
              Guarded(context, [&] {
                try {
                  kPrepare(context, *static_cast<const int64_t*>(weights));
                } catch (const DecoderProblem& error) {
                  throw InvalidArgument(error.what());
                }
              });
            },
            [](void* weights) { delete static_cast<int64_t*>(weights); },
            device});
}

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_OP_INL_H_
