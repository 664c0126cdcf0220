// Matrix products for the layers around an LSTM, shared among threads. Bits do not depend on how the work is cut. They
// throw what the caller answers to end the call (lstmcore/interrupt.hpp); results are then half written.
#pragma once

#include <algorithm>
#include <lstmcore/tensor.hpp>

#include "../packing/pack.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "../runtime/threads.hpp"
#include "elements.hpp"

namespace lstmcore::ops {

/// Like pack_panels, for a matrix whose columns are contiguous (the transpose of a row-major one). It reads a whole
/// cache line of a column at a time: reading one element of every column would evict each line before its next use.
template <class T>
void pack_contiguous_columns(const T* b, Index column_stride, Index depth, Index columns, PanelLayout layout,
                             T* panels) {
  constexpr Index line = static_cast<Index>(64 / sizeof(T));
  for (Index first = 0; first < columns; first += layout.strip) {
    const Index width = layout.width(first, columns), real = std::min(width, columns - first);
    for (Index begin = 0; begin < depth; begin += line) {
      const Index count = std::min(line, depth - begin);
      for (Index column = 0; column < real; ++column) {
        const T* const from = b + (first + column) * column_stride + begin;
        for (Index k = 0; k < count; ++k) panels[k * width + column] = from[k];
      }
      for (Index k = 0; k < count; ++k) std::fill(panels + k * width + real, panels + (k + 1) * width, T(0));
      panels += count * width;
    }
  }
}

/// The rows of a contiguous matrix, as a factor or result of a product.
///
/// Any class with this `locate` can stand for such rows: it sets rows[r - begin] to the address of columns `first` ..
/// first + count - 1 of row r. A class with `copies` may assemble them in `scratch`, which has room for `count`
/// elements per row.
template <class T>
struct PlainRows {
  static constexpr bool copies = false;
  T* data;
  Index width;

  void locate(Index begin, Index end, Index first, Index /*count*/, T** rows, const void* /*scratch*/) const {
    for (Index row = begin; row < end; ++row) rows[row - begin] = data + row * width + first;
  }
};

/// The right factor of products, packed: a row-major matrix (rows, columns) or its transpose.
template <class T>
class Factor {
 public:
  static Factor plain(const View<const T, 2>& matrix) {
    Factor factor(matrix.shape[0], matrix.shape[1]);
    factor.pack([&](Index first, Index count, T* panels) {
      pack_panels(matrix.data + first, matrix.shape[1], Index{1}, factor.depth_, count, factor.kernels_.layout(),
                  panels);
    });
    return factor;
  }

  static Factor transposed(const View<const T, 2>& matrix) {
    Factor factor(matrix.shape[1], matrix.shape[0]);
    factor.pack([&](Index first, Index count, T* panels) {
      pack_contiguous_columns(matrix.data + first * factor.depth_, factor.depth_, factor.depth_, count,
                              factor.kernels_.layout(), panels);
    });
    return factor;
  }

  /// out[r] = bias + left[r] B for `rows` rows; `left` and `out` say where they are (see PlainRows). bias, padded to
  /// whole vectors, may be null. finish(begin, end) is called once for every range of complete rows, on the thread that
  /// has just written them where possible.
  template <class Left, class Out, class Finish>
  void multiply(const Left& left, Index rows, const T* bias, const Out& out, Finish&& finish) const {
    const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(depth_) * static_cast<double>(columns_);
    const int threads = threads_for(work);
    const bool by_rows = threads == 1 || rows >= threads * kernels_.tile_rows || panel_count() < threads;
    const Index chunk =
        by_rows ? std::clamp<Index>(chunk_elements / (depth_ + columns_), least_rows, most_rows) : most_rows;
    const Index copied = Left::copies ? std::min(chunk, rows) * depth_ : 0;
    Buffer<T> scratch(static_cast<std::size_t>(threads * copied));
    if (by_rows) {
      parallel_watched(threads, [&](int thread, const InterruptWatch& watch) {
        const Range range = split(rows, threads, thread);
        for (Index begin = range.begin; begin < range.end; begin += chunk) {
          const Index end = std::min(range.end, begin + chunk);
          T* const own = scratch.data() + thread * copied;
          if (!multiply_rows(left, begin, end, {0, panel_count()}, bias, out, own, watch)) return;
          finish(begin, end);
        }
      });
      return;
    }
    parallel_watched(threads, [&](int thread, const InterruptWatch& watch) {
      const Range panels = split(panel_count(), threads, thread);
      for (Index begin = 0; begin < rows; begin += chunk) {
        const Index end = std::min(rows, begin + chunk);
        T* const own = scratch.data() + thread * copied;
        if (!multiply_rows(left, begin, end, panels, bias, out, own, watch)) return;
      }
    });
    const double row_cost = policy::cost::activated * static_cast<double>(columns_);
    parallel_watched(threads, [&](int thread, const InterruptWatch& watch) {
      in_pieces(watch, split(rows, threads, thread), row_cost, 1,
                [&](Index begin, Index count) { finish(begin, begin + count); });
    });
  }

  /// The same on the caller's thread alone and without allocating, for a `left` that copies nothing.
  template <class Left, class Out>
  void multiply_alone(const Left& left, Index rows, const T* bias, const Out& out) const noexcept {
    static_assert(!Left::copies, "a left factor that needs no memory");
    for (Index begin = 0; begin < rows; begin += most_rows) {
      multiply_rows(left, begin, std::min(rows, begin + most_rows), {0, panel_count()}, bias, out,
                    static_cast<T*>(nullptr), InterruptWatch(nullptr));
    }
  }

 private:
  /// Rows that one call of the kernel computes at most: their addresses are on the stack.
  static constexpr Index most_rows = 256;
  /// The approximate number of elements of both factors' rows and results that such a call reads and writes, so that
  /// they stay in the second-level cache until `finish`; and the fewest rows of a call.
  static constexpr Index chunk_elements = 65536, least_rows = 24;

  Factor(Index depth, Index columns)
      : depth_(depth),
        columns_(columns),
        panels_(static_cast<std::size_t>(kernels_.layout().elements(depth, columns))) {}

  /// Calls part(first, count, panels), which packs `count` columns from column `first` on.
  template <class Part>
  void pack(Part&& part) {
    const double cost = policy::cost::factor_packed * static_cast<double>(depth_);
    parallel_ranges(columns_, cost, panel_columns(),
                    [&](Index first, Index count) { part(first, count, panels_.data() + depth_ * first); });
  }

  Index panel_columns() const { return kernels::panel_vectors * kernels_.lanes; }
  Index panel_count() const { return (columns_ + panel_columns() - 1) / panel_columns(); }

  /// Returns false if the call is to end, before all of it is computed.
  template <class Left, class Out>
  bool multiply_rows(const Left& left_rows, Index begin, Index end, Range panels, const T* bias, const Out& out_rows,
                     T* scratch, const InterruptWatch& watch) const {
    const T* left[most_rows];
    T* result[most_rows];
    left_rows.locate(begin, end, 0, depth_, left, scratch);
    out_rows.locate(begin, end, 0, columns_, result, scratch);
    kernels::Product<T> product{};
    product.rows = end - begin;
    product.depth = depth_;
    product.columns = columns_;
    product.a = left;
    product.panels = panels_.data();
    product.out = result;
    product.bias = bias;
    const double panel_cost = 2.0 * static_cast<double>(end - begin) * static_cast<double>(depth_ * panel_columns());
    return in_pieces(watch, panels, panel_cost, 1, [&](Index first, Index count) {
      product.panel_begin = first;
      product.panel_end = first + count;
      kernels_.product(product);
    });
  }

  const kernels::Kernels<T>& kernels_ = active_kernels<T>();
  Index depth_, columns_;
  Buffer<T> panels_;
};

/// out (A, B) = a^T b for a (rows, A) and b (rows, B). The contiguous `out` is cut into blocks, which threads share.
template <class T>
class TransposedMultiply {
 public:
  TransposedMultiply(Index a_columns, Index b_columns, Index rows, T* out)
      : out_(out), a_columns_(a_columns), b_columns_(b_columns), rows_(rows) {}

  /// `a` and `b` say where the rows are; see PlainRows.
  template <class Left, class Right>
  void run(const Left& a, const Right& b) {
    const double work =
        2.0 * static_cast<double>(rows_) * static_cast<double>(a_columns_) * static_cast<double>(b_columns_);
    const int threads = threads_for(work);
    choose_blocks(threads);
    const Index blocks = block_count(a_columns_, a_block_) * block_count(b_columns_, b_block_);
    const Index a_copied = Left::copies ? a_block_ * chunk_rows : 0,
                b_copied = Right::copies ? b_block_ * chunk_rows : 0;
    const Index panels_size = b_block_ * chunk_rows, size = panels_size + a_copied + b_copied;
    Buffer<T> scratch(static_cast<std::size_t>(threads * size));
    parallel_watched(threads, [&](int thread, const InterruptWatch& watch) {
      T* const panels = scratch.data() + thread * size;
      const Range range = split(blocks, threads, thread);
      for (Index block = range.begin; block < range.end; ++block) {
        multiply_block(a, b, block, panels, panels + panels_size, panels + panels_size + a_copied, watch);
      }
    });
  }

 private:
  /// Rows of a chunk: a tile and a panel of this depth fit into the first-level cache. The sums of a chunk continue
  /// those of the previous one, so that every element is one running sum in the order of the rows.
  static constexpr Index chunk_rows = 192;

  static Index block_count(Index columns, Index block) { return (columns + block - 1) / block; }
  static Index round_up(Index value, Index multiple) { return (value + multiple - 1) / multiple * multiple; }

  /// Blocks that fill the second-level cache, or smaller ones if each thread would not get one.
  void choose_blocks(int threads) {
    const Index tile = kernels_.tile_rows, panel = kernels::panel_vectors * kernels_.lanes;
    a_block_ = round_up(std::min<Index>(a_columns_, 192), tile);
    b_block_ = round_up(std::min<Index>(b_columns_, 8 * panel), panel);
    const auto blocks = [&] { return block_count(a_columns_, a_block_) * block_count(b_columns_, b_block_); };
    while (blocks() < threads && a_block_ > tile) a_block_ = round_up(a_block_ / 2, tile);
    while (blocks() < threads && b_block_ > panel) b_block_ = round_up(b_block_ / 2, panel);
  }

  template <class Left, class Right>
  void multiply_block(const Left& a, const Right& b, Index block, T* panels, T* a_scratch, T* b_scratch,
                      const InterruptWatch& watch) const {
    const Index across = block_count(b_columns_, b_block_);
    const Index a_first = block / across * a_block_, b_first = block % across * b_block_;
    kernels::TransposedProduct<T> product{};
    product.row_end = std::min(a_block_, a_columns_ - a_first);
    product.columns = std::min(b_block_, b_columns_ - b_first);
    product.panels = panels;
    product.out = out_ + a_first * b_columns_ + b_first;
    product.out_stride = b_columns_;
    product.panel_end = block_count(product.columns, kernels::panel_vectors * kernels_.lanes);
    for (Index begin = 0; begin < rows_ && !watch.stopped(); begin += chunk_rows) {
      product.depth = std::min(chunk_rows, rows_ - begin);
      product.accumulate = begin > 0;
      const T* a_rows[chunk_rows];
      const T* b_rows[chunk_rows];
      a.locate(begin, begin + product.depth, a_first, product.row_end, a_rows, a_scratch);
      b.locate(begin, begin + product.depth, b_first, product.columns, b_rows, b_scratch);
      product.a = a_rows;
      pack_panels_from(product.depth, product.columns, kernels_.layout(), panels,
                       [&](Index k, Index column) { return b_rows[k][column]; });
      kernels_.transposed_product(product);
    }
  }

  const kernels::Kernels<T>& kernels_ = active_kernels<T>();
  T* out_;
  Index a_columns_, b_columns_, rows_;
  Index a_block_ = 0, b_block_ = 0;
};

}  // namespace lstmcore::ops
