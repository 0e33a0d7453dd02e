#include "max-target.h"

#include <cstdint>
#include <cstdlib>
#include <iterator>

#include "hwy/detect_targets.h"
#include "hwy/targets.h"

namespace sparsify {
namespace {

struct MaxTarget {
  const char* name;
  int64_t target;
};

// From the worst to the best. lib/backend/load.ts refuses other names before it loads the addon; a spec holds that both allow
// the same.
constexpr MaxTarget kMaxTargets[] = {{"sse2", HWY_SSE2}, {"sse4", HWY_SSE4}, {"avx2", HWY_AVX2}, {"avx512", HWY_AVX3}};

}  // namespace

std::string CapTargets() {
  const char* text = std::getenv("SPARSIFY_MAX_TARGET");
  if (text == nullptr || *text == '\0') return "";
  const std::string wanted(text);
  std::string known;
  for (const MaxTarget& each : kMaxTargets) {
    if (wanted == each.name) {
      hwy::DisableTargets(each.target - 1);  // the better a target of x86, the lower its bit
      return "";
    }
    if (&each != std::begin(kMaxTargets)) known += &each + 1 == std::end(kMaxTargets) ? " or " : ", ";
    known += each.name;
  }
  return "SPARSIFY_MAX_TARGET is \"" + wanted + "\"; it must be " + known +
         ", or unset for the best that the processor has";
}

}  // namespace sparsify
