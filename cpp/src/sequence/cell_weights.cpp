#include "cell_weights.hpp"

#include "../pack.hpp"
#include "../threads.hpp"

namespace lstmcore {
namespace {

constexpr Index gate_count = 4;

/// Transposing goes in strips of this many k, so that what is read and what is written both stay in the first-level
/// cache.
constexpr Index strip = 16;

/// Calls visit(column, gate row) for the real columns of block `block`: `column` counts within the block's 4 V columns,
/// `gate row` is the row of weight_ih, weight_hh and bias.
template <class Visit>
void visit_columns(const CellShape& shape, Index block, Visit&& visit) {
  const Index first = block * shape.lanes;
  const Index units = std::min(shape.lanes, shape.hidden - first);
  for (Index gate = 0; gate < gate_count; ++gate) {
    for (Index lane = 0; lane < units; ++lane) visit(gate * shape.lanes + lane, gate * shape.hidden + first + lane);
  }
}

/// [block][depth][4][V] from a matrix (4H, depth).
template <class T>
void pack_gates(const CellShape& shape, const View<const T, 2>& matrix, T* panels) {
  const Index depth = matrix.shape[1];
  const Index width = shape.block_width();
  const bool whole_blocks = shape.hidden == shape.padded();
  const auto pack_block = [&](Index block) {
    T* const panel = panels + block * depth * width;
    if (!whole_blocks) std::fill(panel, panel + depth * width, T(0));
    for (Index first = 0; first < depth; first += strip) {
      const Index last = std::min(depth, first + strip);
      visit_columns(shape, block, [&](Index column, Index gate_row) {
        const T* const from = matrix.data + gate_row * matrix.stride[0];
        T* const to = panel + column;
        for (Index k = first; k < last; ++k) to[k * width] = from[k * matrix.stride[1]];
      });
    }
  };
  const int threads = threads_for(static_cast<double>(shape.gates_width() * depth) * 4);
  parallel(threads, [&](int index) {
    const Range blocks = split(shape.blocks(), threads, index);
    for (Index block = blocks.begin; block < blocks.end; ++block) pack_block(block);
  });
}

/// Panels with depth 4 Hp and `columns` columns, from panels [block][columns][4][V].
template <class T>
Buffer<T> transposed_panels(const CellShape& shape, const Buffer<T>& forward, Index columns) {
  const Index width = shape.block_width();
  const Index panels = (columns + width - 1) / width;
  Buffer<T> packed(static_cast<std::size_t>(kernels::panel_elements(shape.gates_width(), columns, shape.lanes)));
  const int threads = threads_for(static_cast<double>(shape.gates_width() * columns) * 4);
  parallel(threads, [&](int index) {
    const Range range = split(panels, threads, index);
    for (Index panel = range.begin; panel < range.end; ++panel) {
      const Index first = panel * width;
      const Index padded = panel_width(panel, columns, shape.lanes);
      const Index real = std::min(padded, columns - first);
      T* const to = packed.data() + shape.gates_width() * first;
      if (real < padded) std::fill(to, to + shape.gates_width() * padded, T(0));
      for (Index block = 0; block < shape.blocks(); ++block) {
        for (Index column = 0; column < real; ++column) {
          const T* const from = forward.data() + (block * columns + first + column) * width;
          T* const target = to + block * width * padded + column;
          for (Index k = 0; k < width; ++k) target[k * padded] = from[k];
        }
      }
    }
  });
  return packed;
}

}  // namespace

template <class T>
ForwardPanels<T>::ForwardPanels(const CellShape& shape, const LstmCellWeights<const T>& weights)
    : x(static_cast<std::size_t>(shape.gates_width() * shape.input)),
      h(static_cast<std::size_t>(shape.gates_width() * shape.hidden)),
      bias(static_cast<std::size_t>(shape.gates_width())) {
  pack_gates(shape, weights.weight_ih, x.data());
  pack_gates(shape, weights.weight_hh, h.data());
  std::fill(bias.data(), bias.data() + bias.size(), T(0));
  for (Index block = 0; block < shape.blocks(); ++block) {
    T* const to = bias.data() + block * shape.block_width();
    visit_columns(shape, block, [&](Index column, Index gate_row) { to[column] = weights.bias(gate_row); });
  }
}

template <class T>
BackwardPanels<T>::BackwardPanels(const CellShape& shape, const ForwardPanels<T>& forward)
    : x(transposed_panels(shape, forward.x, shape.input)), h(transposed_panels(shape, forward.h, shape.hidden)) {}

template <class T>
void unpack_gradient(const CellShape& shape, const T* transposed, View<T, 2> gradient) {
  const Index width = shape.block_width();
  const Index depth = gradient.shape[1];
  const auto unpack_block = [&](Index block) {
    for (Index first = 0; first < depth; first += strip) {
      const Index last = std::min(depth, first + strip);
      visit_columns(shape, block, [&](Index column, Index gate_row) {
        const T* const from = transposed + block * width + column;
        T* const to = gradient.data + gate_row * gradient.stride[0];
        for (Index k = first; k < last; ++k) to[k * gradient.stride[1]] = from[k * shape.gates_width()];
      });
    }
  };
  const int threads = threads_for(static_cast<double>(shape.gates_width() * depth) * 4);
  parallel(threads, [&](int index) {
    const Range blocks = split(shape.blocks(), threads, index);
    for (Index block = blocks.begin; block < blocks.end; ++block) unpack_block(block);
  });
}

template <class T>
void unpack_gradient(const CellShape& shape, const T* row, View<T, 1> gradient) {
  for (Index block = 0; block < shape.blocks(); ++block) {
    const T* const from = row + block * shape.block_width();
    visit_columns(shape, block, [&](Index column, Index gate_row) { gradient(gate_row) = from[column]; });
  }
}

template struct ForwardPanels<float>;
template struct ForwardPanels<double>;
template struct BackwardPanels<float>;
template struct BackwardPanels<double>;
template void unpack_gradient(const CellShape&, const float*, View<float, 2>);
template void unpack_gradient(const CellShape&, const double*, View<double, 2>);
template void unpack_gradient(const CellShape&, const float*, View<float, 1>);
template void unpack_gradient(const CellShape&, const double*, View<double, 1>);

}  // namespace lstmcore
