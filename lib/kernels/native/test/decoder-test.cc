// Holds the decoder against plain loops in double, without TensorFlow: its vectorised loops one by one, and whole models of
// every kind. Run by scripts/sanitize.mjs. Arrays end where their allocation ends, so that a read or a write beyond them is
// seen.
#include "../decoder-session.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "../attention-loops.h"
#include "../decoder-loops.h"
#include "../narrow-loops.h"
#include "../prefetch-trial.h"
#include "../row-loops.h"
#include "../side-by-side.h"
#include "checked-array.h"
#include "float16.h"
#include "int4-matrix.h"

namespace sparsify {
namespace {

std::mt19937 generator(1);

void Require(bool holds, const char* what, size_t a = 0, size_t b = 0) {
  if (holds) return;
  std::fprintf(stderr, "%s (%zu, %zu)\n", what, a, b);
  std::exit(1);
}

std::vector<float> Normals(size_t n, double scale = 1, double mean = 0) {
  std::normal_distribution<double> normal(mean, scale);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(normal(generator));
  return values;
}

bool Near(double got, double wanted, double tolerance) {
  return (std::isnan(got) && std::isnan(wanted)) || std::fabs(got - wanted) <= tolerance;
}

float WideOf(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

// The nearest bfloat16, ties to even, by comparing both neighbours.
float RoundedPlainly(float x) {
  if (std::isnan(x) || std::isinf(x)) return x;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const auto low = static_cast<BFloat16>(bits >> 16);
  const auto high = static_cast<BFloat16>(low + 1);
  const double below = std::fabs(static_cast<double>(x) - WideOf(low));
  // Beyond the largest number the next one would be 2^128, which stands for infinity.
  const double next = std::isinf(WideOf(high)) ? std::copysign(std::ldexp(1.0, 128), x) : WideOf(high);
  const double above = std::fabs(static_cast<double>(x) - next);
  if (below != above) return WideOf(below < above ? low : high);
  return WideOf(low % 2 == 0 ? low : high);
}

void CheckNarrow() {
  std::uniform_int_distribution<uint32_t> any;
  for (const size_t n : {1, 2, 7, 8, 9, 33, 1000}) {
    std::vector<float> x(n), wide(n);
    for (size_t i = 0; i < n; i++) {
      // Every third is a tie, and of the others all kinds.
      const uint32_t bits = i % 3 == 0 ? (any(generator) & 0xffff0000) | 0x8000 : any(generator);
      std::memcpy(&x[i], &bits, sizeof bits);
    }
    x[n - 1] = n % 2 ? kNaN : -kInfinity;
    std::vector<BFloat16> narrow(n);
    Narrow(x.data(), n, narrow.data());
    Widen(narrow.data(), n, wide.data());
    for (size_t i = 0; i < n; i++) {
      Require(std::isnan(x[i]) ? std::isnan(wide[i]) : wide[i] == RoundedPlainly(x[i]), "bfloat16", n, i);
    }
  }
}

// Several rows at once, of which row r is the given one times r + 1.
void CheckNarrowBatch(const NarrowPanel& panel, const std::vector<uint32_t>& index, const std::vector<float>& value,
                      const std::vector<float>& one) {
  for (const size_t batch : {2, 3, 4, 7, 12}) {
    std::vector<float> values, sums(batch * panel.columns, 7);
    for (const float v : value) {
      for (size_t r = 0; r < batch; r++) values.push_back(v * static_cast<float>(r + 1));
    }
    SumNarrowRowsBatch(panel, batch, index.data(), values.data(), index.size(), true, sums.data());
    for (size_t i = 0; i < sums.size(); i++) {
      double magnitude = 0;
      for (size_t k = 0; k < index.size(); k++) {
        magnitude += std::fabs(value[k] * WideOf(panel.kernel[index[k] * panel.stride + panel.first + i % panel.columns]));
      }
      const double times = static_cast<double>(i / panel.columns) + 1;
      const double limit = std::ldexp(times * magnitude * static_cast<double>(index.size() + 2), -23);
      Require(Near(sums[i], times * one[i % panel.columns], limit), "rows of bfloat16 together", batch, i);
    }
  }
}

void CheckSumNarrowRows() {
  for (const size_t rows : {1, 2, 5, 8, 9, 17, 40, 131}) {
    for (const size_t columns : {1, 3, 8, 16, 31, 32, 65, 300}) {
      const size_t stride = columns + 3;
      const std::vector<float> x = Normals(rows), wide = Normals(rows * stride);
      std::vector<BFloat16> kernel(wide.size());
      Narrow(wide.data(), wide.size(), kernel.data());
      for (size_t n = 0; n < stride; n++) kernel[n] = 0x7fc0;  // NaN in a row that only some lists hold
      for (const int kind : {0, 1, 2}) {  // all rows but the first; every second; none
        std::vector<uint32_t> index;
        std::vector<float> value;
        for (size_t k = 1; kind != 2 && k < rows; k += kind == 0 ? 1 : 2) {
          index.push_back(static_cast<uint32_t>(k));
          value.push_back(x[k]);
        }
        std::vector<float> sum(columns, 7);
        SumNarrowRows({kernel.data(), stride, 2, columns}, index.data(), value.data(), index.size(), kind == 1, sum.data());
        CheckNarrowBatch({kernel.data(), stride, 2, columns}, index, value, sum);
        for (size_t n = 0; n < columns; n++) {
          double wanted = 0, magnitude = 0;
          for (size_t i = 0; i < index.size(); i++) {
            const double product = static_cast<double>(value[i]) * WideOf(kernel[index[i] * stride + 2 + n]);
            wanted += product;
            magnitude += std::fabs(product);
          }
          Require(Near(sum[n], wanted, std::ldexp(magnitude * static_cast<double>(rows), -24)), "rows of bfloat16", rows, n);
        }
      }
    }
  }
}

double Activated(GateActivation activation, double z) {
  switch (activation) {
    case GateActivation::kSilu:
      return z / (1 + std::exp(-z));
    case GateActivation::kGelu:
      return 0.5 * z * std::erfc(-z / std::sqrt(2.0));
    case GateActivation::kGeluTanh:
      return 0.5 * z * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z)));
  }
  std::abort();
}

void CheckRowLoops() {
  for (const size_t n : {1, 2, 3, 7, 8, 15, 16, 17, 33, 100, 576, 1003}) {
    const std::vector<float> x = Normals(n, 3), weight = Normals(n), parts = Normals(3 * (n + 1)), bias = Normals(n);
    std::vector<float> y(n);
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 0.25);
    Normalize(x.data(), weight.data(), n, 0.25f, y.data());
    for (size_t i = 0; i < n; i++) {
      Require(Near(y[i], x[i] * scale * weight[i], 1e-5 * std::fabs(x[i] * scale * weight[i])), "norm", n, i);
    }
    y = x;
    AddParts(parts.data(), 3, n + 1, n % 2 ? bias.data() : nullptr, 0.5f, n, y.data());
    for (size_t i = 0; i < n; i++) {
      double sum = n % 2 ? bias[i] : 0;
      for (size_t p = 0; p < 3; p++) sum += parts[p * (n + 1) + i];
      Require(Near(y[i], x[i] + 0.5 * sum, 1e-5), "sum of parts", n, i);
    }
    for (const auto activation : {GateActivation::kSilu, GateActivation::kGelu, GateActivation::kGeluTanh}) {
      Gate(activation, x.data(), weight.data(), n, y.data());
      for (size_t i = 0; i < n; i++) {
        Require(Near(y[i], Activated(activation, x[i]) * weight[i], 1e-5 * (1 + std::fabs(x[i] * weight[i]))), "gate",
                static_cast<size_t>(activation), i);
      }
    }
    std::vector<float> turned = Normals(2 * n);
    const std::vector<float> before = turned;
    std::vector<float> cos(n), sin(n);
    for (size_t i = 0; i < n; i++) {
      cos[i] = std::cos(x[i]);
      sin[i] = std::sin(x[i]);
    }
    Rotate(cos.data(), sin.data(), n, turned.data());
    for (size_t i = 0; i < n; i++) {
      const double a = before[i], b = before[n + i];
      Require(Near(turned[i], a * cos[i] - b * sin[i], 1e-5), "rotation", n, i);
      Require(Near(turned[n + i], b * cos[i] + a * sin[i], 1e-5), "rotation", n, n + i);
    }
    size_t masked = 0;
    std::vector<float> some = x;
    some[0] = kNaN;
    if (n > 1) some[n - 1] = -2;
    for (const float value : some) masked += std::fabs(value) <= 2;
    Require(CountMasked(some.data(), n, 2) == masked, "count of masked", n);
    double total = 0;
    for (const float value : x) total += std::exp(static_cast<double>(value) + 600 - (x[0] + 600.0));
    std::vector<float> shifted = x;
    for (float& value : shifted) value += 600;  // exp of it overflows
    Require(Near(LogLikelihood(shifted.data(), n, 0), -std::log(total), 1e-3), "log likelihood", n);
  }
}

// A matrix of random INT8 numbers with a scale a column or a row, and the weights that they stand for.
struct Int8Matrix {
  Int8Matrix(size_t rows, size_t columns, bool by_row, double size)
      : stride((columns + 3) / 4 * 4),
        values(std::make_shared<std::vector<int8_t>>(rows * stride)),
        scale(std::make_shared<std::vector<float>>(by_row ? rows : columns)),
        zero_point(std::make_shared<std::vector<float>>(scale->size())),
        weights(std::make_shared<std::vector<float>>(rows * columns)) {
    std::uniform_real_distribution<double> uniform(0.5, 1);
    std::uniform_int_distribution<int> number(-128, 127), point(-30, 30);
    for (float& value : *scale) value = static_cast<float>(Half(size / 74 * uniform(generator)));
    (*scale)[0] = -(*scale)[0];
    for (float& value : *zero_point) value = static_cast<float>(point(generator));
    for (size_t r = 0; r < rows; r++) {
      for (size_t c = 0; c < columns; c++) {
        const int q = number(generator);
        const size_t channel = by_row ? r : c;
        (*values)[r * stride + c] = static_cast<int8_t>(q);
        const double product = static_cast<double>((*scale)[channel]) * (q - (*zero_point)[channel]);
        (*weights)[r * columns + c] = static_cast<float>(Half(product));
      }
    }
  }
  StoredKernel kernel() const {
    return StoredKernel::Int8(values->data(), stride, scale->data(), zero_point->data());
  }

  size_t stride;
  std::shared_ptr<std::vector<int8_t>> values;
  std::shared_ptr<std::vector<float>> scale, zero_point, weights;
};

// A matrix of random INT4 numbers, of a kind and in groups that follow from `number`, with weights of about `size`.
std::shared_ptr<Int4Matrix> MakeInt4(size_t inputs, size_t units, size_t number, double size) {
  size_t group = std::min<size_t>(inputs, 8 + number % 5);
  while (inputs % group != 0) group--;
  // Numbers lie up to 15 scales apart.
  const auto scale = static_cast<float>(size / 5);
  return std::make_shared<Int4Matrix>(inputs, units, group, static_cast<Int4Kind>(number % 3), scale, 0, generator);
}

// Weights in memory of their own, in the order of DecoderDescription: as floats for the plain loops, and as the decoder gets them.
struct Weights {
  std::vector<DecoderTensor> tensors, given;
  std::vector<DecoderWords> words;

  void Add(std::vector<int64_t> shape, double scale, double mean = 0) {
    size_t size = 1;
    for (const int64_t dim : shape) size *= static_cast<size_t>(dim);
    auto values = std::make_shared<std::vector<float>>(Normals(size, scale, mean));
    tensors.push_back({values->data(), shape, values});
    given.push_back(tensors.back());
  }
  void AddNone() {
    tensors.push_back({nullptr, {0}, nullptr});
    given.push_back(tensors.back());
  }
  // The scale and zero point of `matrix` are for AddScales, behind the bias.
  Int8Matrix AddInt8(size_t rows, size_t columns, bool by_row, double size) {
    Int8Matrix matrix(rows, columns, by_row, size);
    const auto height = static_cast<int64_t>(rows), width = static_cast<int64_t>(columns);
    tensors.push_back({matrix.weights->data(), {height, width}, matrix.weights});
    given.push_back({nullptr, {0}, nullptr});
    words.push_back({matrix.values->data(), {height, (width + 3) / 4}, matrix.values});
    return matrix;
  }
  // Another tensor [0] is for AddNoMore, behind the bias. `is_table` gives the plain loops the transposed weights.
  void AddInt4(const std::shared_ptr<Int4Matrix>& matrix, size_t inputs, bool is_table = false) {
    const size_t units = matrix->units;
    auto values = std::make_shared<std::vector<float>>(inputs * units);
    for (size_t k = 0; k < inputs; k++) {
      for (size_t n = 0; n < units; n++) {
        (*values)[is_table ? n * inputs + k : k * units + n] = static_cast<float>(matrix->Weight(k, n));
      }
    }
    const auto height = static_cast<int64_t>(inputs), width = static_cast<int64_t>(units);
    const std::vector<int64_t> shape = is_table ? std::vector{width, height} : std::vector{height, width};
    tensors.push_back({values->data(), shape, values});
    given.push_back({nullptr, {0}, nullptr});
    const auto groups = static_cast<int64_t>(inputs / matrix->group);
    const auto stride = static_cast<int64_t>(matrix->stride / 4), halves = static_cast<int64_t>(matrix->half_stride / 2);
    const StoredKernel kernel = matrix->Kernel();
    const auto add = [&](const void* data, int64_t rows, int64_t columns) {
      if (data == nullptr) return words.push_back({nullptr, {0}, nullptr});
      words.push_back({static_cast<const int8_t*>(data), {rows, columns}, matrix});
    };
    add(kernel.data, height, stride);
    add(kernel.groups.scale, groups, halves);
    add(kernel.groups.zero_point, groups, stride);
    add(kernel.groups.minimum, groups, halves);
  }
  void AddNoMore() { given.push_back({nullptr, {0}, nullptr}); }
  void AddScales(const Int8Matrix& matrix) {
    for (const auto& values : {matrix.scale, matrix.zero_point}) {
      given.push_back({values->data(), {static_cast<int64_t>(values->size())}, values});
    }
  }
};

// How the Dense kernels and the embedding are given: every third of them is float in kMixed, INT8 in kMixedInt4.
enum class Given { kFloat, kNarrow, kInt8, kInt4, kMixed, kMixedNarrow, kMixedInt4 };

struct Kind {
  const char* name;
  size_t heads, key_heads, head_size, window;
  GateActivation activation;
  float embedding_scale;
  bool tied, fused, bias, norms;
  size_t experts, per_token;
};

constexpr size_t kHidden = 20, kLayers = 2, kVocabulary = 67, kIntermediate = 36;

struct Model {
  Kind kind;
  std::vector<float> numbers;
  Weights weights;
  std::vector<float> thresholds;
  std::shared_ptr<DecoderModel> made;

  Model(const Kind& k, Given given) : kind(k) {
    const bool narrow = given == Given::kNarrow || given == Given::kMixedNarrow;
    const auto is_int8 = [given](size_t matrix) {
      return given == Given::kInt8 || (given == Given::kMixedInt4 && matrix % 3 == 1) ||
             ((given == Given::kMixed || given == Given::kMixedNarrow) && matrix % 3 != 1);
    };
    const auto is_int4 = [&](size_t matrix) {
      return given == Given::kInt4 || (given == Given::kMixedInt4 && !is_int8(matrix));
    };
    numbers = {kHidden, kLayers, static_cast<float>(k.heads), static_cast<float>(k.key_heads),
               static_cast<float>(k.head_size), kVocabulary, kIntermediate, static_cast<float>(k.window),
               static_cast<float>(k.activation), 1e-5f, k.embedding_scale, 1, static_cast<float>(k.tied),
               static_cast<float>(k.fused), static_cast<float>(k.experts), static_cast<float>(k.per_token),
               static_cast<float>(narrow)};
    for (size_t i = 0; i < k.head_size / 2; i++) numbers.push_back(std::pow(0.1f, static_cast<float>(i)));
    const auto dense = [&](size_t inputs, size_t units) {
      const double size = 1 / std::sqrt(static_cast<double>(inputs));
      const auto bias = [&] {
        if (k.bias) {
          weights.Add({static_cast<int64_t>(units)}, 0.2);
        } else {
          weights.AddNone();
        }
      };
      if (is_int4(thresholds.size())) {
        weights.AddInt4(MakeInt4(inputs, units, thresholds.size(), size), inputs);
        bias();
        weights.AddNoMore();
      } else if (is_int8(thresholds.size())) {
        const Int8Matrix matrix = weights.AddInt8(inputs, units, false, size);
        bias();
        weights.AddScales(matrix);
      } else {
        weights.Add({static_cast<int64_t>(inputs), static_cast<int64_t>(units)}, size);
        bias();
      }
      thresholds.push_back(thresholds.size() % 4 == 3 ? -kInfinity : 0.1f * static_cast<float>(thresholds.size() % 5));
    };
    const auto norm = [&](size_t size) { weights.Add({static_cast<int64_t>(size)}, 0.1, 1); };
    const auto group = [&](std::vector<size_t> units) {
      if (k.fused) units = {std::accumulate(units.begin(), units.end(), size_t{0})};
      for (const size_t count : units) dense(kHidden, count);
    };
    if (k.tied) {
      weights.AddNone();
    } else if (is_int4(0)) {
      weights.AddInt4(MakeInt4(kHidden, kVocabulary, 0, 1), kHidden, true);
      weights.AddNoMore();
    } else if (is_int8(0)) {
      weights.AddScales(weights.AddInt8(kVocabulary, kHidden, true, 1));
    } else {
      weights.Add({kVocabulary, kHidden}, 1);
    }
    norm(kHidden);
    for (size_t l = 0; l < kLayers; l++) {
      norm(kHidden);
      group({k.heads * k.head_size, k.key_heads * k.head_size, k.key_heads * k.head_size});
      for (int i = 0; i < 2; i++) {
        if (k.norms) {
          norm(k.head_size);
        } else {
          weights.AddNone();
        }
      }
      dense(k.heads * k.head_size, kHidden);
      norm(kHidden);
      if (k.experts != 0) dense(kHidden, k.experts);
      for (size_t e = 0; e < std::max<size_t>(1, k.experts); e++) {
        group({kIntermediate, kIntermediate});
        dense(kIntermediate, kHidden);
      }
    }
    dense(kHidden, kVocabulary);
    made = std::make_shared<DecoderModel>(
        DecoderTensor{numbers.data(), {static_cast<int64_t>(numbers.size())}, nullptr}, weights.given, weights.words);
    Require(made->dense_count() == thresholds.size(), "number of Dense layers");
  }
};

using Row = std::vector<double>;

// The whole model on a whole sequence in double, by the book.
class Plain {
 public:
  Plain(const Model& model, bool sparse) : m_(model), k_(model.kind), sparse_(sparse) {}

  std::vector<Row> Logits(const std::vector<int32_t>& ids) {
    at_ = 0;
    dense_ = 0;
    const DecoderTensor& embedding = Next();
    const DecoderTensor& final_norm = Next();
    const DecoderTensor& head = m_.weights.tensors[m_.weights.tensors.size() - 2];
    std::vector<Row> x;
    for (const int32_t id : ids) {
      Row row(kHidden);
      for (size_t i = 0; i < kHidden; i++) {
        const auto column = static_cast<size_t>(id);
        row[i] = k_.embedding_scale * (k_.tied ? head.data[i * kVocabulary + column] : embedding.data[column * kHidden + i]);
      }
      x.push_back(row);
    }
    for (size_t l = 0; l < kLayers; l++) Layer(x);
    for (Row& row : x) row = Norm(row, final_norm.data);
    return Dense(x);
  }

 private:
  const DecoderTensor& Next() { return m_.weights.tensors[at_++]; }

  Row Norm(const Row& x, const float* weight) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    Row y(x.size());
    for (size_t i = 0; i < x.size(); i++) {
      y[i] = x[i] / std::sqrt(squares / static_cast<double>(x.size()) + 1e-5) * weight[i];
    }
    return y;
  }

  std::vector<Row> Dense(const std::vector<Row>& x) {
    const DecoderTensor& kernel = Next();
    const DecoderTensor& bias = Next();
    const float threshold = sparse_ ? m_.thresholds[dense_] : -kInfinity;
    dense_++;
    const auto units = static_cast<size_t>(kernel.shape[1]);
    std::vector<Row> y;
    for (const Row& row : x) {
      Row sums(units, 0);
      for (size_t k = 0; k < row.size(); k++) {
        if (std::fabs(row[k]) <= threshold) continue;
        for (size_t n = 0; n < units; n++) sums[n] += row[k] * kernel.data[k * units + n];
      }
      if (bias.data) {
        for (size_t n = 0; n < units; n++) sums[n] += bias.data[n];
      }
      y.push_back(sums);
    }
    return y;
  }

  // The outputs of several Dense layers, or of the one that stands for them, cut into `sizes`.
  std::vector<std::vector<Row>> Group(const std::vector<Row>& x, const std::vector<size_t>& sizes) {
    std::vector<std::vector<Row>> cut;
    if (!k_.fused) {
      for (size_t i = 0; i < sizes.size(); i++) cut.push_back(Dense(x));
      return cut;
    }
    const std::vector<Row> all = Dense(x);
    size_t first = 0;
    for (const size_t size : sizes) {
      std::vector<Row> part;
      for (const Row& row : all) {
        part.emplace_back(row.begin() + static_cast<long>(first), row.begin() + static_cast<long>(first + size));
      }
      cut.push_back(part);
      first += size;
    }
    return cut;
  }

  void Turn(Row& x, const DecoderTensor& norm, size_t position) const {
    const size_t size = k_.head_size, half = size / 2;
    for (size_t h = 0; h * size < x.size(); h++) {
      Row head(x.begin() + static_cast<long>(h * size), x.begin() + static_cast<long>((h + 1) * size));
      if (norm.data) head = Norm(head, norm.data);
      for (size_t i = 0; i < half; i++) {
        const double angle = static_cast<double>(position) * m_.numbers[DecoderNumbers::kCount + i];
        x[h * size + i] = head[i] * std::cos(angle) - head[half + i] * std::sin(angle);
        x[h * size + half + i] = head[half + i] * std::cos(angle) + head[i] * std::sin(angle);
      }
    }
  }

  std::vector<Row> Feed(const std::vector<Row>& x) {
    const auto parts = Group(x, {kIntermediate, kIntermediate});
    std::vector<Row> gated = parts[0];
    for (size_t t = 0; t < x.size(); t++) {
      for (size_t i = 0; i < kIntermediate; i++) gated[t][i] = Activated(k_.activation, parts[0][t][i]) * parts[1][t][i];
    }
    return Dense(gated);
  }

  void Layer(std::vector<Row>& x) {
    const size_t size = k_.head_size, group = k_.heads / k_.key_heads;
    const DecoderTensor& input_norm = Next();
    std::vector<Row> normed;
    for (const Row& row : x) normed.push_back(Norm(row, input_norm.data));
    auto qkv = Group(normed, {k_.heads * size, k_.key_heads * size, k_.key_heads * size});
    const DecoderTensor& query_norm = Next();
    const DecoderTensor& key_norm = Next();
    for (size_t t = 0; t < x.size(); t++) {
      Turn(qkv[0][t], query_norm, t);
      Turn(qkv[1][t], key_norm, t);
    }
    std::vector<Row> attended(x.size(), Row(k_.heads * size, 0));
    for (size_t t = 0; t < x.size(); t++) {
      for (size_t h = 0; h < k_.heads; h++) {
        const size_t first = k_.window != 0 && t + 1 > k_.window ? t + 1 - k_.window : 0;
        Row weights;
        double total = 0;
        for (size_t s = first; s <= t; s++) {
          double score = 0;
          for (size_t i = 0; i < size; i++) score += qkv[0][t][h * size + i] * qkv[1][s][h / group * size + i];
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(size))));
          total += weights.back();
        }
        for (size_t s = first; s <= t; s++) {
          for (size_t i = 0; i < size; i++) {
            attended[t][h * size + i] += weights[s - first] / total * qkv[2][s][h / group * size + i];
          }
        }
      }
    }
    Add(x, Dense(attended), Row(x.size(), 1));
    const DecoderTensor& feed_norm = Next();
    for (size_t t = 0; t < x.size(); t++) normed[t] = Norm(x[t], feed_norm.data);
    if (k_.experts == 0) return Add(x, Feed(normed), Row(x.size(), 1));
    const std::vector<Row> logits = Dense(normed);
    std::vector<Row> weights(k_.experts, Row(x.size(), 0));
    for (size_t t = 0; t < x.size(); t++) {
      std::vector<size_t> order(k_.experts);
      std::iota(order.begin(), order.end(), size_t{0});
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[t][a] > logits[t][b]; });
      double total = 0;
      for (size_t i = 0; i < k_.per_token; i++) total += std::exp(logits[t][order[i]]);
      for (size_t i = 0; i < k_.per_token; i++) weights[order[i]][t] = std::exp(logits[t][order[i]]) / total;
    }
    for (size_t e = 0; e < k_.experts; e++) Add(x, Feed(normed), weights[e]);
  }

  static void Add(std::vector<Row>& x, const std::vector<Row>& y, const Row& weights) {
    for (size_t t = 0; t < x.size(); t++) {
      for (size_t i = 0; i < kHidden; i++) x[t][i] += weights[t] * y[t][i];
    }
  }

  const Model& m_;
  const Kind& k_;
  const bool sparse_;
  size_t at_ = 0, dense_ = 0;
};

constexpr Kind kKinds[] = {
    {"plain", 4, 4, 6, 0, GateActivation::kSilu, 1, true, false, false, false, 0, 0},
    {"grouped, untied", 6, 2, 10, 0, GateActivation::kSilu, 1, false, false, false, false, 0, 0},
    {"window, biases", 14, 2, 8, 9, GateActivation::kGelu, 1, true, false, true, false, 0, 0},
    {"norms of heads, scaled", 3, 1, 34, 70, GateActivation::kGeluTanh, 4.5f, true, false, false, true, 0, 0},
    {"fused", 4, 2, 4, 0, GateActivation::kSilu, 1, false, true, true, false, 0, 0},
    {"experts", 2, 1, 12, 0, GateActivation::kSilu, 1, false, false, false, false, 5, 2},
};

// `chunks` tokens at a time, the last of them again and again.
std::vector<float> Decode(Model& model, bool narrow_cache, bool sparse, const std::vector<int32_t>& ids,
                          const std::vector<size_t>& chunks) {
  DecoderSession session(model.made, narrow_cache);
  std::vector<float> logits(ids.size() * kVocabulary);
  size_t done = 0;
  for (size_t i = 0; done < ids.size(); i++) {
    const size_t count = std::min(chunks[std::min(i, chunks.size() - 1)], ids.size() - done);
    session.Append(ids.data() + done, count, sparse ? model.thresholds.data() : nullptr, DecoderOutput::kAll, nullptr,
                   logits.data() + done * kVocabulary);
    done += count;
  }
  uint64_t masked = 0, total = 0;
  for (const MaskedInputs& count : session.counts().Get()) {
    masked += count.masked;
    total += count.total;
  }
  Require(masked < total && (masked > 0) == sparse, "masked inputs", masked, total);
  return logits;
}

void CheckModel(Model& model, const std::vector<int32_t>& ids) {
  const std::vector<std::vector<size_t>> chunkings = {{150}, {1}, {70, 1, 2, 13}, {3}};
  for (const bool sparse : {false, true}) {
    const std::vector<Row> wanted = Plain(model, sparse).Logits(ids);
    double largest = 0;
    for (const Row& row : wanted) {
      for (const double value : row) largest = std::fmax(largest, std::fabs(value));
    }
    for (size_t c = 0; c < chunkings.size(); c++) {
      Pool::Get().SetThreads(static_cast<unsigned>(1 + c * 2));
      const std::vector<float> got = Decode(model, false, sparse, ids, chunkings[c]);
      size_t off = 0;
      for (size_t i = 0; i < got.size(); i++) {
        // Float sums over 2 layers of up to 112 products. Masked, an input that lies within rounding of its threshold may
        // fall on the other side, which moves all positions behind it: those few are allowed to differ.
        off += !Near(got[i], wanted[i / kVocabulary][i % kVocabulary], 2e-5 * largest);
      }
      if (off > (sparse ? got.size() / 20 : 0)) {
        std::fprintf(stderr, "%s, chunking %zu, sparse %d: %zu of %zu logits are off\n", model.kind.name, c, sparse, off,
                     got.size());
        std::exit(1);
      }
    }
  }
}

// Sequences of different length that join and leave, stepped together, against each alone.
void CheckSteps(Model& model, bool narrow_cache, bool sparse, const std::vector<int32_t>& ids) {
  constexpr size_t kSequences = 5;
  const float* const thresholds = sparse ? model.thresholds.data() : nullptr;
  std::vector<std::unique_ptr<DecoderSession>> together, alone;
  std::vector<size_t> at;
  std::vector<float> got(kSequences * kVocabulary), wanted(kVocabulary);
  for (size_t s = 0; s < kSequences; s++) {
    for (auto* sessions : {&together, &alone}) {
      sessions->push_back(std::make_unique<DecoderSession>(model.made, narrow_cache));
      // The first is empty, others are within a block of the cache and beyond one.
      if (s > 0) {
        sessions->back()->Append(ids.data(), s * 20, thresholds, DecoderOutput::kLast, nullptr, wanted.data());
      }
    }
    at.push_back(s * 20);
  }
  size_t off = 0, all = 0;
  for (size_t step = 0; step < 12; step++) {
    std::vector<DecoderSession*> members;
    std::vector<size_t> which;
    std::vector<int32_t> tokens;
    std::vector<float*> logits;
    for (size_t s = 0; s < kSequences; s++) {
      if ((step + s) % 4 == 3 && step % 5 != 0) continue;
      members.insert(members.begin(), together[s].get());
      which.insert(which.begin(), s);
      tokens.insert(tokens.begin(), ids[at[s]++]);
      logits.insert(logits.begin(), got.data() + s * kVocabulary);
    }
    DecoderSession::Step(members, tokens.data(), thresholds, logits.data());
    for (size_t i = 0; i < which.size(); i++) {
      alone[which[i]]->Append(&tokens[i], 1, thresholds, DecoderOutput::kLast, nullptr, wanted.data());
      float largest = 0;
      for (const float value : wanted) largest = std::fmax(largest, std::fabs(value));
      for (size_t v = 0; v < kVocabulary; v++) off += !Near(logits[i][v], wanted[v], 2e-5 * largest);
      all += kVocabulary;
    }
  }
  // As in CheckModel; with bfloat16 keys a rounding may fall the other way too.
  Require(off <= (sparse || narrow_cache ? all / 5 : 0), model.kind.name, off, all);
  for (size_t s = 0; s < kSequences; s++) {
    const auto a = together[s]->counts().Get(), b = alone[s]->counts().Get();
    uint64_t masked_a = 0, masked_b = 0;
    for (size_t i = 0; i < a.size(); i++) {
      Require(a[i].total == b[i].total || model.kind.experts > 0, "inputs of a step", s, i);
      masked_a += a[i].masked;
      masked_b += b[i].masked;
    }
    Require(std::fabs(static_cast<double>(masked_a) - static_cast<double>(masked_b)) <= 0.01 * static_cast<double>(masked_b),
            "masked inputs of a step", masked_a, masked_b);
  }
}

void CheckModels() {
  std::vector<int32_t> ids(150);
  for (size_t i = 0; i < ids.size(); i++) ids[i] = static_cast<int32_t>((i * i * 7 + i * 3) % kVocabulary);
  for (const Kind& kind : kKinds) {
    for (const Given given : {Given::kFloat, Given::kInt8, Given::kMixed, Given::kInt4, Given::kMixedInt4}) {
      Model model(kind, given);
      CheckModel(model, ids);
      for (const unsigned threads : {1u, 3u}) {
        Pool::Get().SetThreads(threads);
        for (const bool sparse : {false, true}) CheckSteps(model, false, sparse, ids);
      }
    }
    // bfloat16 has 8 bits: what it changes is small beside the logits, and is there.
    Model narrow(kind, kind.fused ? Given::kMixedNarrow : Given::kNarrow);
    CheckSteps(narrow, true, false, ids);
    const std::vector<float> got = Decode(narrow, true, false, ids, {100, 1});
    const std::vector<Row> wanted = Plain(narrow, false).Logits(ids);
    double error = 0, size = 0;
    for (size_t i = 0; i < got.size(); i++) {
      const double w = wanted[i / kVocabulary][i % kVocabulary];
      error += (got[i] - w) * (got[i] - w);
      size += w * w;
    }
    const double relative = std::sqrt(error / size);
    std::printf("%s: bfloat16 moves the logits by %.2g\n", kind.name, relative);
    Require(relative > 1e-5 && relative < (kind.experts ? 0.2 : 0.03), "bfloat16", static_cast<size_t>(relative * 1e6));
  }
}

void CheckSessions() {
  Model model(kKinds[1], Given::kInt8);
  const std::vector<int32_t> ids = {5, 1, 60, 3, 3, 8, 44, 2, 9, 10};
  const auto last = [&](DecoderSession& session, size_t first, size_t count) {
    std::vector<float> logits(kVocabulary);
    session.Append(ids.data() + first, count, nullptr, DecoderOutput::kLast, nullptr, logits.data());
    return logits;
  };
  DecoderSession a(model.made, false), b(model.made, false);
  const std::vector<float> wanted = last(a, 0, 10);
  last(b, 0, 4);
  last(b, 7, 3);
  b.Truncate(4);
  last(b, 4, 5);
  const std::vector<float> again = last(b, 9, 1);
  for (size_t i = 0; i < kVocabulary; i++) Require(Near(again[i], wanted[i], 1e-5), "after truncating", i);
  // Scores are the log softmax of the logits, alone or in rows.
  for (const size_t rows : {1, 9}) {
    DecoderSession c(model.made, false), d(model.made, false);
    std::vector<float> logits(rows * kVocabulary), scores(rows);
    c.Append(ids.data(), rows, nullptr, DecoderOutput::kAll, nullptr, logits.data());
    d.Append(ids.data(), rows, nullptr, DecoderOutput::kScores, ids.data() + 1, scores.data());
    for (size_t r = 0; r < rows; r++) {
      double total = 0;
      for (size_t i = 0; i < kVocabulary; i++) total += std::exp(static_cast<double>(logits[r * kVocabulary + i]));
      const double score = logits[r * kVocabulary + static_cast<size_t>(ids[r + 1])] - std::log(total);
      Require(Near(scores[r], score, 1e-5), "scores", rows, r);
    }
  }
  // From several threads at once: each as if alone.
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; round++) {
        DecoderSession session(model.made, false);
        last(session, 0, 9);
        const std::vector<float> got = last(session, 9, 1);
        for (size_t i = 0; i < kVocabulary; i++) Require(Near(got[i], wanted[i], 1e-5), "from several threads", i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Steps of the same sessions in another order, at once: they wait for each other.
  threads.clear();
  DecoderSession c(model.made, false), d(model.made, false);
  for (int t = 0; t < 2; t++) {
    threads.emplace_back([&, t] {
      std::vector<float> first(kVocabulary), second(kVocabulary);
      float* const logits[] = {first.data(), second.data()};
      const std::vector<DecoderSession*> sessions = t ? std::vector{&c, &d} : std::vector{&d, &c};
      for (int round = 0; round < 20; round++) DecoderSession::Step(sessions, ids.data(), nullptr, logits);
    });
  }
  for (std::thread& thread : threads) thread.join();
  Model other(kKinds[1], Given::kFloat);
  DecoderSession stranger(other.made, false);
  bool refused = false;
  try {
    float* const logits[] = {nullptr, nullptr};
    DecoderSession::Step({&c, &stranger}, ids.data(), nullptr, logits);
  } catch (const DecoderProblem&) {
    refused = true;
  }
  Require(refused, "takes a step of two models");
}

// Sums cut into parts for several threads, and blocks of columns.
void CheckProducts() {
  for (const Given given : {Given::kFloat, Given::kNarrow, Given::kInt8, Given::kInt4}) {
    const bool narrow = given == Given::kNarrow;
    for (const size_t inputs : {1, 9, 130, 700}) {
      for (const size_t units : {1, 200, 9000}) {
        const std::vector<float> x = Normals(inputs), bias = Normals(units);
        std::vector<float> kernel = Normals(inputs * units);
        std::vector<BFloat16> kernel16(narrow ? kernel.size() : 0);
        if (narrow) {
          Narrow(kernel.data(), kernel.size(), kernel16.data());
          Widen(kernel16.data(), kernel.size(), kernel.data());
        }
        const Int8Matrix int8(inputs, units, false, 1);
        if (given == Given::kInt8) kernel = *int8.weights;
        const auto int4 = MakeInt4(inputs, units, inputs + units, 1);
        if (given == Given::kInt4) {
          for (size_t i = 0; i < kernel.size(); i++) kernel[i] = static_cast<float>(int4->Weight(i / units, i % units));
        }
        DecoderDense dense;
        dense.kernel = given == Given::kInt8 ? int8.kernel()
                       : given == Given::kInt4 ? int4->Kernel()
                       : narrow              ? StoredKernel::Narrow(kernel16.data(), units)
                                             : StoredKernel::Floats(kernel.data(), units);
        dense.bias = bias.data();
        dense.inputs = inputs;
        dense.units = units;
        for (const float threshold : {-kInfinity, 0.5f, 9.0f}) {
          for (const unsigned threads : {1u, 3u}) {
            Pool::Get().SetThreads(threads);
            MaskedInputs counts;
            MaskedInputs* const by_row[] = {&counts, &counts, &counts};
            const Masking masking{&threshold, by_row};
            RowProducts products;
            products.Add(dense, x.data(), masking);
            products.Run(Pool::Get());
            std::vector<float> y(units), wide(units), added(units, 1);
            products.Finish(0, y.data());
            RowProducts prefetching(true);
            std::vector<float> prefetched(units);
            MaskedInputs uncounted;
            MaskedInputs* const elsewhere[] = {&uncounted};
            prefetching.Add(dense, x.data(), {&threshold, elsewhere});
            prefetching.Run(Pool::Get());
            prefetching.Finish(0, prefetched.data());
            Require(prefetched == y, "product of prefetched rows", inputs, units);
            products.AddTo(0, 2, added.data());
            MultiplyWide(dense, x.data(), masking, products, wide.data(), Pool::Get());
            std::vector<float> rows(3 * inputs), many(3 * units);
            for (size_t i = 0; i < rows.size(); i++) rows[i] = x[i % inputs];
            MultiplyRows({dense}, rows.data(), 3, masking, {many.data()}, Pool::Get());
            std::vector<bool> kept(inputs);
            for (size_t k = 0; k < inputs; k++) kept[k] = !(std::fabs(x[k]) <= threshold);
            for (size_t n = 0; n < units; n++) {
              double sum = bias[n], magnitude = std::fabs(bias[n]), parts = 0;
              for (size_t k = 0; k < inputs; k++) {
                if (!kept[k]) continue;
                sum += static_cast<double>(x[k]) * kernel[k * units + n];
                parts += std::fabs(static_cast<double>(x[k])) * int4->Magnitude(k, n);
                magnitude += std::fabs(static_cast<double>(x[k]) * kernel[k * units + n]);
              }
              double limit = std::ldexp(magnitude * static_cast<double>(inputs + 4), -24);
              if (given == Given::kInt8) {
                // Numbers and zero point are summed apart, and of large kernels for few rows weights are not rounded.
                limit *= 2;
                if (inputs * units > 1 << 16) limit += std::ldexp(magnitude, -11);
              }
              if (given == Given::kInt4 && inputs * units > 1 << 16) {
                // Numbers, zero point and minimum are summed apart, weights are not rounded, and inputs are, to 8 bits.
                limit += std::ldexp(parts * static_cast<double>(inputs + 4), -23) + std::ldexp(magnitude, -11) +
                         RoundingLimit(*int4, x.data(), n, kept);
              }
              Require(Near(y[n], sum, limit) && Near(wide[n], sum, limit), "product", inputs, n);
              Require(Near(added[n], 1 + 2 * sum, 2 * limit + 1e-6), "product added", inputs, n);
              for (size_t r = 0; r < 3; r++) Require(Near(many[r * units + n], sum, limit), "product of rows", inputs, n);
            }
            Require(counts.total == 5 * inputs, "count of inputs", inputs);
          }
        }
      }
    }
  }
}

// A kernel of random numbers with all that belongs to it.
struct RandomKernel {
  std::vector<uint8_t> values, zero_points;
  std::vector<float> scale, zero_point;
  std::vector<Float16Bits> scales, minimums;
  StoredKernel kernel;

  RandomKernel(Storage storage, size_t inputs, size_t units, size_t group, bool has_minimum) {
    std::uniform_int_distribution<unsigned> any(0, 255);
    std::uniform_int_distribution<unsigned> half(0x2000, 0x3000);  // 2^-7 to 2^-3
    const auto fill = [](auto& array, size_t size, auto& numbers) {
      array.resize(size);
      for (auto& number : array) number = static_cast<typename std::decay_t<decltype(array)>::value_type>(numbers(generator));
    };
    if (storage == Storage::kInt8) {
      fill(values, inputs * units, any);
      scale = Normals(units, 0.01, 0.1);
      std::uniform_int_distribution<int> point(-30, 30);
      fill(zero_point, units, point);
      kernel = StoredKernel::Int8(reinterpret_cast<const int8_t*>(values.data()), units, scale.data(), zero_point.data());
      return;
    }
    const size_t stride = StoredKernel::Int4Stride(units), groups = inputs / group;
    fill(values, inputs * stride, any);
    Int4Groups own;
    own.size = group;
    own.stride = Int4Groups::Stride(units);
    fill(scales, groups * own.stride, half);
    own.scale = scales.data();
    if (has_minimum) {
      fill(minimums, groups * own.stride, half);
      own.minimum = minimums.data();
    } else {
      fill(zero_points, groups * stride, any);
      own.zero_point = zero_points.data();
    }
    kernel = StoredKernel::Int4(values.data(), stride, own);
  }
};

// Dense layers that read the same, of which every second one has a bias.
struct RandomGroup {
  std::vector<std::unique_ptr<RandomKernel>> kernels;
  std::vector<std::vector<float>> biases;
  std::vector<DecoderDense> layers;

  RandomGroup(Storage storage, size_t inputs, const std::vector<size_t>& units, size_t group, bool has_minimum,
              size_t first_id) {
    for (const size_t count : units) {
      kernels.push_back(std::make_unique<RandomKernel>(storage, inputs, count, group, has_minimum));
      biases.push_back(Normals(count));
      DecoderDense dense;
      dense.kernel = kernels.back()->kernel;
      dense.bias = layers.size() % 2 == 1 ? biases.back().data() : nullptr;
      dense.inputs = inputs;
      dense.units = count;
      dense.id = first_id + layers.size();
      layers.push_back(dense);
    }
  }
};

struct GroupProducts {
  std::vector<float> one, rows;
  std::vector<MaskedInputs> counts;
};

// Of one row of x, and of three.
GroupProducts ProductsOf(const std::vector<DecoderDense>& layers, const DecoderDense& whole, const std::vector<float>& x,
                         const std::vector<float>& thresholds) {
  constexpr size_t kRows = 3;
  size_t units = 0;
  for (const DecoderDense& dense : layers) units += dense.units;
  GroupProducts got{std::vector<float>(units), std::vector<float>(kRows * units), std::vector<MaskedInputs>(thresholds.size())};
  MaskedInputs* const counts[] = {got.counts.data(), got.counts.data(), got.counts.data()};
  const Masking masking{thresholds.data(), counts};
  RowProducts products;
  size_t next = 0;
  products.AddGroup(layers, whole, x.data(), masking);
  products.Run(Pool::Get());
  products.FinishGroup(layers, next, got.one.data());
  std::vector<float> rows;
  for (size_t r = 0; r < kRows; r++) rows.insert(rows.end(), x.begin(), x.end());
  std::vector<float*> y;
  size_t first = 0;
  for (const DecoderDense& dense : layers) {
    y.push_back(got.rows.data() + kRows * first);
    first += dense.units;
  }
  MultiplyRows(layers, rows.data(), kRows, masking, y, Pool::Get());
  return got;
}

// Rows side by side give what rows apart give: with one threshold, with several, and with one again.
void CheckSideBySide() {
  constexpr size_t kInputs = 576;
  for (const unsigned threads : {1u, 3u}) {
    Pool::Get().SetThreads(threads);
    for (const int kind : {0, 1, 2}) {  // INT8; INT4 with zero points; INT4 with minimums
      const Storage storage = kind == 0 ? Storage::kInt8 : Storage::kInt4;
      const RandomGroup qkv(storage, kInputs, {576, 192, 160}, 32, kind == 2, 0);
      const RandomGroup gate_up(storage, kInputs, {320, 320}, 64, kind == 2, 3);
      DecoderLayer layer{};
      layer.qkv = qkv.layers;
      layer.feeds.resize(2);
      layer.feeds[1].gate_up = gate_up.layers;
      layer.feeds[0].gate_up = {gate_up.layers[0]};
      std::vector<DecoderLayer> layers = {layer, layer};
      layers[1].qkv = {layer.qkv[2], layer.qkv[1]};
      std::vector<DecoderLayer> again = layers;
      std::shared_ptr<void> copy = LaySideBySide(layers);
      Require(layers[0].qkv_whole.units == 928 && layers[0].feeds[1].gate_up_whole.units == 640, "side by side");
      Require(layers[0].feeds[0].gate_up_whole.kernel.data == nullptr, "one alone side by side");
      Require(layers[0].qkv[1].kernel.stride == layers[0].qkv_whole.kernel.stride, "stride of rows side by side");
      const std::shared_ptr<void> shared = LaySideBySide(again);
      Require(again[0].qkv_whole.kernel.data == layers[0].qkv_whole.kernel.data, "a copy of two models");
      copy.reset();
      const std::vector<float> x = Normals(kInputs);
      const std::vector<std::vector<float>> cases = {
          {-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity}, {0.5f, 0.5f, 0.5f, 0.6f, 0.6f},
          {0.5f, 0.6f, 0.5f, 0.1f, 0.6f},                               {0.5f, 0.5f, -kInfinity, 9, 9},
          {0.5f, 0.5f, 0.5f, 0.6f, 0.6f}};
      for (const std::vector<float>& thresholds : cases) {
        const auto check = [&](const std::vector<DecoderDense>& apart, const std::vector<DecoderDense>& together,
                               const DecoderDense& whole) {
          const GroupProducts wanted = ProductsOf(apart, {}, x, thresholds), got = ProductsOf(together, whole, x, thresholds);
          // The last columns of a kernel that fill no vector are added otherwise than others.
          const auto check_near = [&](const std::vector<float>& a, const std::vector<float>& b) {
            for (size_t i = 0; i < a.size(); i++) Require(Near(a[i], b[i], 1e-3), "product side by side", i);
          };
          check_near(got.one, wanted.one);
          check_near(got.rows, wanted.rows);
          for (size_t i = 0; i < thresholds.size(); i++) {
            Require(got.counts[i].masked == wanted.counts[i].masked && got.counts[i].total == wanted.counts[i].total,
                    "counts side by side", i);
          }
        };
        check(qkv.layers, layers[0].qkv, layers[0].qkv_whole);
        check(gate_up.layers, layers[1].feeds[1].gate_up, layers[1].feeds[1].gate_up_whole);
        check({qkv.layers[2], qkv.layers[1]}, layers[1].qkv, layers[1].qkv_whole);
      }
    }
  }
}

void CheckApart() {
  const auto is_apart = [](const std::vector<DecoderDense>& parts) {
    std::vector<DecoderLayer> layers(1);
    layers[0].qkv = parts;
    return LaySideBySide(layers) == nullptr && layers[0].qkv_whole.kernel.data == nullptr;
  };
  const auto group = [](Storage storage, std::vector<size_t> units, size_t size, bool has_minimum) {
    return RandomGroup(storage, 576, units, size, has_minimum, 0);
  };
  const RandomGroup int8 = group(Storage::kInt8, {160, 160}, 0, false), int4 = group(Storage::kInt4, {160, 160}, 32, false);
  const RandomGroup other = group(Storage::kInt4, {160}, 64, false), minimums = group(Storage::kInt4, {160}, 32, true);
  const RandomGroup odd = group(Storage::kInt4, {168, 168}, 32, false);
  Require(!is_apart(int8.layers) && !is_apart(int4.layers), "short rows apart");
  Require(is_apart({int8.layers[0], int4.layers[0]}), "INT8 and INT4 side by side");
  Require(is_apart({int4.layers[0], other.layers[0]}), "other groups side by side");
  Require(is_apart({int4.layers[0], minimums.layers[0]}), "minimums and zero points side by side");
  Require(is_apart(odd.layers), "halves of 16 columns side by side");
  Require(is_apart(group(Storage::kInt8, {100, 100}, 0, false).layers), "small kernels side by side");
  Require(is_apart(group(Storage::kInt8, {2048, 160}, 0, false).layers), "long rows side by side");
  const std::vector<float> floats(576 * 160);
  DecoderDense dense = int8.layers[0];
  dense.kernel = StoredKernel::Floats(floats.data(), 160);
  Require(is_apart({dense, dense}), "floats side by side");
}

// Either answer may be right.
void CheckPrefetchTrial() {
  const RandomGroup group(Storage::kInt8, 576, {512, 512}, 0, false, 0);
  std::vector<DecoderLayer> layers(20);
  for (DecoderLayer& layer : layers) {
    layer.feeds.resize(1);
    layer.feeds[0].gate_up = group.layers;
    layer.feeds[0].down = group.layers[1];
  }
  PrefetchPays(layers);
  layers.resize(2);
  Require(!PrefetchPays(layers), "a trial of few weights");
}

void CheckProblems() {
  Model model(kKinds[0], Given::kInt8);
  const DecoderTensor numbers{model.numbers.data(), {static_cast<int64_t>(model.numbers.size())}, nullptr};
  std::vector<DecoderWords> words = model.weights.words;
  const auto refuses = [&](const DecoderTensor& description, const std::vector<DecoderTensor>& tensors, const char* what) {
    try {
      const DecoderModel made(description, tensors, words);
    } catch (const DecoderProblem&) {
      return;
    }
    Require(false, what);
  };
  std::vector<DecoderTensor> fewer = model.weights.given, more = fewer, other = fewer;
  fewer.pop_back();
  more.push_back(more.back());
  other[1].shape = {kHidden + 1};
  refuses(numbers, fewer, "takes too few tensors");
  refuses(numbers, more, "takes too many tensors");
  refuses(numbers, other, "takes a tensor of another shape");
  for (const size_t i : {size_t{0}, size_t{2}, size_t{4}}) {
    std::vector<float> wrong = model.numbers;
    for (const float value : {-1.0f, 0.0f, 1e9f, kNaN}) {
      wrong[i] = value;
      refuses({wrong.data(), numbers.shape, nullptr}, model.weights.given, "takes senseless numbers");
    }
  }
  words.push_back(words.back());
  refuses(numbers, model.weights.given, "takes too many INT8 tensors");
  words.resize(words.size() - 2);
  refuses(numbers, model.weights.given, "takes too few INT8 tensors");
  words = model.weights.words;
  words[0].shape[1]++;
  refuses(numbers, model.weights.given, "takes an INT8 tensor of another shape");
}

// The description of a target whose rows are padded to 16 numbers, as those of CUDA are. No weight is read.
class PaddedDescription : public DecoderDescription {
 public:
  PaddedDescription(const DecoderTensor& description, const std::vector<DecoderTensor>& tensors,
                    const std::vector<DecoderWords>& words)
      : DecoderDescription(description) {
    DecoderMemory memory;
    memory.int8_step = memory.int4_step = memory.narrow_step = 16;
    memory.narrow = [this](const float* kernel, size_t inputs, size_t units, size_t stride) {
      Require(stride == (units + 15) / 16 * 16, "stride of bfloat16", units, stride);
      narrowed.push_back(kernel);
      return &narrow.at(inputs);
    };
    ReadWeights(tensors, words, memory);
  }

  std::vector<BFloat16> narrow = std::vector<BFloat16>(101);
  std::vector<const float*> narrowed;  // the kernels that were to be narrowed
};

void CheckPaddedRows() {
  Model model(kKinds[1], Given::kMixedNarrow);
  const DecoderTensor numbers{model.numbers.data(), {static_cast<int64_t>(model.numbers.size())}, nullptr};
  std::vector<DecoderWords> words = model.weights.words;
  bool refused = false;
  try {
    const PaddedDescription made(numbers, model.weights.given, words);
  } catch (const DecoderProblem&) {
    refused = true;
  }
  Require(refused, "takes INT8 rows that are not padded");
  for (DecoderWords& matrix : words) matrix.shape[1] = (matrix.shape[1] + 3) / 4 * 4;
  const PaddedDescription made(numbers, model.weights.given, words);
  Require(made.embedding.is_int8() && made.embedding.stride == 32, "padded embedding", made.embedding.stride);
  size_t next_words = 1, next_narrow = 0, id = 0;  // the first words are the embedding's
  const auto check = [&](const DecoderDense& dense) {
    const StoredKernel& kernel = dense.kernel;
    Require(dense.id == id && made.inputs[id] == dense.inputs, "id of a Dense layer", id, dense.id);
    id++;
    Require(kernel.stride == (dense.units + 15) / 16 * 16, "padded stride", dense.units, kernel.stride);
    if (kernel.is_int8()) {
      Require(kernel.data == words[next_words++].data, "INT8 numbers of a Dense layer", dense.id);
    } else {
      Require(kernel.is_narrow() && kernel.data == &made.narrow[dense.inputs], "bfloat16 of a Dense layer", dense.id);
      next_narrow++;
    }
  };
  for (const DecoderLayer& layer : made.layers) {
    for (const DecoderDense& dense : layer.qkv) check(dense);
    check(layer.output);
    for (const DecoderDense& dense : layer.feeds[0].gate_up) check(dense);
    check(layer.feeds[0].down);
  }
  check(made.head);
  Require(id == made.dense_count() && next_words == words.size() && next_narrow == made.narrowed.size(),
          "Dense layers of the description", id, next_words);
}

void CheckLargePages() {
  constexpr uintptr_t kPage = 2 << 20;
  // Two that lie next to each other have a page between them in common; a third is too far.
  const std::vector<uintptr_t> pages = LargePagesWithin({{9 * kPage + 1, 10 * kPage + 5},
                                                         {kPage, 2 * kPage + 100},
                                                         {2 * kPage + 4196, 3 * kPage + 9},
                                                         {5 * kPage + 64, 5 * kPage + 128}});
  Require(pages == std::vector<uintptr_t>{kPage, 2 * kPage}, "large pages", pages.size());
  // While it moves them, memory stays what it is; and it ends with its owner.
  for (const bool short_lived : {false, true}) {
    auto values = std::make_shared<std::vector<float>>(24 << 20 >> 2);
    std::iota(values->begin(), values->end(), 0.0f);
    const auto first = reinterpret_cast<uintptr_t>(values->data());
    const auto owner = std::make_shared<std::pair<std::shared_ptr<void>, std::mutex>>();
    owner->first = values;
    // In use at first: what is left after the time at once has to wait.
    std::unique_lock<std::mutex> lock(owner->second);
    UseLargePages({{first, first + values->size() * sizeof(float)}}, owner, owner->second);
    lock.unlock();
    for (int round = 0; !short_lived && round < 50; round++) {
      for (size_t i = 0; i < values->size(); i++) Require((*values)[i] == static_cast<float>(i), "memory that moves", i);
    }
  }
}

}  // namespace
}  // namespace sparsify

int main() {
  using namespace sparsify;
  std::printf("loops for %s\n", LoopTarget());
  CheckNarrow();
  CheckSumNarrowRows();
  CheckRowLoops();
  CheckProducts();
  CheckSideBySide();
  CheckApart();
  CheckPrefetchTrial();
  CheckModels();
  CheckSessions();
  CheckProblems();
  CheckPaddedRows();
  CheckLargePages();
  std::puts("the decoder holds");
}
