#include "decoder-model.h"

#include <string>

namespace sparsify::cuda {
namespace {

// Rows of packed kernels have a multiple of so many numbers, those of INT4 and of its scales of so many bytes.
constexpr size_t kPackedStep = 16;

static_assert(DecoderNumbers::kMostInputs <= static_cast<size_t>(kMaxInputs));

}  // namespace

DecoderModel::DecoderModel(const std::vector<float>& description, const std::vector<DecoderTensor>& tensors,
                           const std::vector<DecoderWords>& words)
    : DecoderDescription({description.data(), {static_cast<int64_t>(description.size())}, nullptr}) {
  const DecoderNumbers& n = numbers;
  if (n.experts != 0) throw DecoderProblem("a mixture of experts cannot be decoded by the CUDA kernels");
  if (n.head_size > static_cast<size_t>(kMaxHeadSize)) {
    throw DecoderProblem("heads of " + std::to_string(n.head_size) + " are too large; at most " +
                         std::to_string(kMaxHeadSize));
  }
  Check(cudaGetDevice(&device_id));
  Check(CurrentDevice(&device));
  Check(cudaDeviceSynchronize());  // the tensors are what TensorFlow's stream has made of them
  device_frequencies.Grow(frequencies.size());
  Check(cudaMemcpyAsync(device_frequencies.get(), frequencies.data(), frequencies.size() * sizeof(float),
                        cudaMemcpyHostToDevice, stream));
  DecoderMemory memory;
  memory.int8_step = memory.int4_step = memory.narrow_step = kPackedStep;
  memory.narrow = [this](const float* kernel, size_t inputs, size_t units, size_t stride) {
    return Narrowed(kernel, inputs, units, stride);
  };
  ReadWeights(tensors, words, memory);
  const StoredKernel& table = n.tied ? head.kernel : embedding;
  token_embedding = {table, n.tied || table.is_int4(), n.embedding_scale};
  Check(cudaStreamSynchronize(stream));
}

const BFloat16* DecoderModel::Narrowed(const float* kernel, size_t inputs, size_t units, size_t stride) {
  DeviceArray<BFloat16>& narrow = narrowed_.emplace_back(inputs * stride);
  Check(LaunchNarrow(kernel, static_cast<int64_t>(inputs), static_cast<int>(units), static_cast<int64_t>(stride),
                     narrow.get(), stream));
  Check(cudaStreamSynchronize(stream));  // the kernel may be freed next
  return narrow.get();
}

// Before the weights that it may still read are given back.
DecoderModel::~DecoderModel() { cudaStreamSynchronize(stream); }

}  // namespace sparsify::cuda
