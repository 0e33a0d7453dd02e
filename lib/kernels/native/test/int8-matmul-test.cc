// Holds the multiplication by INT8 kernels against plain loops in double, without TensorFlow: sizes, misalignments, rows,
// sparsities, scales from float16's least to large, numbers of threads. Run by scripts/sanitize.mjs. Arrays end where their
// allocation ends, so that a read or a write beyond them is seen.
#include "../int8-loops.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../sparsified-matmul.h"
#include "checked-array.h"
#include "float16.h"

namespace sparsify {
namespace {

constexpr size_t kMostSkippingRows = 16;

struct Quantized {
  Quantized(size_t inputs, size_t units, float magnitude, size_t offset, std::mt19937& random)
      : stride((units + 3) / 4 * 4), values(inputs * stride, 4 * offset), scale(units, offset), zero_point(units, offset) {
    std::uniform_real_distribution<float> uniform(0.5f, 1);
    for (size_t k = 0; k < inputs; k++) {
      for (size_t n = 0; n < units; n++) values[k * stride + n] = static_cast<int8_t>(random() % 256);
    }
    for (size_t n = 0; n < units; n++) {
      const double half = Half(magnitude * uniform(random) * (n % 5 == 4 ? -1 : 1));
      scale[n] = static_cast<float>(half == 0 ? std::ldexp(1, -24) : half);
      zero_point[n] = n % 3 == 0 ? 0 : static_cast<float>(static_cast<int8_t>(random() % 256));
    }
  }
  StoredKernel Kernel() { return StoredKernel::Int8(values.data(), stride, scale.data(), zero_point.data()); }
  double Step(size_t k, size_t n) { return values[k * stride + n] - static_cast<double>(zero_point[n]); }
  double Weight(size_t k, size_t n) { return Half(scale[n] * Step(k, n)); }

  size_t stride;
  Array<int8_t> values;
  Array<float> scale, zero_point;
};

struct Case {
  size_t rows, inputs, units;
  float sparsity, magnitude;
  size_t offset;
  unsigned threads;
  bool per_input, bias, specials;
};

[[noreturn]] void Fail(const Case& c, const char* what, size_t row, size_t n, double got, double wanted) {
  std::fprintf(stderr,
               "%s: %zu rows, %zu x %zu, sparsity %g, scales of %g, offset %zu, %u threads, per input %d, bias %d, specials "
               "%d: [%zu][%zu] is %.9g, expected %.9g\n",
               what, c.rows, c.inputs, c.units, c.sparsity, c.magnitude, c.offset, c.threads, c.per_input, c.bias,
               c.specials, row, n, got, wanted);
  std::exit(1);
}

void Check(const Case& c, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  Quantized kernel(c.inputs, c.units, c.magnitude, c.offset, random);
  Array<float> x(c.rows * c.inputs, c.offset), bias(c.units, c.offset), y(c.rows * c.units, c.offset);
  Array<float> threshold(c.per_input ? c.inputs : 1, c.offset), plain(c.inputs * 3), plain_y(c.rows * 3);
  for (size_t i = 0; i < x.size(); i++) x[i] = uniform(random);
  for (size_t i = 0; i < plain.size(); i++) plain[i] = uniform(random);
  for (size_t i = 0; i < bias.size(); i++) bias[i] = uniform(random) * c.magnitude;
  for (size_t i = 0; i < threshold.size(); i++) {
    threshold[i] = c.sparsity == 0 ? -kInfinity : c.sparsity * (c.per_input ? static_cast<float>(i % 3) / 2 : 1.0f);
  }
  if (c.specials) {
    // The first row has an Inf, the last a NaN, whatever the weights: an Inf times 0 is NaN, times another is Inf.
    x[0] = kInfinity;
    x[x.size() - 1] = kNaN;
  }

  Array<float> weights(c.inputs * c.units, c.offset);
  Pool::Get().SetThreads(c.threads);
  DequantizeKernel(kernel.Kernel(), c.inputs, c.units, weights.data(), Pool::Get());
  for (size_t k = 0; k < c.inputs; k++) {
    for (size_t n = 0; n < c.units; n++) {
      const double wanted = kernel.Weight(k, n), got = weights[k * c.units + n];
      if (got != wanted) Fail(c, "weights", k, n, got, wanted);
    }
  }

  const Threshold limits{threshold.data(), c.per_input ? size_t{1} : size_t{0}};
  // With a float kernel that reads the same x.
  const Layer layers[] = {
      {kernel.Kernel(), c.bias ? bias.data() : nullptr, y.data(), c.units, Activation::kLinear},
      {StoredKernel::Floats(plain.data(), 3), nullptr, plain_y.data(), 3, Activation::kLinear}};
  SparsifiedMatMul(x.data(), c.rows, c.inputs, limits, layers, 2, Pool::Get());
  const bool in_steps = c.rows <= kMostSkippingRows && c.inputs * (c.units + 3) > kRoundedWeights;

  for (size_t r = 0; r < c.rows; r++) {
    const auto kept = [&](size_t k) { return !(std::fabs(x[r * c.inputs + k]) <= limits.values[k * limits.step]); };
    for (size_t n = 0; n < c.units; n++) {
      double sum = 0, magnitude = 0, steps = 0;
      for (size_t k = 0; k < c.inputs; k++) {
        if (!kept(k)) continue;
        const double entry = x[r * c.inputs + k];
        const double product = entry * weights[k * c.units + n];
        sum += product;
        magnitude += std::fabs(product);
        steps += std::fabs(entry * kernel.scale[n]) * (std::abs(kernel.values[k * kernel.stride + n]) +
                                                       std::fabs(static_cast<double>(kernel.zero_point[n])));
      }
      if (c.bias) sum += bias[n];
      const double got = y[r * c.units + n];
      if (std::isnan(sum) && std::isnan(got)) continue;
      // Any order of float additions errs by at most about inputs * 2^-24 * magnitude; steps are larger than weights by
      // their zero point, and each is off by half of float16's last bit: 2^-11, or 2^-25 where it is subnormal.
      const double added = in_steps ? std::max(magnitude, steps) : magnitude;
      double limit = 1.2 * static_cast<double>(c.inputs + 4) * std::ldexp(added + std::fabs(bias[n]), -24);
      if (in_steps) {
        double entries = 0;
        for (size_t k = 0; k < c.inputs; k++) entries += kept(k) ? std::fabs(static_cast<double>(x[r * c.inputs + k])) : 0;
        limit += std::ldexp(magnitude, -11) + std::ldexp(entries, -25);
      }
      if (!(got == sum || std::fabs(got - sum) <= limit)) Fail(c, "y", r, n, got, sum);
    }
    for (size_t n = 0; n < 3; n++) {
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < c.inputs; k++) {
        if (!kept(k)) continue;
        sum += static_cast<double>(x[r * c.inputs + k]) * plain[k * 3 + n];
        magnitude += std::fabs(static_cast<double>(x[r * c.inputs + k]) * plain[k * 3 + n]);
      }
      const double got = plain_y[r * 3 + n];
      if (std::isnan(sum) && std::isnan(got)) continue;
      const double limit = 1.2 * static_cast<double>(c.inputs + 4) * std::ldexp(magnitude, -24);
      if (!(got == sum || std::fabs(got - sum) <= limit)) Fail(c, "float y", r, n, got, sum);
    }
  }
}

}  // namespace
}  // namespace sparsify

int main() {
  using namespace sparsify;
  std::printf("loops for %s\n", LoopTarget());
  std::mt19937 random(1);
  const size_t sizes[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 65, 130, 257};
  const size_t row_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 33};
  const float sparsities[] = {0, 0.3f, 0.5f, 0.9f, 1};
  // Subnormal products, some of both, normal ones.
  const float magnitudes[] = {1e-7f, 1e-5f, 2e-3f, 1.0f};
  size_t cases = 0;
  for (const size_t inputs : sizes) {
    for (const size_t units : sizes) {
      for (const size_t rows : row_counts) {
        Check({rows, inputs, units, sparsities[cases % 5], magnitudes[cases % 4], cases % 17,
               static_cast<unsigned>(1 + cases % 8), cases % 2 == 1, cases % 3 == 1, cases % 7 == 6},
              random);
        cases++;
      }
    }
  }
  // In steps, with threads, columns in blocks, and odd sizes.
  for (const size_t rows : {1, 2, 5, 12}) {
    for (const unsigned threads : {1u, 2u, 8u}) {
      for (const float sparsity : sparsities) {
        Check({rows, 300, 1001, sparsity, 2e-3f, 1, threads, false, true, false}, random);
        Check({rows, 20, 40001, sparsity, 1e-5f, 3, threads, false, true, false}, random);
        Check({rows, 2111, 33, sparsity, 0.5f, 2, threads, true, false, true}, random);
        cases += 3;
      }
    }
  }
  // Blocks: several of rows, of columns and of inputs.
  for (const unsigned threads : {1u, 2u, 8u}) {
    for (const size_t rows : {13, 145, 301}) {
      Check({rows, 523, 301, 0.5f, 2e-3f, 1, threads, false, true, false}, random);
      Check({rows, 256, 129, 0, 1e-5f, 0, threads, true, false, false}, random);
      cases += 2;
    }
  }
  std::printf("%zu cases hold\n", cases);
}
