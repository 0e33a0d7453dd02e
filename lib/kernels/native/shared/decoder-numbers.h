// The numbers of a Llama-family model, as the decoder of every target is given them.
#ifndef SPARSIFY_SHARED_DECODER_NUMBERS_H_
#define SPARSIFY_SHARED_DECODER_NUMBERS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "activation.h"
#include "problem.h"
#include "shape-text.h"

namespace sparsify {

// Numbers of the model. The op takes them as one float tensor in this order, then the rotary frequencies [head_size / 2].
struct DecoderNumbers {
  size_t hidden, layers, heads, key_heads, head_size, vocabulary, intermediate;
  size_t window;  // positions that a token sees, itself included; 0: all before it
  GateActivation activation;
  float epsilon, embedding_scale, attention_factor;
  bool tied;        // the embedding is the head's columns
  bool fused;       // one Dense for q, k, v and one for gate, up
  size_t experts;   // 0: one feed-forward part for all tokens
  size_t experts_per_token;
  bool narrow;      // keep the Dense kernels that are given in float in bfloat16
  static constexpr size_t kCount = 17;

  // No vector that a Dense layer reads is longer: every number up to here is exact in float.
  static constexpr size_t kMostInputs = 1 << 24;

  // How many numbers a token's queries are, and how many its keys are. Its values are as many as its keys.
  size_t queries() const { return heads * head_size; }
  size_t keys() const { return key_heads * head_size; }
};

// Whether a model can go on with the keys and values that another has cached: only the types of their weights may differ.
inline bool GoOnAsOne(const DecoderNumbers& one, const DecoderNumbers& other) {
  const auto numbers = [](const DecoderNumbers& n) {
    return std::make_tuple(n.hidden, n.layers, n.heads, n.key_heads, n.head_size, n.vocabulary, n.intermediate, n.window,
                           n.activation, n.epsilon, n.embedding_scale, n.attention_factor, n.tied, n.fused, n.experts,
                           n.experts_per_token);
  };
  return numbers(one) == numbers(other);
}

// Fails for numbers that no model has. `values` has the shape `shape`.
inline DecoderNumbers ReadDecoderNumbers(const float* values, const std::vector<int64_t>& shape) {
  if (shape.size() != 1 || static_cast<size_t>(shape[0]) < DecoderNumbers::kCount) {
    Fail("the numbers have shape " + ShapeText(shape));
  }
  const float* next = values;
  const auto count = [&](const char* name, float low, float high) {
    const float value = *next++;
    if (!(value >= low && value <= high)) Fail(std::string(name) + " is " + std::to_string(value));
    return static_cast<size_t>(value);
  };
  constexpr float kMost = DecoderNumbers::kMostInputs, kMostHeads = 4096;
  static_assert(kMostHeads * kMostHeads <= kMost);  // queries are read by a Dense layer too
  DecoderNumbers n{};
  n.hidden = count("hidden size", 1, kMost);
  n.layers = count("number of layers", 1, 4096);
  n.heads = count("number of heads", 1, kMostHeads);
  n.key_heads = count("number of key heads", 1, static_cast<float>(n.heads));
  n.head_size = count("head size", 2, kMostHeads);
  n.vocabulary = count("vocabulary", 1, kMost);
  n.intermediate = count("intermediate size", 1, kMost);
  n.window = count("window", 0, kMost);
  n.activation = static_cast<GateActivation>(count("activation", 0, 2));
  n.epsilon = *next++;
  n.embedding_scale = *next++;
  n.attention_factor = *next++;
  n.tied = count("tied", 0, 1) != 0;
  n.fused = count("fused", 0, 1) != 0;
  n.experts = count("number of experts", 0, 4096);
  n.experts_per_token = count("experts a token", n.experts == 0 ? 0 : 1, static_cast<float>(n.experts));
  n.narrow = count("narrow", 0, 1) != 0;
  if (n.heads % n.key_heads != 0 || n.head_size % 2 != 0) {
    Fail("heads must be a multiple of key heads, and their size even");
  }
  if (static_cast<size_t>(shape[0]) != DecoderNumbers::kCount + n.head_size / 2) {
    Fail("the numbers have shape " + ShapeText(shape));
  }
  return n;
}

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_DECODER_NUMBERS_H_
