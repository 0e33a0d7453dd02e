// The newest instruction set that the loops may use: a cap lets one machine run the specs as older machines do.
#ifndef SPARSIFY_MAX_TARGET_H_
#define SPARSIFY_MAX_TARGET_H_

#include <string>

namespace sparsify {

// Reads SPARSIFY_MAX_TARGET from the environment and leaves the instruction sets above it unused; none if it is not set. To be
// called before the first loop runs. Returns what is wrong with the variable, or an empty string.
std::string CapTargets();

}  // namespace sparsify

#endif  // SPARSIFY_MAX_TARGET_H_
