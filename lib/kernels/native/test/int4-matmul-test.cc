// Holds the multiplication by INT4 kernels against plain loops in double, without TensorFlow: sizes, kinds, groups, misalignments,
// rows, sparsities, scales from float16's least to large, numbers of threads. Run by scripts/sanitize.mjs. Arrays end where their
// allocation ends, so that a read or a write beyond them is seen.
#include "../int4-loops.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../int8-loops.h"
#include "../sparsified-matmul.h"
#include "checked-array.h"
#include "int4-matrix.h"

namespace sparsify {
namespace {

constexpr size_t kMostSkippingRows = 16;
struct Case {
  size_t rows, inputs, units, group;
  Int4Kind kind;
  float sparsity, magnitude;
  size_t offset;
  unsigned threads;
  bool per_input, bias, specials;
};

[[noreturn]] void Fail(const Case& c, const char* what, size_t row, size_t n, double got, double wanted, double limit) {
  std::fprintf(stderr,
               "%s: %zu rows, %zu x %zu, groups of %zu, kind %d, sparsity %g, scales of %g, offset %zu, %u threads, per input %d, "
               "bias %d, specials %d: [%zu][%zu] is %.9g, expected %.9g within %.3g\n",
               what, c.rows, c.inputs, c.units, c.group, static_cast<int>(c.kind), c.sparsity, c.magnitude, c.offset, c.threads,
               c.per_input, c.bias, c.specials, row, n, got, wanted, limit);
  std::exit(1);
}

void Check(const Case& c, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  Int4Matrix kernel(c.inputs, c.units, c.group, c.kind, c.magnitude, c.offset, random);
  Array<float> x(c.rows * c.inputs, c.offset), bias(c.units, c.offset), y(c.rows * c.units, c.offset);
  Array<float> threshold(c.per_input ? c.inputs : 1, c.offset);
  for (size_t i = 0; i < x.size(); i++) x[i] = uniform(random);
  // All of one sign, which is what could leave 16 bits.
  for (size_t i = 0; i < c.inputs; i++) x[i] = 0.9f + 0.1f * x[i];
  for (size_t i = 0; i < bias.size(); i++) bias[i] = uniform(random) * c.magnitude;
  for (size_t i = 0; i < threshold.size(); i++) {
    threshold[i] = c.sparsity == 0 ? -kInfinity : c.sparsity * (c.per_input ? static_cast<float>(i % 3) / 2 : 1.0f);
  }
  if (c.specials) {
    // The first row has an Inf, the last a NaN, whatever the weights: an Inf times 0 is NaN, times another is Inf.
    x[0] = kInfinity;
    x[x.size() - 1] = kNaN;
  }

  Array<float> weights(c.inputs * c.units, c.offset), column(c.inputs);
  Pool::Get().SetThreads(c.threads);
  DequantizeKernel(kernel.Kernel(), c.inputs, c.units, weights.data(), Pool::Get());
  for (size_t k = 0; k < c.inputs; k++) {
    for (size_t n = 0; n < c.units; n++) {
      const double wanted = kernel.Weight(k, n), got = weights[k * c.units + n];
      if (got != wanted) Fail(c, "weights", k, n, got, wanted, 0);
    }
  }
  const size_t some = random() % c.units;
  DequantizeInt4Column(kernel.Kernel(), c.inputs, some, column.data());
  for (size_t k = 0; k < c.inputs; k++) {
    if (column[k] != weights[k * c.units + some]) Fail(c, "column", k, some, column[k], weights[k * c.units + some], 0);
  }

  const bool in_steps = c.rows <= kMostSkippingRows && c.inputs * c.units > kRoundedWeights;
  const Layer layer{kernel.Kernel(), c.bias ? bias.data() : nullptr, y.data(), c.units, Activation::kLinear};
  SparsifiedMatMul(x.data(), c.rows, c.inputs, {threshold.data(), c.per_input ? size_t{1} : size_t{0}}, &layer, 1, Pool::Get());
  for (size_t r = 0; r < c.rows; r++) {
    const float* const row = x.data() + r * c.inputs;
    std::vector<bool> kept(c.inputs);
    for (size_t k = 0; k < c.inputs; k++) kept[k] = !(std::fabs(row[k]) <= threshold[c.per_input ? k : 0]);
    for (size_t n = 0; n < c.units; n++) {
      double sum = c.bias ? static_cast<double>(bias[n]) : 0.0, magnitude = std::fabs(sum), entries = 0, parts = 0;
      for (size_t k = 0; k < c.inputs; k++) {
        if (!kept[k]) continue;
        const double product = static_cast<double>(row[k]) * kernel.Weight(k, n);
        sum += product;
        magnitude += std::fabs(product);
        entries += std::fabs(static_cast<double>(row[k]));
        parts += std::fabs(static_cast<double>(row[k])) * kernel.Magnitude(k, n);
      }
      const double got = y[r * c.units + n];
      if (std::isnan(sum) && std::isnan(got)) continue;
      // Any order of float additions errs by at most about inputs * 2^-24 * magnitude.
      double limit = 1.2 * static_cast<double>(c.inputs + 4) * std::ldexp(std::max(magnitude, in_steps ? parts : 0), -24);
      if (in_steps) {
        limit += std::ldexp(magnitude, -11) + std::ldexp(entries, -25) + RoundingLimit(kernel, row, n, kept);
      }
      if (!(got == sum || std::fabs(got - sum) <= limit)) Fail(c, "y", r, n, got, sum, limit);
    }
  }
}

}  // namespace
}  // namespace sparsify

int main() {
  using namespace sparsify;
  std::printf("loops for %s\n", LoopTarget());
  std::mt19937 random(1);
  const Int4Kind kinds[] = {Int4Kind::kAsymmetric, Int4Kind::kSymmetric, Int4Kind::kMinimum};
  const float sparsities[] = {0, 0.3f, 0.5f, 0.9f, 1};
  // Subnormal products, some of both, normal ones.
  const float magnitudes[] = {1e-7f, 1e-5f, 2e-3f, 1.0f};
  const size_t row_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 33};
  size_t cases = 0;
  const auto check = [&](size_t rows, size_t inputs, size_t units, size_t group) {
    Check({rows, inputs, units, group, kinds[cases % 3], sparsities[cases % 5], magnitudes[cases / 3 % 4], cases % 17,
           static_cast<unsigned>(1 + cases % 8), cases % 2 == 1, cases % 4 == 1, cases % 7 == 6},
          random);
    cases++;
  };
  // As defined: small kernels.
  const size_t groups[] = {1, 2, 3, 5, 31, 32, 64};
  for (const size_t group : groups) {
    for (const size_t count : {1, 2, 3}) {
      for (const size_t units : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 65, 130}) {
        for (const size_t rows : row_counts) check(rows, group * count, units, group);
      }
    }
  }
  // With x in 8 bits: every rest of a row's columns, groups of one row to all, odd ones among them, columns in blocks.
  for (const size_t rows : {1, 2, 3, 5, 12, 16}) {
    for (size_t units = 1025; units < 1185; units += 13) {
      check(rows, 64, units, 64);
      check(rows, 66, units, 33);
    }
    check(rows, 70, 1001, 1);
    check(rows, 210, 401, 7);
    check(rows, 300, 1001, 300);
    check(rows, 2111, 33, 2111);
    check(rows, 4500, 15, 45);
    check(rows, 20, 40001, 10);
    check(rows, 128, 4096, 64);
    check(rows, 1024, 576, 128);
  }
  for (const unsigned threads : {1u, 2u, 8u}) {
    for (const float sparsity : sparsities) {
      for (const Int4Kind kind : kinds) {
        Check({1, 512, 1040, 64, kind, sparsity, 2e-3f, 1, threads, false, true, false}, random);
        Check({6, 512, 528, 128, kind, sparsity, 2e-3f, 1, threads, false, true, false}, random);
        Check({3, 512, 300, 32, kind, sparsity, 0.5f, 2, threads, true, false, true}, random);
        cases += 3;
      }
    }
  }
  // Blocks: several of rows, of columns and of inputs.
  for (const unsigned threads : {1u, 2u, 8u}) {
    for (const size_t rows : {13, 145, 301}) {
      for (const Int4Kind kind : kinds) {
        Check({rows, 522, 301, 58, kind, 0.5f, 2e-3f, 1, threads, false, true, false}, random);
        Check({rows, 256, 129, 128, kind, 0, 1e-5f, 0, threads, true, false, false}, random);
        cases += 2;
      }
    }
  }
  std::printf("%zu cases hold\n", cases);
}
