// Steps of a cell with layer norms. A norm needs all of a row, so a step is split before each norm: forward into W x
// and U h', the gates and c, then h; backward in the opposite order.
#pragma once

#include "cell_rows.hpp"
#include "norms.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::CellNorms;
using kernels::NormSums;

/// (x - mean) * scale.
template <class T>
EIGEN_ALWAYS_INLINE Value<PacketOf<T>> normed(const T* x, const T* statistics) {
  return norm_of(statistics).of(load_value<PacketOf<T>>(x));
}

/// Rows whose sums are taken side by side, to hide the latency of the additions: few enough for the first-level cache.
constexpr Index norm_rows = 4;

/// Calls group(first, last) for the rows in groups of `norm_rows`.
template <class Group>
EIGEN_ALWAYS_INLINE void for_groups(Index rows, Group&& group) {
  for (Index first = 0; first < rows; first += norm_rows) group(first, std::min(first + norm_rows, rows));
}

/// The gates and c before zoneout of one row.
template <class T>
EIGEN_ALWAYS_INLINE void norm_gates_row(const StepForward<T>& s, Index row) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const CellNorms<T>& norms = *s.norms;
  const T* const statistics = s.statistics[row];
  for (Index block = s.block_begin; block < s.block_end; ++block) {
    const Index unit = block * lanes;
    const auto z = [&](Index gate) {
      const Index at = gates_at<T>(block) + gate * lanes;
      const auto from_x = multiply_add(load_value<P>(norms.gain_x + at), normed(s.norm_x[row] + at, statistics),
                                       load_value<P>(s.bias + at));
      return multiply_add(load_value<P>(norms.gain_h + at), normed(s.norm_h[row] + at, statistics + 2), from_x);
    };
    const ValueCell<T> cell(s.extras, block, s.hidden);
    const auto fresh = fresh_cell(cell, z(0), z(1), z(2), z(3), load_value<P>(s.c_prev[row] + unit));
    store_gates(s.gates[row] + gates_at<T>(block - s.block_begin), fresh);
    ei::pstoreu(s.fresh_c[row] + unit, fresh.c.value);
  }
}

template <class T, int Skip>
EIGEN_ALWAYS_INLINE void norm_gates_of(const StepForward<T>& s) {
  const RowStatistics<T, static_cast<int>(kernels::panel_vectors), Skip> of(s.blocks, s.hidden, s.norms->epsilon);
  for_groups(s.rows, [&](Index first, Index last) {
    for (Index row = first; row < last; ++row) {
      of.put_mean(s.norm_x[row], s.statistics[row]);
      of.put_mean(s.norm_h[row], s.statistics[row] + 2);
    }
    for (Index row = first; row < last; ++row) {
      of.put_scale(s.norm_x[row], s.statistics[row]);
      of.put_scale(s.norm_h[row], s.statistics[row] + 2);
    }
    for (Index row = first; row < last; ++row) norm_gates_row(s, row);
  });
}

template <class T>
void norm_gates(const StepForward<T>& s) {
  if (s.extras.options->coupled) {
    norm_gates_of<T, 1>(s);
  } else {
    norm_gates_of<T, 0>(s);
  }
}

template <class T>
EIGEN_ALWAYS_INLINE void norm_output_row(const StepForward<T>& s, Index row) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const T* const statistics = s.statistics[row] + 4;
  for (Index block = s.block_begin; block < s.block_end; ++block) {
    const Index unit = block * lanes;
    const ValueCell<T> cell(s.extras, block, s.hidden);
    const auto c = load_value<P>(s.fresh_c[row] + unit);
    const auto shown = multiply_add(load_value<P>(s.norms->gain_c + unit), normed(s.fresh_c[row] + unit, statistics),
                                    load_value<P>(s.norms->bias_c + unit));
    const auto o = load_value<P>(s.gates[row] + gates_at<T>(block - s.block_begin) + 3 * lanes);
    put_state(s, cell, row, unit, load_value<P>(s.c_prev[row] + unit), c, o, shown);
  }
}

template <class T>
void norm_output(const StepForward<T>& s) {
  const RowStatistics<T, 1, 0> of(s.blocks, s.hidden, s.norms->epsilon);
  for_groups(s.rows, [&](Index first, Index last) {
    for (Index row = first; row < last; ++row) of.put_mean(s.fresh_c[row], s.statistics[row] + 4);
    for (Index row = first; row < last; ++row) of.put_scale(s.fresh_c[row], s.statistics[row] + 4);
    for (Index row = first; row < last; ++row) norm_output_row(s, row);
  });
}

/// The parts of a row of gradients: see StepBackward.
template <class T>
struct GradientRow {
  T *gates, *x, *h, *by_normed_c, *normed_c;
  GradientRow(T* row, Index blocks) : gates(row) {
    const Index width = blocks * kernels::panel_vectors * lanes_of<T>;
    x = gates + width;
    h = x + width;
    by_normed_c = h + width;
    normed_c = by_normed_c + blocks * lanes_of<T>;
  }
};

template <class T>
void norm_output_backward(const StepBackward<T>& s) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    const GradientRow<T> gradients(s.dgates[row], s.blocks);
    const auto norm = norm_of(s.statistics[row] + 4);
    for (Index block = s.block_begin; block < s.block_end; ++block) {
      const Index unit = block * lanes;
      const ValueCell<T> cell(s.extras, block, s.hidden);
      const auto taped = taped_cell_of(s, cell, row, block);
      const auto c = norm.of(taped.c);
      const auto shown = multiply_add(load_value<P>(s.norms->gain_c + unit), c, load_value<P>(s.norms->bias_c + unit));
      const auto output = output_gradient(cell, taped.o, shown, fresh_h_gradient(s, row, unit));
      ei::pstoreu(gradients.gates + gates_at<T>(block) + 3 * lanes, output.z_o.value);
      ei::pstoreu(gradients.by_normed_c + unit, output.shown().value);
      ei::pstoreu(gradients.normed_c + unit, ei::pmul(c.value, real_units<T>(s.hidden, block)));
    }
  }
}

template <class T>
void norm_gates_backward(const StepBackward<T>& s) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  for_groups(s.rows, [&](Index first, Index last) {
    const auto scaled = [&](const GradientRow<T>& gradients, Index at) {
      return load_value<P>(gradients.by_normed_c + at) * load_value<P>(s.norms->gain_c + at);
    };
    NormGradient<Value<T>> norms[norm_rows];
    for (Index row = first; row < last; ++row) {
      const GradientRow<T> gradients(s.dgates[row], s.blocks);
      norms[row - first].template take<1, 0>([&](Index at) { return scaled(gradients, at); },
                                             [&](Index at) { return load_value<P>(gradients.normed_c + at); }, s.blocks,
                                             s.hidden, Value<T>{s.statistics[row][5]});
    }
    for (Index row = first; row < last; ++row) {
      const GradientRow<T> gradients(s.dgates[row], s.blocks);
      for (Index block = s.block_begin; block < s.block_end; ++block) {
        const Index unit = block * lanes;
        const ValueCell<T> cell(s.extras, block, s.hidden);
        const auto by_c =
            scaled_by(norms[row - first].of(scaled(gradients, unit), load_value<P>(gradients.normed_c + unit)),
                      real_units<T>(s.hidden, block));
        const auto z_o = load_value<P>(gradients.gates + gates_at<T>(block) + 3 * lanes);
        put_gate_gradients(s, cell, row, block, taped_cell_of(s, cell, row, block), z_o, by_c);
      }
    }
  });
}

/// The gradients with respect to one product of a group of rows, W x or U h', from those with respect to the
/// pre-activations.
template <int Skip, class T, class To>
EIGEN_ALWAYS_INLINE void norm_product_backward(const StepBackward<T>& s, Index first, Index last, const T* gains,
                                               const T* const* before, Index statistics, To&& to) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  const auto scaled = [&](Index row, Index at) {
    return load_value<P>(s.dgates[row] + at) * load_value<P>(gains + at);
  };
  NormGradient<Value<T>> norms[norm_rows];
  for (Index row = first; row < last; ++row) {
    const T* const numbers = s.statistics[row] + statistics;
    norms[row - first].template take<vectors, Skip>([&](Index at) { return scaled(row, at); },
                                                    [&](Index at) { return normed(before[row] + at, numbers); },
                                                    s.blocks, s.hidden, Value<T>{numbers[1]});
  }
  for (Index row = first; row < last; ++row) {
    const T* const numbers = s.statistics[row] + statistics;
    T* const gradients = to(GradientRow<T>(s.dgates[row], s.blocks));
    for (Index block = s.block_begin; block < s.block_end; ++block) {
      const P real = real_units<T>(s.hidden, block);
      if (Skip > 0) ei::pstoreu(gradients + gates_at<T>(block), ei::pzero(real));
      for (int v = Skip; v < vectors; ++v) {
        const Index at = gates_at<T>(block) + v * lanes;
        const auto gradient = norms[row - first].of(scaled(row, at), normed(before[row] + at, numbers));
        ei::pstoreu(gradients + at, scaled_by(gradient, real).value);
      }
    }
  }
}

template <class T, int Skip>
EIGEN_ALWAYS_INLINE void norm_rows_backward_of(const StepBackward<T>& s) {
  for_groups(s.rows, [&](Index first, Index last) {
    norm_product_backward<Skip>(s, first, last, s.norms->gain_x, s.norm_x, 0,
                                [](const GradientRow<T>& row) { return row.x; });
    norm_product_backward<Skip>(s, first, last, s.norms->gain_h, s.norm_h, 2,
                                [](const GradientRow<T>& row) { return row.h; });
  });
}

template <class T>
void norm_rows_backward(const StepBackward<T>& s) {
  if (s.extras.options->coupled) {
    norm_rows_backward_of<T, 1>(s);
  } else {
    norm_rows_backward_of<T, 0>(s);
  }
}

template <class T>
void add_norms(const NormSums<T>& s) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  // Sums are loaded once per group of rows, and still add the rows in their order.
  for_groups(s.rows, [&](Index first, Index last) {
    for (Index at = s.block_begin * full; at < s.block_end * full; at += lanes) {
      P bias = s.bias != nullptr ? ei::ploadu<P>(s.bias + at) : constant<P>(0.0);
      P gain_x = ei::ploadu<P>(s.gain_x + at), gain_h = ei::ploadu<P>(s.gain_h + at);
      for (Index row = first; row < last; ++row) {
        const P gradient = ei::ploadu<P>(s.dgates[row] + at);
        bias = ei::padd(bias, gradient);
        gain_x = ei::pmadd(gradient, normed(s.norm_x[row] + at, s.statistics[row]).value, gain_x);
        gain_h = ei::pmadd(gradient, normed(s.norm_h[row] + at, s.statistics[row] + 2).value, gain_h);
      }
      if (s.bias != nullptr) ei::pstoreu(s.bias + at, bias);
      ei::pstoreu(s.gain_x + at, gain_x);
      ei::pstoreu(s.gain_h + at, gain_h);
    }
    for (Index at = s.block_begin * lanes; at < s.block_end * lanes; at += lanes) {
      P gain = ei::ploadu<P>(s.gain_c + at), bias = ei::ploadu<P>(s.bias_c + at);
      for (Index row = first; row < last; ++row) {
        const GradientRow<T> gradients(s.dgates[row], s.blocks);
        const P gradient = ei::ploadu<P>(gradients.by_normed_c + at);
        gain = ei::pmadd(gradient, ei::ploadu<P>(gradients.normed_c + at), gain);
        bias = ei::padd(bias, gradient);
      }
      ei::pstoreu(s.gain_c + at, gain);
      ei::pstoreu(s.bias_c + at, bias);
    }
  });
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
