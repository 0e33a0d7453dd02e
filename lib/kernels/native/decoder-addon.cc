#include "decoder-addon.h"

#include <memory>

#include "decoder-addon-inl.h"
#include "decoder-op.h"
#include "decoder-session.h"

namespace sparsify {
namespace {

struct CpuDecoder {
  using Model = DecoderModel;
  using Session = DecoderSession;
  using Output = DecoderOutput;
  static constexpr bool kSteps = true;
  static constexpr napi_type_tag kTag = {0x8f3a5c1d2b7e4906, 0xa1d40e6c93b8275f};
  static std::shared_ptr<Model> Take(uint32_t id) { return TakeDecoderModel(id); }
};

}  // namespace

void ExportDecoder(napi_env env, napi_value exports) { DecoderAddon<CpuDecoder>::Export(env, exports); }

}  // namespace sparsify
