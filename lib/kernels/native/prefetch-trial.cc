#include "prefetch-trial.h"

#include <algorithm>
#include <chrono>

#include "int8-loops.h"

namespace sparsify {
namespace {

using Clock = std::chrono::steady_clock;

// Rows of a kernel that are read at a time, and how often. All pieces together are larger than a core's own caches.
constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kMostPieces = 96;
constexpr size_t kFewestPieces = 32;

// A lead that is not noise.
constexpr double kLead = 0.97;

struct Piece {
  Int8Panel panel;
  size_t rows;
};

std::vector<Piece> PiecesOf(const std::vector<DecoderLayer>& layers) {
  std::vector<Piece> pieces;
  const auto add = [&pieces](const DecoderDense& dense) {
    const StoredKernel& kernel = dense.kernel;
    if (!kernel.is_int8() || dense.inputs * kernel.stride < kPieceBytes || pieces.size() == kMostPieces) return;
    const size_t rows = std::max<size_t>(1, kPieceBytes / kernel.stride);
    pieces.push_back({{kernel.int8(), kernel.stride, kernel.scale, kernel.zero_point, 0, dense.units}, rows});
  };
  for (const DecoderLayer& layer : layers) {
    for (const FeedForward& feed : layer.feeds) {
      add(feed.gate_up_whole.kernel.data ? feed.gate_up_whole : feed.gate_up[0]);
      add(feed.down);
    }
  }
  return pieces;
}

// What a quarter of the times is below: other programs disturb the others.
double QuarterOf(std::vector<double>& seconds) {
  const auto quarter = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 4);
  std::nth_element(seconds.begin(), quarter, seconds.end());
  return *quarter;
}

}  // namespace

bool PrefetchPays(const std::vector<DecoderLayer>& layers) {
  std::vector<Piece> pieces = PiecesOf(layers);
  if (pieces.size() < kFewestPieces) return false;
  size_t rows = 0, columns = 0;
  for (const Piece& piece : pieces) {
    rows = std::max(rows, piece.rows);
    columns = std::max(columns, piece.panel.columns);
  }
  const std::vector<float> values(rows, 1);
  std::vector<float> sums(columns);
  // Each piece once with and once without, after all others.
  std::vector<double> seconds[2];
  for (size_t round = 0; round < 2; round++) {
    for (size_t i = 0; i < pieces.size(); i++) {
      Piece& piece = pieces[i];
      piece.panel.prefetches = (i / 2 + round) % 2 == 1;
      const auto start = Clock::now();
      SumInt8RowsBatch(piece.panel, Int8Sums::kSteps, 1, nullptr, values.data(), piece.rows, false, sums.data());
      seconds[piece.panel.prefetches].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
  }
  return QuarterOf(seconds[1]) < kLead * QuarterOf(seconds[0]);
}

}  // namespace sparsify
