// dW and db: products of depth "all rows of all times", taken in chunks of a fixed size and in a fixed order, so that
// the bits do not depend on who computes which part of the result.
#include "../isa/isa.hpp"
#include "walk.hpp"

namespace lstmcore {
namespace {

constexpr Index chunk_depth = 192;

/// What one thread computes: some panels (blocks of hidden units) and some tiles of columns of x and of h.
template <class T>
class WeightGradientPart {
 public:
  WeightGradientPart(const CellShape& shape, const Schedule& schedule, const WeightGradientCell<T>& cell, Range blocks,
                     int column_parts, int column_part)
      : kernels_(active_kernels<T>()),
        shape_(shape),
        schedule_(schedule),
        cell_(cell),
        blocks_(blocks),
        x_tiles_(split(tiles(shape.input), column_parts, column_part)),
        h_tiles_(split(tiles(shape.hidden), column_parts, column_part)),
        with_bias_(column_part == 0),
        zeros_(static_cast<std::size_t>(shape.hidden), T(0)) {}

  /// dx_out [input][4 Hp], dh_out [H][4 Hp], bias_out [4 Hp]; null: not wanted.
  void run(T* x_out, T* h_out, T* bias_out) {
    const auto chunk = static_cast<std::size_t>(std::min(chunk_depth, schedule_.total));
    gates_rows_.resize(chunk);
    x_rows_.resize(chunk);
    h_rows_.resize(chunk);
    panel_.resize(chunk * static_cast<std::size_t>(shape_.block_width()));
    const Index width = kernels_.interleave_rows;
    x_interleaved_.resize(x_out != nullptr ? chunk * static_cast<std::size_t>(tiles(shape_.input) * width) : 0);
    h_interleaved_.resize(h_out != nullptr ? chunk * static_cast<std::size_t>(tiles(shape_.hidden) * width) : 0);

    Index time = 0, row = 0;
    for (Index first = 0; first < schedule_.total; first += chunk_depth) {
      const Index depth = std::min(chunk_depth, schedule_.total - first);
      for (Index k = 0; k < depth; ++k) {
        gather(static_cast<std::size_t>(k), time, row);
        if (++row == schedule_.alive[static_cast<std::size_t>(time)]) {
          row = 0;
          ++time;
        }
      }
      if (x_out != nullptr) kernels_.interleave(x_rows_.data(), depth, shape_.input, x_interleaved_.data());
      if (h_out != nullptr) kernels_.interleave(h_rows_.data(), depth, shape_.hidden, h_interleaved_.data());
      for (Index block = blocks_.begin; block < blocks_.end; ++block) {
        add_block(block, depth, first > 0, x_out, h_out, bias_out);
      }
    }
  }

 private:
  Index tiles(Index columns) const { return (columns + kernels_.interleave_rows - 1) / kernels_.interleave_rows; }

  void gather(std::size_t k, Index time, Index row) {
    gates_rows_[k] = cell_.gates.at(time, row);
    x_rows_[k] = cell_.x.at(time, row);
    const Index last = schedule_.length[static_cast<std::size_t>(row)] - 1;
    const Index step = cell_.reversed ? last - time : time;
    if (schedule_.cut(row, step, cell_.reversed)) {
      h_rows_[k] = zeros_.data();
    } else {
      h_rows_[k] = step == 0 ? cell_.h0.at(0, row) : cell_.h.at(cell_.reversed ? time + 1 : time - 1, row);
    }
  }

  void add_block(Index block, Index depth, bool accumulate, T* x_out, T* h_out, T* bias_out) {
    const Index width = shape_.block_width();
    const Index column = block * width;
    for (Index k = 0; k < depth; ++k) {
      const T* const from = gates_rows_[static_cast<std::size_t>(k)] + column;
      std::copy(from, from + width, panel_.data() + k * width);
    }
    kernels::TransposedProduct<T> product{};
    product.depth = depth;
    product.columns = width;
    product.panels = panel_.data();
    product.out_stride = shape_.gates_width();
    product.accumulate = accumulate;
    product.panel_end = 1;
    if (x_out != nullptr) {
      product.rows = shape_.input;
      product.tiles = x_interleaved_.data();
      product.out = x_out + column;
      product.tile_begin = x_tiles_.begin;
      product.tile_end = x_tiles_.end;
      kernels_.transposed_product(product);
    }
    if (h_out != nullptr) {
      product.rows = shape_.hidden;
      product.tiles = h_interleaved_.data();
      product.out = h_out + column;
      product.tile_begin = h_tiles_.begin;
      product.tile_end = h_tiles_.end;
      kernels_.transposed_product(product);
    }
    if (bias_out != nullptr && with_bias_) {
      if (!accumulate) std::fill(bias_out + column, bias_out + column + width, T(0));
      for (Index k = 0; k < depth; ++k) kernels_.add(panel_.data() + k * width, bias_out + column, width);
    }
  }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const WeightGradientCell<T>& cell_;
  const Range blocks_;
  const Range x_tiles_, h_tiles_;
  const bool with_bias_;
  std::vector<T> zeros_;
  std::vector<const T*> gates_rows_, x_rows_, h_rows_;
  Buffer<T> panel_, x_interleaved_, h_interleaved_;
};

}  // namespace

template <class T>
void weight_gradient(const CellShape& shape, const Schedule& schedule, const WeightGradientCell<T>& cell) {
  const bool want_x = static_cast<bool>(cell.gradients.weight_ih);
  const bool want_h = static_cast<bool>(cell.gradients.weight_hh);
  const bool want_bias = static_cast<bool>(cell.gradients.bias);
  if (!want_x && !want_h && !want_bias) return;
  const auto width = static_cast<std::size_t>(shape.gates_width());
  Buffer<T> x_out(want_x ? width * static_cast<std::size_t>(shape.input) : 0);
  Buffer<T> h_out(want_h ? width * static_cast<std::size_t>(shape.hidden) : 0);
  Buffer<T> bias_out(want_bias ? width : 0);
  if (schedule.total == 0) {
    for (Buffer<T>* out : {&x_out, &h_out, &bias_out}) std::fill(out->data(), out->data() + out->size(), T(0));
  }

  const Index columns = (want_x ? shape.input : 0) + (want_h ? shape.hidden : 0) + 1;
  const double flops = static_cast<double>(schedule.total * shape.gates_width() * columns) * 2;
  const int threads = threads_for(flops);
  const bool by_blocks = shape.blocks() >= threads;
  parallel(threads, [&](int index) {
    const Range blocks = by_blocks ? split(shape.blocks(), threads, index) : Range{0, shape.blocks()};
    WeightGradientPart<T> part(shape, schedule, cell, blocks, by_blocks ? 1 : threads, by_blocks ? 0 : index);
    part.run(x_out.data(), h_out.data(), bias_out.data());
  });

  if (want_x) unpack_gradient(shape, x_out.data(), cell.gradients.weight_ih);
  if (want_h) unpack_gradient(shape, h_out.data(), cell.gradients.weight_hh);
  if (want_bias) unpack_gradient(shape, bias_out.data(), cell.gradients.bias);
}

template void weight_gradient(const CellShape&, const Schedule&, const WeightGradientCell<float>&);
template void weight_gradient(const CellShape&, const Schedule&, const WeightGradientCell<double>&);

}  // namespace lstmcore
