// Products of activations with Dense kernels, as the decoder needs them: of one row, cut into parts whose sums the caller
// adds up when it reads them, so that a wait for the threads is saved; and of many rows, finished.
#ifndef SPARSIFY_DECODER_PRODUCTS_H_
#define SPARSIFY_DECODER_PRODUCTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "int4-loops.h"
#include "pool.h"
#include "shared/decoder-description.h"
#include "shared/decoder-output.h"

namespace sparsify {

// Thresholds by the ids of the Dense layers, and by the row of x whose counts, by the same ids, what is masked is added to.
struct Masking {
  const float* thresholds;  // null: everything is dense
  MaskedInputs* const* counts;
  float Of(const DecoderDense& dense) const;
};

// Products of rows with Dense layers, all computed in one Run. Layers that read the same x with the same threshold share
// the search for its kept inputs.
class RowProducts {
 public:
  // `prefetches`: dense rows of INT8.
  explicit RowProducts(bool prefetches = false) : prefetches_(prefetches) {}

  void Clear();
  // The row x [inputs] must stay until Run has returned.
  void Add(const DecoderDense& dense, const float* x, const Masking& masking);
  // Adds layers that read the same: as `whole`, which stands for them, if they have one threshold, else one by one.
  void AddGroup(const std::vector<DecoderDense>& layers, const DecoderDense& whole, const float* x, const Masking& masking);
  void Run(Pool& pool);

  // After Run: y [units] = product i with its bias.
  void Finish(size_t i, float* y) const;
  // After Run: y = the products of a group with their biases, one after the other, from product `next` on, which becomes that
  // behind them.
  void FinishGroup(const std::vector<DecoderDense>& layers, size_t& next, float* y) const;
  // After Run: x [units] += factor * (product i with its bias). Once a product.
  void AddTo(size_t i, float factor, float* x);

 private:
  // The kept inputs for INT4 kernels with groups of so many rows.
  struct Rounded {
    size_t group_size;
    bool holds;  // whether they could be rounded
    Int4Inputs inputs;
  };
  struct Kept {
    const float* x;
    float threshold;
    std::vector<uint32_t> indices;
    std::vector<float> values;
    const uint32_t* index;  // null: all
    const float* value;
    size_t count;
    float total;  // of the values
    bool skipping;
    std::vector<Rounded> rounded;  // the first rounded_count of them are of this run
    size_t rounded_count;
    // Those for a Dense layer; null if it takes the inputs as they are.
    const Int4Inputs* RoundedFor(const DecoderDense& dense) const;
  };
  struct Product {
    const DecoderDense* dense;
    size_t kept;
    size_t sums;  // offset; parts_ arrays of `units` floats, part_stride_ apart, which add up to the product, or to that of Int8Sums::kSteps
  };
  size_t FindKept(const DecoderDense& dense, const float* x, float threshold);
  // Returns how many inputs it masks.
  size_t AddProduct(const DecoderDense& dense, const float* x, float threshold);
  static void Round(const DecoderDense& dense, Kept& kept);

  bool prefetches_;
  std::vector<Product> products_;
  std::vector<Kept> kept_;  // the first kept_count_ of them are of this run
  size_t kept_count_ = 0;
  size_t parts_ = 1, part_stride_ = 0;
  std::vector<float> sums_;

  friend void MultiplyWide(const DecoderDense&, const float*, const Masking&, RowProducts&, float*, Pool&);
};

// y [units] = x [inputs] times a kernel with many columns (the head), cut into blocks of columns. `scratch` is used for the
// search of the kept inputs.
void MultiplyWide(const DecoderDense& dense, const float* x, const Masking& masking, RowProducts& scratch, float* y,
                  Pool& pool);

// y[i] [rows, units] = x [rows, inputs] times layer i, for layers that read the same x.
void MultiplyRows(const std::vector<DecoderDense>& layers, const float* x, size_t rows, const Masking& masking,
                  const std::vector<float*>& y, Pool& pool);

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_PRODUCTS_H_
