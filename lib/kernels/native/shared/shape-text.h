// A shape as errors name it.
#ifndef SPARSIFY_SHARED_SHAPE_TEXT_H_
#define SPARSIFY_SHARED_SHAPE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsify {

inline std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_SHAPE_TEXT_H_
