#include "cell_weights.hpp"

#include "../isa/isa.hpp"
#include "../pack.hpp"

namespace lstmcore {
namespace {

constexpr Index gate_count = 4;

/// Rows of (4H, ...) matrices, gate by gate, beside their place in a block's 4 V columns: visit(column, gate row,
/// units) for each gate of block `block`, of whose V hidden units `units` are real.
template <class Visit>
void visit_gates(const CellShape& shape, Index block, Visit&& visit) {
  const Index first = block * shape.lanes;
  const Index units = std::min(shape.lanes, shape.hidden - first);
  for (Index gate = 0; gate < gate_count; ++gate) visit(gate * shape.lanes, gate * shape.hidden + first, units);
}

/// Calls pack(blocks) for ranges of blocks on several threads. Moving an element takes about as long as some
/// arithmetic.
template <class Pack>
void pack_in_parallel(const CellShape& shape, Pack&& pack) {
  const Index elements = shape.gates_width() * (shape.input + shape.hidden);
  const int threads = threads_for(static_cast<double>(elements) * 16);
  parallel(threads, [&](int index) { pack(split(shape.blocks(), threads, index)); });
}

/// [block][depth][4][V] from a matrix (4H, depth).
template <class T>
void pack_gates(const CellShape& shape, Range blocks, const View<const T, 2>& matrix, T* panels) {
  const Index depth = matrix.shape[1];
  const Index width = shape.block_width();
  const bool whole_blocks = shape.hidden == shape.padded();
  for (Index block = blocks.begin; block < blocks.end; ++block) {
    T* const panel = panels + block * depth * width;
    if (!whole_blocks) std::fill(panel, panel + depth * width, T(0));
    visit_gates(shape, block, [&](Index column, Index gate_row, Index units) {
      const T* const from = matrix.data + gate_row * matrix.stride[0];
      if (matrix.stride[1] == 1) {
        active_kernels<T>().transpose(from, matrix.stride[0], units, depth, panel + column, width);
        return;
      }
      for (Index k = 0; k < depth; ++k) {
        for (Index unit = 0; unit < units; ++unit) {
          panel[k * width + column + unit] = from[unit * matrix.stride[0] + k * matrix.stride[1]];
        }
      }
    });
  }
}

/// Panels with depth 4 Hp and `columns` columns, from panels [block][columns][4][V].
template <class T>
void transpose_panels(const CellShape& shape, Range blocks, Index columns, const T* forward, T* packed) {
  const Index width = shape.block_width();
  for (Index first = 0; first < columns; first += width) {
    const Index padded = panel_width(first / width, columns, shape.lanes);
    const Index real = std::min(padded, columns - first);
    T* const panel = packed + shape.gates_width() * first;
    for (Index block = blocks.begin; block < blocks.end; ++block) {
      T* const to = panel + block * width * padded;
      if (real < padded) std::fill(to, to + width * padded, T(0));
      active_kernels<T>().transpose(forward + (block * columns + first) * width, width, real, width, to, padded);
    }
  }
}

}  // namespace

template <class T>
ForwardPanels<T>::ForwardPanels(const CellShape& shape, const LstmCellWeights<const T>& weights)
    : x(static_cast<std::size_t>(shape.gates_width() * shape.input)),
      h(static_cast<std::size_t>(shape.gates_width() * shape.hidden)),
      bias(static_cast<std::size_t>(shape.gates_width())) {
  pack_in_parallel(shape, [&](Range blocks) {
    pack_gates(shape, blocks, weights.weight_ih, x.data());
    pack_gates(shape, blocks, weights.weight_hh, h.data());
  });
  std::fill(bias.data(), bias.data() + bias.size(), T(0));
  for (Index block = 0; block < shape.blocks(); ++block) {
    T* const to = bias.data() + block * shape.block_width();
    visit_gates(shape, block, [&](Index column, Index gate_row, Index units) {
      for (Index unit = 0; unit < units; ++unit) to[column + unit] = weights.bias(gate_row + unit);
    });
  }
}

template <class T>
BackwardPanels<T>::BackwardPanels(const CellShape& shape, const ForwardPanels<T>& forward)
    : x(static_cast<std::size_t>(kernels::panel_elements(shape.gates_width(), shape.input, shape.lanes))),
      h(static_cast<std::size_t>(kernels::panel_elements(shape.gates_width(), shape.hidden, shape.lanes))) {
  pack_in_parallel(shape, [&](Range blocks) {
    transpose_panels(shape, blocks, shape.input, forward.x.data(), x.data());
    transpose_panels(shape, blocks, shape.hidden, forward.h.data(), h.data());
  });
}

template <class T>
void unpack_gradient(const CellShape& shape, const T* transposed, Range blocks, const View<T, 2>& gradient) {
  const Index depth = gradient.shape[1];
  for (Index block = blocks.begin; block < blocks.end; ++block) {
    visit_gates(shape, block, [&](Index column, Index gate_row, Index units) {
      const T* const from = transposed + block * shape.block_width() + column;
      T* const to = gradient.data + gate_row * gradient.stride[0];
      if (gradient.stride[1] == 1) {
        active_kernels<T>().transpose(from, shape.gates_width(), depth, units, to, gradient.stride[0]);
        return;
      }
      for (Index k = 0; k < depth; ++k) {
        for (Index unit = 0; unit < units; ++unit) {
          to[unit * gradient.stride[0] + k * gradient.stride[1]] = from[k * shape.gates_width() + unit];
        }
      }
    });
  }
}

template <class T>
void unpack_gradient(const CellShape& shape, const T* row, Range blocks, const View<T, 1>& gradient) {
  for (Index block = blocks.begin; block < blocks.end; ++block) {
    const T* const from = row + block * shape.block_width();
    visit_gates(shape, block, [&](Index column, Index gate_row, Index units) {
      for (Index unit = 0; unit < units; ++unit) gradient(gate_row + unit) = from[column + unit];
    });
  }
}

template struct ForwardPanels<float>;
template struct ForwardPanels<double>;
template struct BackwardPanels<float>;
template struct BackwardPanels<double>;
template void unpack_gradient(const CellShape&, const float*, Range, const View<float, 2>&);
template void unpack_gradient(const CellShape&, const double*, Range, const View<double, 2>&);
template void unpack_gradient(const CellShape&, const float*, Range, const View<float, 1>&);
template void unpack_gradient(const CellShape&, const double*, Range, const View<double, 1>&);

}  // namespace lstmcore
