#include "decoder-cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "narrow-loops.h"
#include "shared/problem.h"

namespace sparsify {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Tiles of queries that one task takes in turn.
constexpr size_t kTilesATask = 8;

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

void WriteAverage(const Attending& row, size_t head_size, float* output) {
  const float scale = 1.0f / row.total;
  for (size_t k = 0; k < head_size; k++) output[k] = row.sum[k] * scale;
}

// The queries of one token.
void Scale(float* queries, const DecoderNumbers& n) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(n.head_size));
  for (size_t i = 0; i < n.heads * n.head_size; i++) queries[i] *= scale;
}

}  // namespace

DecoderCache::DecoderCache(const DecoderNumbers& numbers, bool narrow) : n_(numbers), narrow_(narrow) {
  if (narrow) narrowed_.resize(2 * n_.key_heads * n_.head_size);
}

void DecoderCache::Reserve(size_t length) {
  const size_t elements = n_.layers * n_.key_heads * 2 * kCacheBlock * n_.head_size;
  const size_t bytes = elements * (narrow_ ? sizeof(BFloat16) : sizeof(float));
  while (blocks_.size() * kCacheBlock < length) {
    std::unique_ptr<void, Free> block(std::aligned_alloc(64, CeilDiv(bytes, 64) * 64));
    if (!block) FailOutOfMemory();
    // Scores of positions that are not yet there are computed and thrown away.
    std::memset(block.get(), 0, bytes);
    blocks_.push_back(std::move(block));
  }
}

void DecoderCache::Truncate(size_t length) { blocks_.resize(std::min(blocks_.size(), CeilDiv(length, kCacheBlock))); }

template <class T>
void DecoderCache::StoreAs(size_t layer, size_t position, const T* keys, const T* values) {
  const size_t size = n_.head_size;
  const size_t at = position % kCacheBlock;
  for (size_t h = 0; h < n_.key_heads; h++) {
    T* const block = Keys<T>(position / kCacheBlock, layer, h);
    T* const group = block + at / kKeyGroup * kKeyGroup * size + at % kKeyGroup;
    for (size_t k = 0; k < size; k++) group[k * kKeyGroup] = keys[h * size + k];
    std::copy_n(values + h * size, size, block + (kCacheBlock + at) * size);
  }
}

void DecoderCache::Store(size_t layer, size_t position, const float* keys, const float* values) {
  if (!narrow_) return StoreAs(layer, position, keys, values);
  const size_t size = n_.key_heads * n_.head_size;
  Narrow(keys, size, narrowed_.data());
  Narrow(values, size, narrowed_.data() + size);
  StoreAs(layer, position, narrowed_.data(), narrowed_.data() + size);
}

// Of `count` queries at these positions, the blocks [first_block, last_block).
void DecoderCache::AttendRows(size_t layer, size_t key_head, size_t first_block, size_t last_block,
                              const size_t* positions, Attending* rows, size_t count) const {
  for (size_t b = first_block; b < last_block; b++) {
    const size_t start = b * kCacheBlock;
    for (size_t r = 0; r < count; r++) {
      const size_t end = positions[r] + 1;
      const size_t begin = n_.window != 0 && end > n_.window ? end - n_.window : 0;
      rows[r].first = std::min(kCacheBlock, std::max(begin, start) - start);
      rows[r].last = std::min(kCacheBlock, std::max(end, start) - start);
    }
    const size_t values = kCacheBlock * n_.head_size;
    if (narrow_) {
      const BFloat16* const keys = Keys<BFloat16>(b, layer, key_head);
      AttendBlock(keys, keys + values, n_.head_size, rows, count);
    } else {
      const float* const keys = Keys<float>(b, layer, key_head);
      AttendBlock(keys, keys + values, n_.head_size, rows, count);
    }
  }
}

// Query heads that share a key head go together, and long sequences are cut into parts, each with a softmax of its own, so
// that there is work for all threads.
void DecoderCache::AttendEach(size_t layer, const std::vector<AttendRequest>& requests, AttendScratch& scratch, Pool& pool) {
  const DecoderNumbers& n = requests[0].cache->n_;
  const size_t size = n.head_size;
  const size_t group = n.heads / n.key_heads;
  const size_t wanted = CeilDiv(2 * pool.threads(), n.key_heads * requests.size());
  scratch.sums.resize(requests.size() * n.heads * wanted * size);
  scratch.parts.resize(requests.size() * n.heads * wanted);
  scratch.seen.clear();
  for (const AttendRequest& request : requests) {
    const size_t end = request.position + 1;
    const size_t first = n.window != 0 && end > n.window ? (end - n.window) / kCacheBlock : 0;
    const size_t blocks = request.position / kCacheBlock + 1 - first;
    scratch.seen.push_back({first, blocks, std::max<size_t>(1, std::min(wanted, blocks))});
    Scale(request.queries, n);
  }
  pool.ForEach(static_cast<uint32_t>(requests.size() * n.key_heads * wanted), false, [&](size_t task) {
    const size_t split = task % wanted, key_head = task / wanted % n.key_heads, q = task / wanted / n.key_heads;
    const AttendRequest& request = requests[q];
    const AttendScratch::Seen& seen = scratch.seen[q];
    if (split >= seen.splits) return;
    for (size_t h = 0; h < group; h += kAttendRows) {
      const size_t count = std::min(kAttendRows, group - h);
      size_t positions[kAttendRows];
      Attending rows[kAttendRows];
      for (size_t r = 0; r < count; r++) {
        const size_t head = key_head * group + h + r;
        positions[r] = request.position;
        float* const sum = scratch.sums.data() + ((q * n.heads + head) * wanted + split) * size;
        rows[r] = {request.queries + head * size, sum, kMinusInfinity, 0, 0, 0};
      }
      const size_t first = seen.first + seen.blocks * split / seen.splits;
      const size_t last = seen.first + seen.blocks * (split + 1) / seen.splits;
      request.cache->AttendRows(layer, key_head, first, last, positions, rows, count);
      for (size_t r = 0; r < count; r++) {
        scratch.parts[(q * n.heads + key_head * group + h + r) * wanted + split] = rows[r];
      }
    }
  });
  for (size_t q = 0; q < requests.size(); q++) {
    for (size_t head = 0; head < n.heads; head++) {
      const Attending* const parts = scratch.parts.data() + (q * n.heads + head) * wanted;
      Attending all = parts[0];
      for (size_t s = 1; s < scratch.seen[q].splits; s++) {
        const float maximum = parts[s].maximum > all.maximum ? parts[s].maximum : all.maximum;
        const float before = std::exp(all.maximum - maximum), added = std::exp(parts[s].maximum - maximum);
        for (size_t k = 0; k < size; k++) all.sum[k] = all.sum[k] * before + parts[s].sum[k] * added;
        all.total = all.total * before + parts[s].total * added;
        all.maximum = maximum;
      }
      WriteAverage(all, size, requests[q].output + head * size);
    }
  }
}

void DecoderCache::AttendMany(size_t layer, size_t start, size_t count, float* queries, size_t stride, float* output,
                              Pool& pool) {
  const size_t size = n_.head_size;
  const size_t width = n_.heads * size;
  for (size_t t = 0; t < count; t++) Scale(queries + t * stride, n_);
  // Rows are the queries of a key head: all its heads of the first token, then of the next.
  const size_t group = n_.heads / n_.key_heads;
  const size_t rows_a_task = kTilesATask * kAttendRows;
  const size_t tasks = CeilDiv(count * group, rows_a_task);
  pool.ForEach(static_cast<uint32_t>(tasks * n_.key_heads), true, [&](size_t task) {
    // The last tokens see most: their tasks come first.
    const size_t key_head = task % n_.key_heads, part = tasks - 1 - task / n_.key_heads;
    std::vector<float> sums(kAttendRows * size);
    const size_t end = std::min(count * group, (part + 1) * rows_a_task);
    for (size_t first = part * rows_a_task; first < end; first += kAttendRows) {
      const size_t rows_here = std::min(kAttendRows, end - first);
      size_t positions[kAttendRows];
      Attending rows[kAttendRows];
      float* outputs[kAttendRows];
      for (size_t r = 0; r < rows_here; r++) {
        const size_t token = (first + r) / group, head = key_head * group + (first + r) % group;
        positions[r] = start + token;
        rows[r] = {queries + token * stride + head * size, sums.data() + r * size, kMinusInfinity, 0, 0, 0};
        outputs[r] = output + token * width + head * size;
      }
      const size_t seen = positions[0] + 1;
      const size_t first_block = n_.window != 0 && seen > n_.window ? (seen - n_.window) / kCacheBlock : 0;
      AttendRows(layer, key_head, first_block, positions[rows_here - 1] / kCacheBlock + 1, positions, rows, rows_here);
      for (size_t r = 0; r < rows_here; r++) WriteAverage(rows[r], size, outputs[r]);
    }
  });
}

}  // namespace sparsify
