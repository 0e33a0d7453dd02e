// The op that gives a model's weights to the decoder, on every device:
//
//   SparsifyDecoderPrepare(numbers: float, weights: N * float, words: M * …; N, M: int) -> id [1]
//
// DecoderDescription says what `numbers` are and in which order `weights` and `words` come; the type of `words` depends on the
// device. The model uses the tensors' memory in place and keeps it alive. `id` is for PreparedModels::Take, once.
#ifndef SPARSIFY_TENSORFLOW_PREPARE_OP_H_
#define SPARSIFY_TENSORFLOW_PREPARE_OP_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../shared/decoder-description.h"
#include "../shared/prepared-models.h"
#include "op-registration.h"

namespace sparsify {

// What the op is given, in the device's memory. It keeps TensorFlow's tensors.
struct GivenModel {
  DecoderTensor numbers;
  std::vector<DecoderTensor> tensors;
  std::vector<DecoderWords> words;
};

template <class T>
OwnedArray<T> ArrayOf(TF_OpKernelContext* context, int index) {
  auto tensor = std::make_shared<Tensor>(Input(context, index));
  return {reinterpret_cast<const T*>(tensor->data()), tensor->shape(), tensor};
}

// The op's inputs: the numbers, then as many weights as `weights` says, then the words.
inline GivenModel GivenModelOf(TF_OpKernelContext* context, int64_t weights) {
  GivenModel given{ArrayOf<float>(context, 0), {}, {}};
  for (int i = 1; i < tensorflow.TF_NumInputs(context); i++) {
    if (i <= weights) {
      given.tensors.push_back(ArrayOf<float>(context, i));
    } else {
      given.words.push_back(ArrayOf<int8_t>(context, i));
    }
  }
  return given;
}

// What TensorFlow keeps of the op: its attribute N.
struct PrepareKernel {
  int64_t weights = 0;
};

inline void ReadPrepare(TF_OpKernelConstruction* construction, PrepareKernel* kernel) {
  kernel->weights = IntAttribute(construction, "N");
}

template <void (*kPrepare)(TF_OpKernelContext*, const GivenModel&)>
void ComputePrepare(const PrepareKernel& kernel, TF_OpKernelContext* context) {
  try {
    kPrepare(context, GivenModelOf(context, kernel.weights));
  } catch (const DecoderProblem& error) {
    throw InvalidArgument(error.what());
  }
}

// Registers the op for a device. `words` is their declaration; kPrepare makes the model and gives its id as the output.
template <void (*kPrepare)(TF_OpKernelContext*, const GivenModel&)>
void RegisterPrepare(const char* words, const char* device) {
  Register<ReadPrepare, ComputePrepare<kPrepare>>({"SparsifyDecoderPrepare",
                                                   {"numbers: float", "weights: N * float", words},
                                                   "id: float",
                                                   {"N: int >= 1", "M: int >= 0"},
                                                   device});
}

}  // namespace sparsify

#endif  // SPARSIFY_TENSORFLOW_PREPARE_OP_H_
