// What the decoder on the CPU keeps of a Llama-family model. Prepared once by the op SparsifyDecoderPrepare
// (decoder-op.h), used by any number of sessions, never changed.
#ifndef SPARSIFY_DECODER_MODEL_H_
#define SPARSIFY_DECODER_MODEL_H_

#include <memory>
#include <vector>

#include "large-pages.h"
#include "page-arena.h"
#include "shared/decoder-description.h"
#include "shared/mutex.h"

namespace sparsify {

class DecoderPass;

class DecoderModel : public DecoderDescription {
 public:
  // All is in the host's memory. The rows of the INT8 matrices in `words` are padded to a word. Throws DecoderProblem if the
  // weights do not fit the numbers.
  DecoderModel(const DecoderTensor& description, const std::vector<DecoderTensor>& tensors,
               const std::vector<DecoderWords>& words = {});

  // The kernels that are used where they were given.
  std::vector<MemoryRange> InPlace() const;

  // Whether dense rows of INT8 are to be prefetched.
  bool prefetches = false;

  // One pass at a time, in memory that all sessions share; made by the first.
  Mutex mutex;
  std::shared_ptr<DecoderPass> pass;  // guarded by the mutex

 private:
  PageArena narrowed_;
  std::shared_ptr<void> side_by_side_;
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_MODEL_H_
