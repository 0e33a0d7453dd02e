#include "decoder-addon.h"

#include <memory>

#include "../decoder-addon-inl.h"
#include "decoder-op.h"
#include "decoder-session.h"

namespace sparsify::cuda {
namespace {

struct GpuDecoder {
  using Model = DecoderModel;
  using Session = DecoderSession;
  using Output = DecoderOutput;
  static constexpr bool kSteps = false;
  static constexpr napi_type_tag kTag = {0x3c71e09ad54f8b62, 0x94e2b70d1f6ac835};
  static std::shared_ptr<Model> Take(uint32_t id) { return TakeDecoderModel(id); }
};

}  // namespace

void ExportDecoder(napi_env env, napi_value exports) { DecoderAddon<GpuDecoder>::Export(env, exports); }

}  // namespace sparsify::cuda
