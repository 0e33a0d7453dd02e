// Whether this machine reads dense rows of INT8 faster when they are prefetched: some do by a half, others lose as much.
#ifndef SPARSIFY_PREFETCH_TRIAL_H_
#define SPARSIFY_PREFETCH_TRIAL_H_

#include <vector>

#include "shared/decoder-description.h"

namespace sparsify {

// Tries it on some of the model's weights, which takes a few milliseconds. False if too few of them are INT8.
bool PrefetchPays(const std::vector<DecoderLayer>& layers);

}  // namespace sparsify

#endif  // SPARSIFY_PREFETCH_TRIAL_H_
