// Holds the decoder on the GPU against plain loops in double on the host, without TensorFlow: models of every kind, token by
// token and many at once, with masks, with clusters and without. Thresholds lie in gaps between inputs, so that rounding
// flips no mask. Under compute-sanitizer it also shows accesses out of bounds (memcheck) and races (racecheck).
//
// Usage: decoder-test [quick]; ends with 0 if all hold. `quick` runs a few models, for the sanitizers.
#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <string>

#include "../decoder-session.h"
#include "device.h"
#include "int4-matrix.h"

using namespace sparsify;
using namespace sparsify::cuda;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Mixed: every third Dense is INT8, the one before INT4. The kinds of INT4 take turns.
enum class Weights { kFloat32, kBfloat16, kInt8, kInt4, kMixed };

struct Kind {
  const char* name;
  size_t hidden, layers, heads, key_heads, head_size, vocabulary, intermediate;
  size_t window = 0;
  GateActivation activation = GateActivation::kSilu;
  float embedding_scale = 1;
  bool tied = false, fused = false, bias = false, head_norms = false;
};

const std::vector<Kind> kKinds = {
    {"plain", 64, 2, 4, 4, 16, 96, 160},
    {"tied, groups of 3, bias", 48, 2, 6, 2, 8, 70, 100, 0, GateActivation::kSilu, 1, true, false, true, false},
    {"fused, window", 80, 2, 2, 1, 80, 52, 132, 5, GateActivation::kSilu, 1, false, true, false, false},
    {"norms of heads, one key head for 9, odd sizes", 37, 2, 9, 1, 10, 61, 51, 0, GateActivation::kGelu, 1, false, false,
     true, true},
    {"scaled embedding, tanh", 40, 1, 2, 2, 64, 33, 64, 0, GateActivation::kGeluTanh, 6.5f, true, false, false, false}};

float Rounded(float value) {  // to bfloat16, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&value, &bits, 4);
  return value;
}

// A Dense as the reference has it.
struct PlainDense {
  size_t inputs, units;
  std::vector<double> kernel, bias;  // the bias may be empty
};

class TestModel {
 public:
  TestModel(const Kind& kind, Weights weights, uint64_t seed) : kind(kind), weights_(weights), random_(seed) {
    const Kind& k = kind;
    const size_t queries = k.heads * k.head_size, keys = k.key_heads * k.head_size;
    numbers = {Float(k.hidden),    Float(k.layers),       Float(k.heads),  Float(k.key_heads),
               Float(k.head_size), Float(k.vocabulary),   Float(k.intermediate), Float(k.window),
               Float(static_cast<size_t>(k.activation)), 1e-5f, k.embedding_scale, 1.25f,
               Float(k.tied),      Float(k.fused),        0, 0, Float(weights == Weights::kBfloat16)};
    for (size_t i = 0; i < k.head_size / 2; i++) {
      numbers.push_back(std::pow(100.0f, -2.0f * static_cast<float>(i) / static_cast<float>(k.head_size)));
    }
    if (k.tied) {
      Empty();
    } else if (weights == Weights::kInt8) {
      Empty();
      table = Int8(k.vocabulary, k.hidden, true, 1.0f);
    } else if (weights == Weights::kInt4) {
      Empty();
      Empty();
      const std::vector<double> columns = Int4(k.hidden, k.vocabulary, 1.0f);  // [hidden, vocabulary]
      for (size_t t = 0; t < k.vocabulary; t++) {
        for (size_t i = 0; i < k.hidden; i++) table.push_back(columns[i * k.vocabulary + t]);
      }
    } else {
      table = Put(random_.Uniform(k.vocabulary * k.hidden), {k.vocabulary, k.hidden});
    }
    final_norm = Norm(k.hidden);
    for (size_t l = 0; l < k.layers; l++) {
      norms.push_back(Norm(k.hidden));
      AddGroup(k.hidden, {queries, keys, keys}, k.bias);
      for (int i = 0; i < 2; i++) {
        head_norms.push_back(k.head_norms ? Norm(k.head_size) : std::vector<double>());
        if (!k.head_norms) Empty();
      }
      AddDense(queries, k.hidden, k.bias);
      norms.push_back(Norm(k.hidden));
      AddGroup(k.hidden, {k.intermediate, k.intermediate}, false);
      AddDense(k.intermediate, k.hidden, false);
    }
    AddDense(k.hidden, k.vocabulary, false);
    if (k.tied) {
      table.resize(k.vocabulary * k.hidden);
      const std::vector<double>& head = denses.back().kernel;
      for (size_t t = 0; t < k.vocabulary; t++) {
        for (size_t i = 0; i < k.hidden; i++) table[t * k.hidden + i] = head[i * k.vocabulary + t];
      }
    }
  }

  std::shared_ptr<DecoderModel> OnDevice(bool clusters) const {
    auto model = std::make_shared<DecoderModel>(numbers, tensors, words);
    model->device.clusters = model->device.clusters && clusters;
    return model;
  }

  Kind kind;
  std::vector<float> numbers;
  std::vector<DecoderTensor> tensors;
  std::vector<DecoderWords> words;
  std::vector<double> table, final_norm;
  std::vector<std::vector<double>> norms, head_norms;  // two a layer
  std::vector<PlainDense> denses;

 private:
  static float Float(size_t value) { return static_cast<float>(value); }

  template <class T>
  void PutOn(std::vector<OwnedArray<T>>& list, const std::vector<T>& values, std::vector<int64_t> shape) {
    auto buffer = std::make_shared<Buffer<T>>(values);
    list.push_back({buffer->get(), std::move(shape), buffer});
  }
  std::vector<double> Put(const std::vector<float>& values, std::initializer_list<size_t> dims) {
    PutOn(tensors, values, std::vector<int64_t>(dims.begin(), dims.end()));
    return {values.begin(), values.end()};
  }
  void Empty() { PutOn(tensors, std::vector<float>(), {0}); }
  std::vector<double> Norm(size_t size) {
    std::vector<float> weight = random_.Uniform(size, 0.5f);
    for (float& value : weight) value += 1;
    return Put(weight, {size});
  }
  // Its scale and zero point follow in `tensors`, its numbers in `words`.
  std::vector<double> Int8(size_t rows, size_t columns, bool by_row, float size) {
    const size_t stride = (columns + 15) / 16 * 16, channels = by_row ? rows : columns;
    std::vector<float> scale = random_.Uniform(channels), zero_point = random_.Uniform(channels, 30);
    for (float& value : scale) value = size / 127 * (1.5f + 0.5f * value);
    for (float& value : zero_point) value = std::round(value);
    std::vector<int8_t> packed(rows * stride);
    std::vector<double> kernel(rows * columns);
    for (size_t r = 0; r < rows; r++) {
      for (size_t c = 0; c < columns; c++) {
        const auto q = static_cast<int8_t>(std::lround(127.5f * random_.Uniform() - 0.5f));
        packed[r * stride + c] = q;
        const size_t channel = by_row ? r : c;
        kernel[r * columns + c] = static_cast<double>(scale[channel]) * (q - zero_point[channel]);
      }
    }
    PutOn(words, packed, {static_cast<int64_t>(rows), static_cast<int64_t>(stride / 4)});
    Put(scale, {channels});
    Put(zero_point, {channels});
    return kernel;
  }
  // All its parts follow in `words`.
  std::vector<double> Int4(size_t rows, size_t columns, float size) {
    const size_t group = rows % 32 == 0 ? 32 : rows % 4 == 0 ? rows / 4 : rows;
    const Int4Matrix matrix(random_, rows, columns, group, static_cast<Int4Kind>(int4_++ % 3), size / 2);
    PutWords(matrix.values, rows);
    PutWords(matrix.scale, rows / group);
    PutWords(matrix.zero_point, rows / group);
    PutWords(matrix.minimum, rows / group);
    return {matrix.weights.begin(), matrix.weights.end()};
  }
  // Numbers of `rows` rows as words, [0] if there are none.
  template <class T>
  void PutWords(const std::vector<T>& numbers, size_t rows) {
    const auto* const bytes = reinterpret_cast<const int8_t*>(numbers.data());
    const size_t size = numbers.size() * sizeof(T);
    const std::vector<int64_t> shape = {static_cast<int64_t>(rows), static_cast<int64_t>(size / rows / 4)};
    PutOn(words, std::vector<int8_t>(bytes, bytes + size), size == 0 ? std::vector<int64_t>{0} : shape);
  }
  void AddGroup(size_t inputs, const std::vector<size_t>& units, bool bias) {
    if (!kind.fused) {
      for (const size_t count : units) AddDense(inputs, count, bias);
    } else {
      AddDense(inputs, std::accumulate(units.begin(), units.end(), size_t{0}), bias);
    }
  }
  void AddDense(size_t inputs, size_t units, bool bias) {
    PlainDense dense{inputs, units, {}, {}};
    const float size = 1.7f / std::sqrt(static_cast<float>(inputs));
    const bool is_mixed = weights_ == Weights::kMixed;
    const bool int8 = weights_ == Weights::kInt8 || (is_mixed && denses.size() % 3 == 1);
    const bool int4 = weights_ == Weights::kInt4 || (is_mixed && denses.size() % 3 == 0);
    if (int8 || int4) {
      Empty();
    } else {
      dense.kernel = Put(random_.Uniform(inputs * units, size), {inputs, units});
    }
    if (bias) {
      dense.bias = Put(random_.Uniform(units), {units});
    } else {
      Empty();
    }
    if (int8) dense.kernel = Int8(inputs, units, false, size);
    if (int4) {
      Empty();
      dense.kernel = Int4(inputs, units, size);
    }
    if (weights_ == Weights::kBfloat16) {
      for (double& value : dense.kernel) value = Rounded(static_cast<float>(value));
    }
    denses.push_back(std::move(dense));
  }

  Weights weights_;
  Random random_;
  int int4_ = 0;  // matrices
};

using Matrix = std::vector<std::vector<double>>;  // [tokens, …]

// All tokens of a sequence at once, layer by layer. With a sparsity it chooses each threshold, and counts what is masked.
class Reference {
 public:
  Reference(const TestModel& model, const std::vector<int32_t>& tokens, double sparsity, bool narrow_cache)
      : m_(model), sparsity_(sparsity), narrow_cache_(narrow_cache) {
    const Kind& k = m_.kind;
    const size_t count = tokens.size(), queries = k.heads * k.head_size, keys = k.key_heads * k.head_size;
    Matrix x(count);
    for (size_t t = 0; t < count; t++) {
      for (size_t i = 0; i < k.hidden; i++) {
        x[t].push_back(m_.table[static_cast<size_t>(tokens[t]) * k.hidden + i] * k.embedding_scale);
      }
    }
    for (size_t l = 0; l < k.layers; l++) {
      const Matrix normed = Normed(x, m_.norms[2 * l]);
      const Matrix qkv = Group(normed, k.fused ? 1 : 3);
      Matrix q(count), key(count), value(count);
      for (size_t t = 0; t < count; t++) {
        const auto at = qkv[t].begin();
        q[t].assign(at, at + static_cast<std::ptrdiff_t>(queries));
        key[t].assign(at + static_cast<std::ptrdiff_t>(queries), at + static_cast<std::ptrdiff_t>(queries + keys));
        value[t].assign(at + static_cast<std::ptrdiff_t>(queries + keys), qkv[t].end());
        Turn(q[t], m_.head_norms[2 * l], t);
        Turn(key[t], m_.head_norms[2 * l + 1], t);
        if (!narrow_cache_) continue;
        for (auto* row : {&key[t], &value[t]}) {
          for (double& number : *row) number = Rounded(static_cast<float>(number));
        }
      }
      Add(x, Dense(Attended(q, key, value)));
      const Matrix gate_up = Group(Normed(x, m_.norms[2 * l + 1]), k.fused ? 1 : 2);
      Matrix gated(count);
      for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < k.intermediate; i++) {
          gated[t].push_back(Activated(gate_up[t][i]) * gate_up[t][k.intermediate + i]);
        }
      }
      Add(x, Dense(gated));
    }
    logits = Dense(Normed(x, m_.final_norm));
  }

  Matrix logits;
  std::vector<float> thresholds;
  std::vector<std::vector<uint64_t>> masked;  // [dense, token]

 private:
  Matrix Normed(const Matrix& x, const std::vector<double>& weight) const {
    Matrix y = x;
    for (auto& row : y) NormRow(row.data(), row.size(), weight);
    return y;
  }
  static void NormRow(double* row, size_t size, const std::vector<double>& weight) {
    double squares = 0;
    for (size_t i = 0; i < size; i++) squares += row[i] * row[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(size) + static_cast<double>(1e-5f));
    for (size_t i = 0; i < size; i++) row[i] *= scale * weight[i];
  }
  void Turn(std::vector<double>& row, const std::vector<double>& norm, size_t position) const {
    const size_t size = m_.kind.head_size, half = size / 2;
    for (size_t first = 0; first < row.size(); first += size) {
      double* const head = row.data() + first;
      if (!norm.empty()) NormRow(head, size, norm);
      for (size_t i = 0; i < half; i++) {
        const double angle = static_cast<float>(static_cast<double>(position) * m_.numbers[DecoderNumbers::kCount + i]);
        const double c = 1.25 * std::cos(angle), s = 1.25 * std::sin(angle), a = head[i], b = head[half + i];
        head[i] = a * c - b * s;
        head[half + i] = b * c + a * s;
      }
    }
  }
  Matrix Attended(const Matrix& q, const Matrix& key, const Matrix& value) const {
    const Kind& k = m_.kind;
    const size_t size = k.head_size, group = k.heads / k.key_heads;
    Matrix y(q.size(), std::vector<double>(k.heads * size));
    for (size_t t = 0; t < q.size(); t++) {
      const size_t first = k.window != 0 && t + 1 > k.window ? t + 1 - k.window : 0;
      for (size_t h = 0; h < k.heads; h++) {
        std::vector<double> score;
        for (size_t u = first; u <= t; u++) {
          double sum = 0;
          for (size_t i = 0; i < size; i++) sum += q[t][h * size + i] * key[u][h / group * size + i];
          score.push_back(sum / std::sqrt(static_cast<double>(size)));
        }
        const double largest = *std::max_element(score.begin(), score.end());
        double total = 0;
        for (double& s : score) total += s = std::exp(s - largest);
        for (size_t u = first; u <= t; u++) {
          for (size_t i = 0; i < size; i++) {
            y[t][h * size + i] += score[u - first] / total * value[u][h / group * size + i];
          }
        }
      }
    }
    return y;
  }
  double Activated(double z) const {
    switch (m_.kind.activation) {
      case GateActivation::kSilu:
        return z / (1 + std::exp(-z));
      case GateActivation::kGelu:
        return 0.5 * z * std::erfc(-z / std::sqrt(2.0));
      default:
        return 0.5 * z * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z)));
    }
  }
  static void Add(Matrix& x, const Matrix& y) {
    for (size_t t = 0; t < x.size(); t++) {
      for (size_t i = 0; i < x[t].size(); i++) x[t][i] += y[t][i];
    }
  }
  Matrix Group(const Matrix& x, size_t count) {
    Matrix y(x.size());
    for (size_t i = 0; i < count; i++) {
      const Matrix part = Dense(x);
      for (size_t t = 0; t < x.size(); t++) y[t].insert(y[t].end(), part[t].begin(), part[t].end());
    }
    return y;
  }
  // The middle of the widest gap near the quantile; every other Dense gets a lower target.
  float Threshold(const Matrix& x) const {
    if (sparsity_ == 0) return -static_cast<float>(kInfinity);
    std::vector<double> sizes;
    for (const auto& row : x) {
      for (const double value : row) sizes.push_back(std::fabs(value));
    }
    std::sort(sizes.begin(), sizes.end());
    const double target = masked.size() % 2 == 0 ? sparsity_ : sparsity_ / 2;
    const auto middle = static_cast<size_t>(target * static_cast<double>(sizes.size()));
    size_t best = middle;
    for (size_t i = middle - middle / 4; i < std::min(middle + middle / 4, sizes.size() - 1); i++) {
      if (sizes[i + 1] - sizes[i] > sizes[best + 1] - sizes[best]) best = i;
    }
    return static_cast<float>((sizes[best] + sizes[best + 1]) / 2);
  }
  Matrix Dense(const Matrix& x) {
    const PlainDense& dense = m_.denses[masked.size()];
    const float threshold = Threshold(x);
    Matrix y;
    std::vector<uint64_t> counts;
    for (const auto& row : x) {
      std::vector<double> sums = dense.bias.empty() ? std::vector<double>(dense.units) : dense.bias;
      uint64_t count = 0;
      for (size_t i = 0; i < dense.inputs; i++) {
        if (std::fabs(row[i]) <= threshold) {
          count++;
          continue;
        }
        for (size_t n = 0; n < dense.units; n++) sums[n] += row[i] * dense.kernel[i * dense.units + n];
      }
      y.push_back(std::move(sums));
      counts.push_back(count);
    }
    thresholds.push_back(threshold);
    masked.push_back(std::move(counts));
    return y;
  }

  const TestModel& m_;
  const double sparsity_;
  const bool narrow_cache_;
};

int cases = 0, failures = 0;

void Fail(const std::string& what) {
  if (++failures <= 20) std::printf("FAILED %s\n", what.c_str());
}

// A sequence in pieces: many at once, single tokens, scores; then cut off and gone on with.
void Run(const TestModel& test, const std::string& name, size_t length, double sparsity, bool narrow_cache, bool clusters) {
  cases++;
  const Kind& k = test.kind;
  Random random(length);
  std::vector<int32_t> tokens(length);
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>((random.Uniform() + 1) / 2 * static_cast<float>(k.vocabulary)) %
            static_cast<int32_t>(k.vocabulary);
  }
  const Reference reference(test, tokens, sparsity, narrow_cache);
  double largest = 0;
  for (const auto& row : reference.logits) {
    for (const double logit : row) largest = std::max(largest, std::fabs(logit));
  }
  // Sums of some hundred products in float32; with a narrow cache a number at a tie may round the other way.
  const double limit = (narrow_cache ? 1e-2 : 3e-4) * largest;
  DecoderSession session(test.OnDevice(clusters), narrow_cache);
  const float* const thresholds = sparsity == 0 ? nullptr : reference.thresholds.data();
  const auto check = [&](const char* what, size_t t, const float* logits) {
    for (size_t i = 0; i < k.vocabulary; i++) {
      const double error = std::fabs(logits[i] - reference.logits[t][i]);
      if (error <= limit) continue;
      Fail(name + ", " + what + ": logit " + std::to_string(i) + " after token " + std::to_string(t) + " is " +
           std::to_string(logits[i]) + ", expected " + std::to_string(reference.logits[t][i]));
      return;
    }
  };
  const size_t many = length / 2;
  std::vector<uint64_t> head_rows;
  std::vector<float> logits(many * k.vocabulary);
  session.Append(tokens.data(), many, thresholds, DecoderOutput::kAll, nullptr, logits.data());
  for (size_t t = 0; t < many; t++) check("many at once", t, logits.data() + t * k.vocabulary);
  for (size_t t = many; t < length; t++) {
    const DecoderOutput output = t % 2 == 0 ? DecoderOutput::kLast : DecoderOutput::kAll;
    session.Append(&tokens[t], 1, thresholds, output, nullptr, logits.data());
    check("a token", t, logits.data());
  }
  const std::vector<MaskedInputs> counts = session.counts().Get();
  for (size_t d = 0; d < counts.size(); d++) {
    uint64_t masked = 0;
    for (const uint64_t count : reference.masked[d]) masked += count;
    if (counts[d].masked == masked && counts[d].total == length * test.denses[d].inputs) continue;
    Fail(name + ": Dense " + std::to_string(d) + " masked " + std::to_string(counts[d].masked) + " of " +
         std::to_string(counts[d].total) + ", expected " + std::to_string(masked) + " of " +
         std::to_string(length * test.denses[d].inputs));
  }
  // Again from the middle, two and then the rest, scored but for the last.
  session.Truncate(many);
  session.Append(&tokens[many], 2, thresholds, DecoderOutput::kLast, nullptr, logits.data());
  check("the last of two", many + 1, logits.data());
  const size_t rest = length - many - 2;
  std::vector<int32_t> targets(rest);
  for (size_t i = 0; i < rest; i++) targets[i] = tokens[(i * 7) % length];
  std::vector<float> scores(rest);
  session.Append(&tokens[many + 2], rest, thresholds, DecoderOutput::kScores, targets.data(), scores.data());
  for (size_t i = 0; i < rest; i++) {
    const std::vector<double>& row = reference.logits[many + 2 + i];
    const double most = *std::max_element(row.begin(), row.end());
    double total = 0;
    for (const double logit : row) total += std::exp(logit - most);
    const double expected = row[static_cast<size_t>(targets[i])] - most - std::log(total);
    if (std::fabs(scores[i] - expected) <= 2 * limit) continue;
    Fail(name + ": score " + std::to_string(i) + " is " + std::to_string(scores[i]) + ", expected " +
         std::to_string(expected));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "quick") == 0;
  setenv("NVIDIA_TF32_OVERRIDE", "0", 1);  // read when cuBLAS is loaded
  const char* const names[] = {"float32", "bfloat16", "int8", "int4", "mixed"};
  for (const Kind& kind : kKinds) {
    for (const Weights weights : {Weights::kFloat32, Weights::kBfloat16, Weights::kInt8, Weights::kInt4, Weights::kMixed}) {
      if (quick && (&kind - kKinds.data()) % 5 != static_cast<int>(weights)) continue;
      const TestModel test(kind, weights, 7 + static_cast<uint64_t>(weights));
      for (const bool clusters : {true, false}) {
        for (const double sparsity : {0.0, 0.5}) {
          if (quick && (sparsity == 0) == clusters) continue;
          for (const bool narrow_cache : {false, true}) {
            if (narrow_cache && (sparsity != 0) == clusters) continue;
            const std::string name = std::string(kind.name) + ", " + names[static_cast<int>(weights)] +
                                     (narrow_cache ? ", narrow cache" : "") + (sparsity == 0 ? "" : ", masked") +
                                     (clusters ? "" : ", no clusters");
            Run(test, name, quick ? 6 : 14, narrow_cache ? 0 : sparsity, narrow_cache, clusters);
          }
        }
      }
    }
  }
  // Longer than a block of rows, than a stretch of attention and than the cache at first.
  const std::vector<size_t> lengths = quick ? std::vector<size_t>{} : std::vector<size_t>{150, 300, 1100};
  for (const size_t length : lengths) {
    for (const size_t kind : {0, 1, 2}) {
      const TestModel test(kKinds[kind], Weights::kFloat32, 3);
      Run(test, std::string(kKinds[kind].name) + ", " + std::to_string(length) + " tokens", length, 0, length == 300, true);
    }
  }
  // Two stretches.
  if (quick) Run(TestModel(kKinds[1], Weights::kFloat32, 3), "two stretches", 70, 0, false, true);
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures == 0 ? 0 : 1;
}
