// Holds the native kernel against plain loops in double, without TensorFlow: sizes, misalignments, rows, sparsities,
// numbers of threads. Run by scripts/sanitize.mjs, under AddressSanitizer and UndefinedBehaviorSanitizer. Arrays end
// where their allocation ends, so that a read or a write beyond them is seen.
#include "../sparsified-matmul.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "checked-array.h"

namespace sparsify {
namespace {

using Floats = Array<float>;

double Apply(Activation activation, double z) {
  switch (activation) {
    case Activation::kLinear:
      return z;
    case Activation::kRelu:
      return z < 0 ? 0 : z;
    case Activation::kSilu:
      return z / (1 + std::exp(-z));
    case Activation::kGelu:
      return 0.5 * z * std::erfc(-z / std::sqrt(2.0));
    case Activation::kTanh:
      return std::tanh(z);
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-z));
  }
  std::abort();
}

struct Case {
  size_t rows, inputs, units;
  float sparsity;
  size_t offset;
  unsigned threads;
  bool per_input, bias, specials;
  Activation activation;
};

[[noreturn]] void Fail(const Case& c, size_t row, size_t n, double got, double wanted) {
  std::fprintf(stderr,
               "%zu rows, %zu x %zu, sparsity %g, offset %zu, %u threads, per input %d, bias %d, specials %d, %s: "
               "y[%zu][%zu] is %.9g, expected %.9g\n",
               c.rows, c.inputs, c.units, c.sparsity, c.offset, c.threads, c.per_input, c.bias, c.specials,
               kActivationNames[static_cast<int>(c.activation)], row, n, got, wanted);
  std::exit(1);
}

void Check(const Case& c, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  Floats x(c.rows * c.inputs, c.offset), kernel(c.inputs * c.units, c.offset), bias(c.units, c.offset);
  Floats threshold(c.per_input ? c.inputs : 1, c.offset);
  Floats y(c.rows * c.units, c.offset), second(c.rows * 3, c.offset), second_kernel(c.inputs * 3, c.offset);
  // What is not written stays NaN.
  std::fill_n(y.data(), y.size(), kNaN);
  std::fill_n(second.data(), second.size(), kNaN);
  for (size_t i = 0; i < x.size(); i++) x[i] = uniform(random);
  for (size_t i = 0; i < kernel.size(); i++) kernel[i] = uniform(random);
  for (size_t i = 0; i < bias.size(); i++) bias[i] = uniform(random);
  for (size_t i = 0; i < second_kernel.size(); i++) second_kernel[i] = uniform(random);
  for (size_t i = 0; i < threshold.size(); i++) {
    threshold[i] = c.sparsity == 0 ? -kInfinity : c.sparsity * (c.per_input ? static_cast<float>(i % 3) / 2 : 1.0f);
  }
  if (c.specials) {
    // A row of the kernel that only some rows of x keep, and a NaN in x.
    for (size_t n = 0; n < c.units; n++) kernel[n] = n % 2 ? kInfinity : kNaN;
    for (size_t r = 0; r < c.rows; r++) x[r * c.inputs] = r % 2 ? 1.0f : 0.0f;
    x[x.size() - 1] = kNaN;
  }

  const Threshold limits{threshold.data(), c.per_input ? size_t{1} : size_t{0}};
  const StoredKernel first = StoredKernel::Floats(kernel.data(), c.units);
  const StoredKernel other = StoredKernel::Floats(second_kernel.data(), 3);
  const Layer layers[] = {{first, c.bias ? bias.data() : nullptr, y.data(), c.units, c.activation},
                          {other, nullptr, second.data(), 3, Activation::kLinear}};
  Pool::Get().SetThreads(c.threads);
  SparsifiedMatMul(x.data(), c.rows, c.inputs, limits, layers, 2, Pool::Get());

  for (const Layer& layer : layers) {
    for (size_t r = 0; r < c.rows; r++) {
      for (size_t n = 0; n < layer.units; n++) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < c.inputs; k++) {
          const float entry = x[r * c.inputs + k];
          if (std::fabs(entry) <= limits.values[k * limits.step]) continue;
          const double product = static_cast<double>(entry) * layer.kernel.floats()[k * layer.units + n];
          sum += product;
          magnitude += std::fabs(product);
        }
        if (layer.bias) sum += layer.bias[n];
        const double wanted = Apply(layer.activation, sum);
        const double got = layer.y[r * layer.units + n];
        if (std::isnan(wanted) && std::isnan(got)) continue;
        // Any order of float additions errs by at most about inputs * 2^-24 * magnitude; an activation multiplies it
        // by at most 1.13 and adds a few roundings.
        const double limit = 1.2 * static_cast<double>(c.inputs + 2) * std::ldexp(magnitude + 1, -24) +
                             std::ldexp(std::fmax(1, std::fabs(wanted)), -21);
        if (!(got == wanted || std::fabs(got - wanted) <= limit)) Fail(c, r, n, got, wanted);
      }
    }
  }
}

void CheckMaskAndBias(size_t rows, size_t columns, size_t offset, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  Floats x(rows * columns, offset), threshold(1, offset), bias(columns, offset), y(rows * columns, offset);
  std::fill_n(y.data(), y.size(), kNaN);
  for (size_t i = 0; i < x.size(); i++) x[i] = uniform(random);
  for (size_t i = 0; i < columns; i++) bias[i] = uniform(random);
  threshold[0] = 0.5f;
  MaskRows(x.data(), rows, columns, {threshold.data(), 0}, y.data(), Pool::Get());
  for (size_t i = 0; i < y.size(); i++) {
    if (y[i] != (std::fabs(x[i]) <= 0.5f ? 0.0f : x[i])) std::exit((std::fprintf(stderr, "mask at %zu\n", i), 1));
  }
  AddBiasAndActivate(x.data(), rows, columns, bias.data(), Activation::kRelu, y.data(), Pool::Get());
  for (size_t i = 0; i < y.size(); i++) {
    if (y[i] != std::fmax(0.0f, x[i] + bias[i % columns])) std::exit((std::fprintf(stderr, "bias at %zu\n", i), 1));
  }
}

void CheckActivations() {
  for (int a = 0; a < 6; a++) {
    const auto activation = static_cast<Activation>(a);
    double worst = 0;
    for (double z = -110; z <= 110; z += 0.00701) {
      const auto input = static_cast<float>(z);
      float y;
      AddBiasAndActivate(&input, 1, 1, nullptr, activation, &y, Pool::Get());
      const double wanted = Apply(activation, input);
      worst = std::fmax(worst, std::fabs(y - wanted) / std::fmax(1e-30, std::fabs(wanted)));
      // Relative to the result down to 1e-30. In the tails e^-u carries the rounding of u times u.
      const double exponent = activation == Activation::kGelu ? z * z : 2 * std::fabs(z);
      const double limit = std::ldexp(std::fabs(wanted) * (4 + exponent), -23) + 1e-30;
      if (!(std::fabs(y - wanted) <= limit)) {
        std::fprintf(stderr, "%s(%.9g) is %.9g, expected %.9g\n", kActivationNames[a], input, y, wanted);
        std::exit(1);
      }
    }
    std::printf("%s: relative error at most %.2g\n", kActivationNames[a], worst);
  }
}

}  // namespace
}  // namespace sparsify

int main() {
  using namespace sparsify;
  std::printf("loops for %s\n", LoopTarget());
  std::mt19937 random(1);
  const size_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130, 257};
  const size_t row_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31};
  const float sparsities[] = {0, 0.3f, 0.5f, 0.9f, 1};
  size_t cases = 0;
  for (const size_t inputs : sizes) {
    for (const size_t units : sizes) {
      for (const size_t rows : row_counts) {
        const float sparsity = sparsities[cases % 5];
        const Case c{rows,          inputs,         units,          sparsity,       cases % 17,
                     static_cast<unsigned>(1 + cases % 8), cases % 2 == 1, cases % 3 == 1,
                     // Blocks of many rows multiply what is masked by 0.
                     cases % 7 == 6 && rows <= 12,
                     static_cast<Activation>(cases % 11 < 6 ? cases % 11 : 0)};
        Check(c, random);
        cases++;
      }
    }
  }
  // Large enough for threads, and for columns in blocks.
  for (const size_t rows : {1, 2, 9}) {
    for (const unsigned threads : {1u, 2u, 8u}) {
      for (const float sparsity : sparsities) {
        Check({rows, 300, 1000, sparsity, 1, threads, false, true, false, Activation::kGelu}, random);
        Check({rows, 40, 40001, sparsity, 3, threads, false, true, false, Activation::kLinear}, random);
        Check({rows, 4096, 33, sparsity, 2, threads, true, false, true, Activation::kSilu}, random);
        cases += 3;
      }
    }
  }
  // Blocks: several of rows, of columns and of inputs.
  for (const unsigned threads : {1u, 2u, 8u}) {
    for (const size_t rows : {13, 145, 301}) {
      Check({rows, 523, 300, 0.5f, 1, threads, false, true, false, Activation::kGelu}, random);
      Check({rows, 256, 129, 0, 0, threads, true, false, false, Activation::kLinear}, random);
      cases += 2;
    }
  }
  for (const size_t rows : {1, 3, 100}) {
    for (const size_t columns : sizes) CheckMaskAndBias(rows, columns, columns % 5, random);
  }
  CheckActivations();
  std::printf("%zu cases hold\n", cases);
}
