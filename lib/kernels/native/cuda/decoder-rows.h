// What the decoder computes beside products and attention of one token: embedding, and of many rows norms, heads, masks,
// gates, softmax and likelihoods. Everything is enqueued and nothing waits. Rows lie one after another.
#ifndef SPARSIFY_CUDA_DECODER_ROWS_H_
#define SPARSIFY_CUDA_DECODER_ROWS_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../shared/activation.h"
#include "decoder-attention.h"
#include "sparsified-matmul.h"

namespace sparsify::cuda {

// The embedding of a token is a row of the table, or a column of it: of a head's kernel, and of INT4. INT8 has the scale and zero
// point of the token.
struct Embedding {
  StoredKernel table;
  bool is_column;
  float factor;  // of all numbers
};

// What an append begins with, on the device.
struct TokenInput {
  const int32_t* position;  // of the first token
  const int32_t* tokens;    // [rows]
};

// x [rows, hidden]; cos and sin [rows, half] of the angles position * frequency, times `factor`.
struct Angles {
  const float* frequencies;  // [half]
  int half;
  float factor;
  float* cos;
  float* sin;
};
cudaError_t LaunchEmbed(const Embedding& embedding, const TokenInput& input, int rows, int hidden, const Angles& angles,
                        float* x, cudaStream_t stream);

// y = x / sqrt(mean(x^2) + epsilon) * weight, [rows, n].
cudaError_t LaunchNormRows(const float* x, const float* weight, int rows, int n, float epsilon, float* y,
                           cudaStream_t stream);

// Of `rows` tokens from position `start` on: turns the queries in place and divides them by sqrt(head_size), and puts keys,
// turned, and values into the cache. `stride` and `key_stride` are floats between tokens.
cudaError_t LaunchTurnRows(const HeadNumbers& heads, int rows, int start, float* queries, int64_t stride,
                           const float* keys, const float* values, int64_t key_stride, const LayerCache& cache,
                           cudaStream_t stream);

// y = x with +0 where |x| <= threshold; `kept` is increased by the others.
cudaError_t LaunchMaskRows(const float* x, int64_t size, float threshold, float* y, unsigned long long* kept,
                           cudaStream_t stream);

// y = activation(gate) * up, [rows, width]; gate and up have `stride` floats between rows.
cudaError_t LaunchGateRows(GateActivation activation, const float* gate, const float* up, int64_t stride, int rows,
                           int width, float* y, cudaStream_t stream);

// Softmax in place over the positions that a row sees, 0 for all others: [heads, rows, positions], where row r stands at
// position `start + r`.
cudaError_t LaunchSoftmax(float* scores, int heads, int rows, int positions, int start, int window,
                          cudaStream_t stream);

// y[r] = log(exp(logits[r, target[r]]) / sum over i of exp(logits[r, i])).
cudaError_t LaunchLikelihoods(const float* logits, const int32_t* targets, int rows, int vocabulary, float* y,
                              cudaStream_t stream);

// float [inputs, units] as bfloat16 [inputs, stride], to nearest; 0 beyond the units.
cudaError_t LaunchNarrow(const float* kernel, int64_t inputs, int units, int64_t stride, uint16_t* y,
                         cudaStream_t stream);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_ROWS_H_
