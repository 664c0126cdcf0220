#include "cell_weights.hpp"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"
#include "../sequence/dropout_mask.hpp"
#include "pack.hpp"

namespace lstmcore {
namespace {

constexpr Index peephole_gates = 3;

/// Calls pack(blocks) for ranges of blocks on several threads. Moving an element counts as 16 operations.
template <class Pack>
void pack_in_parallel(const CellShape& shape, Pack&& pack) {
  const Index elements = shape.gates_width() * (shape.input + shape.state);
  const int threads = threads_for(static_cast<double>(elements) * policy::cost::packed);
  parallel(threads, [&](int index) { pack(split(shape.blocks(), threads, index)); });
}

/// Plain panels of a simple RNN's units, from a matrix (H, depth).
template <class T>
void pack_units(const CellShape& shape, Range blocks, const View<const T, 2>& matrix, T* panels) {
  const Index depth = matrix.shape[1];
  const Range columns = shape.columns_of(blocks);
  for (Index first = columns.begin; first < columns.end; first += shape.strip) {
    const Index width = shape.layout().width(first, shape.hidden), real = std::min(width, shape.hidden - first);
    const T* const from = matrix.data + first * matrix.stride[0];
    T* const to = panels + first * depth;
    if (matrix.stride[1] != 1) {
      pack_panels(from, matrix.stride[1], matrix.stride[0], depth, real, shape.layout(), to);
      continue;
    }
    if (real < width) std::fill(to, to + depth * width, T(0));
    active_kernels<T>().transpose(from, matrix.stride[0], real, depth, to, width);
  }
}

/// For each block a panel with the columns [4][V], from a matrix (4H, depth).
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
      T* const to = panel + shape.layout().at(depth, width, 0, column);
      if (matrix.stride[1] == 1) {
        active_kernels<T>().transpose(from, matrix.stride[0], units, depth, to, shape.strip);
        return;
      }
      for (Index k = 0; k < depth; ++k) {
        for (Index unit = 0; unit < units; ++unit) {
          to[k * shape.strip + unit] = from[unit * matrix.stride[0] + k * matrix.stride[1]];
        }
      }
    });
  }
}

/// A packed factor with depth 4 Hp and `columns` columns, from one with 4 Hp columns and the depth `columns`; Hp
/// instead of 4 Hp in a simple RNN.
template <class T>
void transpose_panels(const CellShape& shape, Range blocks, Index columns, const T* forward, T* packed) {
  const Index strip = shape.strip;
  const Range gates = shape.columns_of(blocks);
  for (Index first = 0; first < columns; first += strip) {
    const Index padded = shape.layout().width(first, columns), real = std::min(padded, columns - first);
    for (Index gate = gates.begin; gate < gates.end; gate += strip) {
      const Index own = shape.layout().width(gate, shape.gates_width());
      T* const to = packed + shape.gates_width() * first + gate * padded;
      if (real < padded) std::fill(to, to + own * padded, T(0));
      active_kernels<T>().transpose(forward + gate * columns + first * own, own, real, own, to, padded);
    }
  }
}

/// [block][gates][V] from (gates H); zeros if the vector is absent.
template <class T>
void pack_vector(const CellShape& shape, const View<const T, 1>& vector, Index gates, T* packed) {
  std::fill(packed, packed + gates * shape.padded(), T(0));
  for (Index block = 0; vector && block < shape.blocks(); ++block) {
    T* const to = packed + block * gates * shape.block_units();
    visit_gates(shape, block, gates, [&](Index column, Index gate_row, Index units) {
      for (Index unit = 0; unit < units; ++unit) to[column + unit] = vector(gate_row + unit);
    });
  }
}

/// Sums of this many products of two int8 numbers fit into 32 bits, even where one factor is made unsigned by adding
/// 128. Deeper layers use float32.
constexpr Index most_quantized_depth = Index{1} << 17;

/// Makes `lowp` from panels of floats, in parallel; false if a value cannot be split or quantized.
bool make_panels(const CellShape& shape, const Buffer<float>& panels, Index depth, Index columns, LowpPanels& lowp) {
  lowp.prepare(shape.arithmetic, depth, columns, shape.layout());
  const int threads = threads_for(static_cast<double>(depth * columns * shape.arithmetic.terms) * policy::cost::packed);
  std::atomic<bool> exact{true};
  parallel(threads, [&](int index) {
    const Range own = split(lowp.panels(), threads, index);
    if (!lowp.fill(panels.data(), own.begin, own.end)) exact = false;
  });
  return exact;
}

}  // namespace

template <class T>
void ForwardPanels<T>::make_lowp(const CellShape& shape) {
  if constexpr (std::is_same_v<T, float>) {
    if (!shape.arithmetic) return;
    const Index deepest = std::max({shape.input, shape.state, shape.hidden});
    if (shape.arithmetic.quantized() && deepest > most_quantized_depth) return;
    const auto make = [&](const Buffer<float>& panels, Index depth, Index columns, LowpPanels& lowp) {
      return make_panels(shape, panels, depth, columns, lowp);
    };
    bool exact = make(x, shape.input, shape.gates_width(), x_lowp);
    exact = make(h, shape.state, shape.gates_width(), h_lowp) && exact;
    if (shape.projected) exact = make(projection, shape.hidden, shape.state, projection_lowp) && exact;
    if (!exact) {
      // One weight that cannot be split makes this layer and direction use float32: infinities and NaN then spread as
      // in float32, and no kernel has to check.
      for (LowpPanels* lowp : {&x_lowp, &h_lowp, &projection_lowp}) lowp->clear();
    } else if (shape.arithmetic.quantized()) {
      for (Buffer<T>* floats : {&x, &h, &projection}) floats->clear();
    }
  }
}

template <class T>
ForwardPanels<T>::ForwardPanels(const CellShape& shape, const LstmCellWeights<const T>& weights)
    : x(static_cast<std::size_t>(shape.gates_width() * shape.input)),
      h(static_cast<std::size_t>(shape.gates_width() * shape.state)),
      bias(static_cast<std::size_t>(shape.gates_width())) {
  const auto pack = shape.simple() ? &pack_units<T> : &pack_gates<T>;
  pack_in_parallel(shape, [&](Range blocks) {
    pack(shape, blocks, weights.weight_ih, x.data());
    pack(shape, blocks, weights.weight_hh, h.data());
  });
  pack_vector(shape, weights.bias, shape.gates, bias.data());
  if (weights.peephole) {
    peephole.resize(static_cast<std::size_t>(peephole_gates * shape.padded()));
    pack_vector(shape, weights.peephole, peephole_gates, peephole.data());
  }
  if (shape.normed) {
    const Index width = shape.gates_width();
    norms.resize(static_cast<std::size_t>(2 * width + 2 * shape.padded()));
    pack_vector(shape, weights.gain_ih, gate_count, norms.data());
    pack_vector(shape, weights.gain_hh, gate_count, norms.data() + width);
    pack_vector(shape, weights.gain_c, 1, norms.data() + 2 * width);
    pack_vector(shape, weights.bias_c, 1, norms.data() + 2 * width + shape.padded());
  }
  if (weights.weight_hr) {
    const View<const T, 2>& matrix = weights.weight_hr;
    projection.resize(static_cast<std::size_t>(shape.layout().elements(shape.hidden, shape.state)));
    pack_panels(matrix.data, matrix.stride[1], matrix.stride[0], shape.hidden, shape.state, shape.layout(),
                projection.data());
  }
  make_lowp(shape);
}

template <class T>
ForwardPanels<T> ForwardPanels<T>::with_dropout(const CellShape& shape, double rate, std::uint64_t seed) const {
  ForwardPanels<T> copy;
  const auto duplicate = [](const Buffer<T>& from, Buffer<T>& to) {
    to.resize(from.size());
    std::copy(from.data(), from.data() + from.size(), to.data());
  };
  duplicate(x, copy.x);
  duplicate(h, copy.h);
  duplicate(bias, copy.bias);
  duplicate(peephole, copy.peephole);
  duplicate(projection, copy.projection);
  duplicate(norms, copy.norms);
  const DropoutMask mask(rate);
  const std::vector<T> ones(static_cast<std::size_t>(shape.state), T(1));
  const int threads = threads_for(static_cast<double>(shape.gates_width() * shape.state) * policy::cost::packed);
  std::vector<std::vector<T>> factors(static_cast<std::size_t>(threads), ones);
  parallel(threads, [&](int index) {
    T* const row = factors[static_cast<std::size_t>(index)].data();
    const Range blocks = split(shape.blocks(), threads, index);
    for (Index block = blocks.begin; block < blocks.end; ++block) {
      T* const panel = copy.h.data() + block * shape.state * shape.block_width();
      visit_gates(shape, block, [&](Index column, Index gate_row, Index units) {
        T* const of_gate = panel + shape.layout().at(shape.state, shape.block_width(), 0, column);
        for (Index unit = 0; unit < units; ++unit) {
          const auto place = static_cast<std::uint64_t>((gate_row + unit) * shape.state);
          active_kernels<T>().dropout(ones.data(), row, shape.state, seed, place, mask.threshold,
                                      static_cast<T>(mask.factor));
          for (Index k = 0; k < shape.state; ++k) of_gate[k * shape.strip + unit] *= row[k];
        }
      });
    }
  });
  copy.make_lowp(shape);
  return copy;
}

template <class T>
BackwardPanels<T>::BackwardPanels(const CellShape& shape, const ForwardPanels<T>& forward)
    : x(static_cast<std::size_t>(shape.layout().elements(shape.gates_width(), shape.input))),
      h(static_cast<std::size_t>(shape.layout().elements(shape.gates_width(), shape.state))) {
  pack_in_parallel(shape, [&](Range blocks) {
    transpose_panels(shape, blocks, shape.input, forward.x.data(), x.data());
    transpose_panels(shape, blocks, shape.state, forward.h.data(), h.data());
  });
  if (shape.projected) {
    projection.resize(static_cast<std::size_t>(shape.layout().elements(shape.state, shape.hidden)));
    const kernels::PanelLayout layout = shape.layout();
    pack_panels_from(shape.state, shape.hidden, layout, projection.data(), [&](Index k, Index unit) {
      return forward.projection.data()[layout.at(shape.hidden, shape.state, unit, k)];
    });
  }
  if constexpr (std::is_same_v<T, float>) {
    if (!forward.x_lowp) return;
    // The same weights as the forward's, all of which can be split.
    const auto make = [&](const Buffer<float>& panels, Index depth, Index columns, LowpPanels& lowp) {
      make_panels(shape, panels, depth, columns, lowp);
    };
    make(x, shape.gates_width(), shape.input, x_lowp);
    make(h, shape.gates_width(), shape.state, h_lowp);
    if (shape.projected) make(projection, shape.state, shape.hidden, projection_lowp);
  }
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
void unpack_gradient(const CellShape& shape, const T* row, Range blocks, const View<T, 1>& gradient, Index gates) {
  for (Index block = blocks.begin; block < blocks.end; ++block) {
    const T* const from = row + block * gates * shape.block_units();
    visit_gates(shape, block, gates, [&](Index column, Index gate_row, Index units) {
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
template void unpack_gradient(const CellShape&, const float*, Range, const View<float, 1>&, Index);
template void unpack_gradient(const CellShape&, const double*, Range, const View<double, 1>&, Index);

}  // namespace lstmcore
