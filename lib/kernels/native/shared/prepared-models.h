// Models that an op has made and JavaScript has not taken yet: an op can give TensorFlow no more than a number.
#ifndef SPARSIFY_SHARED_PREPARED_MODELS_H_
#define SPARSIFY_SHARED_PREPARED_MODELS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace sparsify {

template <class Model>
class PreparedModels {
 public:
  // Returns the model's id, which is exact as a float.
  uint32_t Put(std::shared_ptr<Model> model) {
    const std::lock_guard<std::mutex> lock(mutex_);
    last_ = last_ % (1 << 24) + 1;
    models_[last_] = std::move(model);
    return last_;
  }
  // The caller has the model then: a second call gives null, as does an id of which there is no model.
  std::shared_ptr<Model> Take(uint32_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = models_.find(id);
    if (found == models_.end()) return nullptr;
    std::shared_ptr<Model> model = std::move(found->second);
    models_.erase(found);
    return model;
  }
  // Those of the process. It outlives every thread.
  static PreparedModels& All() {
    static auto* all = new PreparedModels;
    return *all;
  }

 private:
  std::mutex mutex_;
  std::map<uint32_t, std::shared_ptr<Model>> models_;
  uint32_t last_ = 0;
};

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_PREPARED_MODELS_H_
