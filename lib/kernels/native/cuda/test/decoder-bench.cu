// Times decoding of one token of a model of Llama-2-7B's shape on the GPU, without TensorFlow: random weights made on the
// device, in float32, bfloat16, INT8 and INT4 (groups of 64 with zero points, the head in INT8), dense and with half of the
// inputs of all projections but the head masked. The thresholds are found by what they mask. Times are of whole appends, from
// the token in the host's memory to its logits there; dense and masked take turns.
//
// Usage: decoder-bench [--json] [WEIGHTS…], of float32, bfloat16, int8, int4; all by default
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "../decoder-session.h"
#include "device.h"
#include "int4-matrix.h"

using namespace sparsify;
using namespace sparsify::cuda;

namespace {

constexpr size_t kHidden = 4096, kLayers = 32, kHeads = 32, kHeadSize = 128, kVocabulary = 32000, kIntermediate = 11008;
constexpr int64_t kGroupSize = 64;
constexpr double kSparsity = 0.5;
constexpr int kSearches = 40, kContext = 64, kTokens = 24, kRounds = 5;

// Uniform in [-size, size), by a hash of the place.
__global__ void FillKernel(float* data, size_t size, float scale, uint32_t seed) {
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    uint32_t h = static_cast<uint32_t>(i) * 0x9e3779b9u + seed;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    data[i] = scale == 0 ? __uint_as_float(h) : scale * (static_cast<float>(h) * 0x1p-31f - 1.0f);
  }
}

struct Tensors {
  explicit Tensors(Storage storage) : storage(storage) {
    Put({kVocabulary, kHidden}, 1);
    Fill({kHidden}, 1);
    for (size_t l = 0; l < kLayers; l++) {
      Fill({kHidden}, 1);
      for (int i = 0; i < 3; i++) Dense(kHidden, kHeads * kHeadSize, storage);
      Empty();
      Empty();
      Dense(kHeads * kHeadSize, kHidden, storage);
      Fill({kHidden}, 1);
      for (int i = 0; i < 2; i++) Dense(kHidden, kIntermediate, storage);
      Dense(kIntermediate, kHidden, storage);
    }
    Dense(kHidden, kVocabulary, storage == Storage::kInt4 ? Storage::kInt8 : storage);
    CHECK(cudaDeviceSynchronize());
  }

  // Random numbers in [-size, size), or random bits for 0.
  void Put(std::vector<int64_t> shape, float size, bool is_words = false) {
    size_t count = 1;
    for (const int64_t dim : shape) count *= static_cast<size_t>(dim);
    auto buffer = std::make_shared<Buffer<float>>(count);
    FillKernel<<<1024, 256>>>(buffer->get(), count, size, seed++ * 0x632be5abu);
    if (is_words) {
      words.push_back({reinterpret_cast<const int8_t*>(buffer->get()), std::move(shape), buffer});
    } else {
      tensors.push_back({buffer->get(), std::move(shape), buffer});
    }
  }
  void Fill(std::vector<int64_t> shape, float value) {
    auto buffer = std::make_shared<Buffer<float>>(std::vector<float>(static_cast<size_t>(shape[0]), value));
    tensors.push_back({buffer->get(), std::move(shape), buffer});
  }
  void Empty() { tensors.push_back({nullptr, {0}, nullptr}); }
  // Words of the same 4 bytes.
  void Repeat(std::vector<int64_t> shape, uint32_t word) {
    const std::vector<uint32_t> values(static_cast<size_t>(shape[0] * shape[1]), word);
    auto buffer = std::make_shared<Buffer<uint32_t>>(values);
    words.push_back({reinterpret_cast<const int8_t*>(buffer->get()), std::move(shape), buffer});
  }
  void Dense(int64_t inputs, int64_t units, Storage as) {
    // As large as keeps the size of what goes through.
    const float size = std::sqrt(3.0f / static_cast<float>(inputs));
    if (as == Storage::kInt8) {
      Empty();
      Empty();
      Fill({units}, size / 128);
      Fill({units}, 0);
      Put({inputs, units / 4}, 0, true);
    } else if (as == Storage::kInt4) {
      const auto stride = static_cast<int64_t>(StoredKernel::Int4Stride(static_cast<size_t>(units))) / 4;
      const int64_t groups = inputs / kGroupSize;
      const uint32_t scale = HalfBits(Half(size / 8));
      for (int i = 0; i < 3; i++) Empty();
      Put({inputs, stride}, 0, true);
      Repeat({groups, units / 2}, scale | scale << 16);
      Repeat({groups, stride}, 0x78787878u);
      words.push_back({nullptr, {0}, nullptr});
    } else {
      Put({inputs, units}, size);
      Empty();
    }
  }

  Storage storage;
  uint32_t seed = 1;
  std::vector<DecoderTensor> tensors;
  std::vector<DecoderWords> words;
};

std::vector<float> Numbers(bool narrow) {
  std::vector<float> numbers = {kHidden, kLayers, kHeads, kHeads, kHeadSize, kVocabulary, kIntermediate, 0, 0, 1e-5f, 1, 1, 0, 0,
                                0, 0, narrow ? 1.0f : 0.0f};
  for (size_t i = 0; i < kHeadSize / 2; i++) {
    numbers.push_back(std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(kHeadSize / 2)));
  }
  return numbers;
}

class Decoding {
 public:
  explicit Decoding(std::shared_ptr<DecoderModel> model)
      : session_(std::move(model), false),
        logits_(kVocabulary),
        thresholds_(session_.model().dense_count(), 0.5f) {
    thresholds_.back() = -std::numeric_limits<float>::infinity();  // the head
    for (int i = 0; i < kContext; i++) Step(nullptr);
    for (int i = 0; i < kSearches; i++) {
      session_.counts().Reset();
      Step(thresholds_.data());
      Step(thresholds_.data());
      const std::vector<MaskedInputs> counts = session_.counts().Get();
      for (size_t d = 0; d + 1 < counts.size(); d++) {
        const double share = static_cast<double>(counts[d].masked) / static_cast<double>(counts[d].total);
        thresholds_[d] *= static_cast<float>(std::exp(1.5 * (kSparsity - share)));
      }
    }
  }

  // Milliseconds a token.
  double Time(bool masked) {
    session_.Truncate(kContext);
    Step(masked ? thresholds_.data() : nullptr);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kTokens; i++) Step(masked ? thresholds_.data() : nullptr);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    return time.count() / kTokens;
  }

  // Of the inputs of all projections but the head, in the masked tokens just timed.
  double Sparsity() {
    session_.counts().Reset();
    Time(true);
    const std::vector<MaskedInputs> counts = session_.counts().Get();
    double masked = 0, total = 0;
    for (size_t d = 0; d + 1 < counts.size(); d++) {
      masked += static_cast<double>(counts[d].masked), total += static_cast<double>(counts[d].total);
    }
    return masked / total;
  }
  bool IsFinite() const {
    return std::all_of(logits_.begin(), logits_.end(), [](float logit) { return std::isfinite(logit); });
  }

 private:
  void Step(const float* thresholds) {
    next_ = (next_ * 31 + 7) % static_cast<int32_t>(kVocabulary);
    session_.Append(&next_, 1, thresholds, DecoderOutput::kLast, nullptr, logits_.data());
  }

  DecoderSession session_;
  std::vector<float> logits_, thresholds_;
  int32_t next_ = 1;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> wanted(argv + 1, argv + argc);
  const bool json = !wanted.empty() && wanted[0] == "--json";
  if (json) wanted.erase(wanted.begin());
  std::string rows;
  if (!json) std::printf("%10s %10s %10s %10s %10s %10s\n", "weights", "sparsity", "ms", "tokens/s", "vs dense", "GB/s");
  bool good = true;
  // Bytes of a weight that is read, of one of the head, and of any for its group.
  constexpr double kGroupBytes = 2.5 / kGroupSize;
  for (const auto& [name, storage, bytes, head_bytes, group_bytes] :
       {std::tuple{"float32", Storage::kFloat32, 4.0, 4.0, 0.0}, std::tuple{"bfloat16", Storage::kBfloat16, 2.0, 2.0, 0.0},
        std::tuple{"int8", Storage::kInt8, 1.0, 1.0, 0.0}, std::tuple{"int4", Storage::kInt4, 0.5, 1.0, kGroupBytes}}) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    std::shared_ptr<DecoderModel> model;
    {
      const Tensors tensors(storage);
      model = std::make_shared<DecoderModel>(Numbers(storage == Storage::kBfloat16), tensors.tensors, tensors.words);
    }
    Decoding decoding(model);
    std::vector<double> times[2];
    for (int round = 0; round < kRounds; round++) {
      for (const bool masked : {false, true}) times[masked].push_back(decoding.Time(masked));
    }
    const double sparsity = decoding.Sparsity(), dense = Median(times[0]);
    good = good && decoding.IsFinite();
    const double projections = kLayers * (4.0 * kHidden * kHidden + 3.0 * kHidden * kIntermediate);
    for (const bool masked : {false, true}) {
      const double ms = Median(times[masked]), share = masked ? sparsity : 0;
      const double read = projections * (bytes * (1 - share) + group_bytes) +
                          head_bytes * static_cast<double>(kHidden * kVocabulary);
      if (json) {
        char row[256];
        std::snprintf(row, sizeof row,
                      "%s{\"weights\": \"%s\", \"sparsity\": %.4f, \"msAToken\": %.4f, \"vsDense\": %.3f, "
                      "\"readBytesPerSecond\": %.4g}",
                      rows.empty() ? "" : ", ", name, share, ms, dense / ms, read / ms * 1e3);
        rows += row;
      } else {
        std::printf("%10s %10.3f %10.3f %10.1f %9.2fx %10.0f\n", name, share, ms, 1e3 / ms, dense / ms, read / ms / 1e6);
        std::fflush(stdout);
      }
    }
  }
  if (json) std::printf("[%s]\n", rows.c_str());
  if (!good) std::fprintf(stderr, "a logit is not finite\n");
  return good ? 0 : 1;
}
