// The vectorised loops of the decoder between products and attention: norms, sums, gates, turns, likelihoods. Compiled for
// every instruction set of interest. No threads here. Pointers need only the alignment of their elements.
#ifndef SPARSIFY_DECODER_LOOPS_H_
#define SPARSIFY_DECODER_LOOPS_H_

#include <cstddef>

#include "shared/activation.h"

namespace sparsify {

// y = x / sqrt(mean(x^2) + epsilon) * weight. y may be x.
void Normalize(const float* x, const float* weight, size_t n, float epsilon, float* y);

// x[n] += factor * (sum of parts[p * part_stride + n] over p, in order, + bias[n]). `bias` may be null.
void AddParts(const float* parts, size_t count, size_t part_stride, const float* bias, float factor, size_t n, float* x);

// y = activation(gate) * up. y may be either.
void Gate(GateActivation activation, const float* gate, const float* up, size_t n, float* y);

// Rotates one head [2 * half]: entries i and half + i are a point that turns by the angle of cos[i], sin[i].
void Rotate(const float* cos, const float* sin, size_t half, float* x);

// Entries with |x| <= threshold.
size_t CountMasked(const float* x, size_t n, float threshold);

// log(exp(x[target]) / sum over i of exp(x[i])), without overflow.
double LogLikelihood(const float* x, size_t n, size_t target);

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_LOOPS_H_
