// The fused decoder for JavaScript (lib/kernels/wasm/decoder.ts). Handles are addresses; pointers are into the module's memory.
// Callers check what they give: ids are below the vocabulary, arrays have the lengths that decoder-session.h says.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "decoder-model.h"
#include "decoder-session.h"
#include "host.h"

using namespace sparsify;

namespace {

// Where a tensor lies, as JavaScript writes it.
struct TensorPlace {
  uint32_t data, rank, dims[2];
};

template <class T>
std::vector<OwnedArray<T>> ArraysOf(const TensorPlace* places, size_t count) {
  std::vector<OwnedArray<T>> arrays;
  for (size_t i = 0; i < count; i++) {
    const TensorPlace& place = places[i];
    std::vector<int64_t> shape(place.dims, place.dims + place.rank);
    arrays.push_back({reinterpret_cast<const T*>(place.data), std::move(shape), nullptr});
  }
  return arrays;
}

}  // namespace

// The memory of `tensors` and `words` is used in place, and must stay until the model and all of its sessions are released.
SPARSIFY_EXPORT(decoder_model)
std::shared_ptr<DecoderModel>* MakeModel(const float* numbers, size_t number_count, const TensorPlace* tensors,
                                         size_t tensor_count, const TensorPlace* words, size_t word_count) {
  const DecoderTensor description{numbers, {static_cast<int64_t>(number_count)}, nullptr};
  return new std::shared_ptr<DecoderModel>(std::make_shared<DecoderModel>(
      description, ArraysOf<float>(tensors, tensor_count), ArraysOf<int8_t>(words, word_count)));
}

SPARSIFY_EXPORT(decoder_model_release) void ReleaseModel(std::shared_ptr<DecoderModel>* model) { delete model; }

SPARSIFY_EXPORT(decoder_dense_count) size_t DenseCount(const std::shared_ptr<DecoderModel>* model) {
  return (*model)->dense_count();
}

SPARSIFY_EXPORT(decoder_session)
DecoderSession* MakeSession(const std::shared_ptr<DecoderModel>* model, uint32_t narrow_cache) {
  return new DecoderSession(*model, narrow_cache != 0);
}

SPARSIFY_EXPORT(decoder_session_release) void ReleaseSession(DecoderSession* session) { delete session; }

// Returns whether the model has the shapes of the one before.
SPARSIFY_EXPORT(decoder_set_model)
uint32_t SetModel(DecoderSession* session, const std::shared_ptr<DecoderModel>* model) { return session->SetModel(*model); }

// `thresholds` and `targets` may be null.
SPARSIFY_EXPORT(decoder_append)
void Append(DecoderSession* session, const int32_t* tokens, size_t count, const float* thresholds, uint32_t output,
            const int32_t* targets, float* result) {
  session->Append(tokens, count, thresholds, static_cast<DecoderOutput>(output), targets, result);
}

// `logits` is [count, vocabulary].
SPARSIFY_EXPORT(decoder_step)
void Step(DecoderSession* const* sessions, size_t count, const int32_t* tokens, const float* thresholds, float* logits) {
  const size_t vocabulary = sessions[0]->model().numbers.vocabulary;
  std::vector<float*> results;
  for (size_t i = 0; i < count; i++) results.push_back(logits + i * vocabulary);
  DecoderSession::Step({sessions, sessions + count}, tokens, thresholds, results.data());
}

SPARSIFY_EXPORT(decoder_truncate) void Truncate(DecoderSession* session, size_t length) { session->Truncate(length); }

// `counts` is [dense, 2]: masked, and total.
SPARSIFY_EXPORT(decoder_counts) void Counts(DecoderSession* session, double* counts) {
  for (const MaskedInputs& count : session->counts().Get()) {
    *counts++ = static_cast<double>(count.masked);
    *counts++ = static_cast<double>(count.total);
  }
}

SPARSIFY_EXPORT(decoder_reset_counts) void ResetCounts(DecoderSession* session) { session->counts().Reset(); }
