// The cell with layer norms (Ba et al. 2016). A norm needs all of a row, so that a step comes apart where one begins:
// forward W x and U h', the gates and c, then h; backward the other way round.
#pragma once

#include <cmath>

#include "varied_cell.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::CellNorms;
using kernels::NormSums;

/// 1 for the real hidden units of a block, 0 for those that only fill its vector.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> real_units(Index hidden, Index block) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const P one = constant<P>(1.0);
  if (hidden - block * lanes >= lanes) return one;
  alignas(64) T real[lanes] = {};
  store_part(real, one, hidden - block * lanes);
  return ei::pload<P>(real);
}

/// Visits the vectors of a row of blocks of `Vectors`, without the first `Skip` of each: visit(v, vector, real units or
/// null if all are).
template <class T, int Vectors, int Skip, class Visit>
EIGEN_ALWAYS_INLINE void visit_row(Index blocks, Index hidden, Visit&& visit) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const bool whole = hidden == blocks * lanes;
  for (Index block = 0; block < blocks - (whole ? 0 : 1); ++block) {
    for (int v = Skip; v < Vectors; ++v) visit(v, (block * Vectors + v) * lanes, static_cast<const P*>(nullptr));
  }
  if (whole) return;
  const P real = real_units<T>(hidden, blocks - 1);
  for (int v = Skip; v < Vectors; ++v) visit(v, ((blocks - 1) * Vectors + v) * lanes, &real);
}

/// The same where it is known only at run time whether the first vector is left out.
template <class T, int Vectors, class Visit>
EIGEN_ALWAYS_INLINE void visit_row(Index blocks, Index hidden, int skip, Visit&& visit) {
  if (skip == 0) {
    visit_row<T, Vectors, 0>(blocks, hidden, visit);
  } else {
    visit_row<T, Vectors, 1>(blocks, hidden, visit);
  }
}

template <class T, int Vectors>
EIGEN_ALWAYS_INLINE T sum_of(const PacketOf<T> (&sums)[Vectors]) {
  PacketOf<T> sum = sums[0];
  for (int v = 1; v < Vectors; ++v) sum = ei::padd(sum, sums[v]);
  return ei::predux(sum);
}

/// Rows whose sums are taken side by side, because each waits for itself: few enough for the first-level cache.
constexpr Index norm_rows = 4;

/// Calls group(first, last) for the rows in groups of `norm_rows`.
template <class Group>
EIGEN_ALWAYS_INLINE void for_groups(Index rows, Group&& group) {
  for (Index first = 0; first < rows; first += norm_rows) group(first, std::min(first + norm_rows, rows));
}

/// statistics[at] = mean, statistics[at + 1] = 1 / sqrt(variance + epsilon) of some rows, in which units that are not
/// there are 0.
template <class T, int Vectors, int Skip>
struct RowStatistics {
  using P = PacketOf<T>;
  const Index blocks, hidden;
  const T inverse_count, epsilon;

  RowStatistics(Index row_blocks, Index row_hidden, T eps)
      : blocks(row_blocks),
        hidden(row_hidden),
        inverse_count(T(1) / static_cast<T>((Vectors - Skip) * row_hidden)),
        epsilon(eps) {}

  EIGEN_ALWAYS_INLINE void put_mean(const T* row, T* to) const {
    P sums[Vectors];
    for (P& sum : sums) sum = constant<P>(0.0);
    visit_row<T, Vectors, Skip>(
        blocks, hidden, [&](int v, Index at, const P*) { sums[v] = ei::padd(sums[v], ei::ploadu<P>(row + at)); });
    to[0] = sum_of<T, Vectors>(sums) * inverse_count;
  }

  EIGEN_ALWAYS_INLINE void put_scale(const T* row, T* to) const {
    const P mean = ei::pset1<P>(to[0]);
    P sums[Vectors];
    for (P& sum : sums) sum = constant<P>(0.0);
    visit_row<T, Vectors, Skip>(blocks, hidden, [&](int v, Index at, const P* real) {
      P distance = ei::psub(ei::ploadu<P>(row + at), mean);
      if (real != nullptr) distance = ei::pmul(distance, *real);
      sums[v] = ei::pmadd(distance, distance, sums[v]);
    });
    to[1] = T(1) / std::sqrt(sum_of<T, Vectors>(sums) * inverse_count + epsilon);
  }
};

/// (x - mean) * scale.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> normed(const T* x, const T* statistics) {
  using P = PacketOf<T>;
  return ei::pmul(ei::psub(ei::ploadu<P>(x), ei::pset1<P>(statistics[0])), ei::pset1<P>(statistics[1]));
}

/// The gates and c before zoneout of one row.
template <class T>
EIGEN_ALWAYS_INLINE void norm_gates_row(const StepForward<T>& s, Index row) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  const CellNorms<T>& norms = *s.norms;
  const T* const statistics = s.statistics[row];
  for (Index block = s.block_begin; block < s.block_end; ++block) {
    const Index unit = block * lanes;
    const auto z = [&](Index gate) {
      const Index at = block * full + gate * lanes;
      const P from_x = ei::pmadd(ei::ploadu<P>(norms.gain_x + at), normed(s.norm_x[row] + at, statistics),
                                 ei::ploadu<P>(s.bias + at));
      return ei::pmadd(ei::ploadu<P>(norms.gain_h + at), normed(s.norm_h[row] + at, statistics + 2), from_x);
    };
    const T* const peephole = s.extras.peephole != nullptr ? s.extras.peephole + 3 * unit : nullptr;
    const FreshCell<P> cell = fresh_cell<T>(*s.extras.options, peephole, s.hidden - unit,
                                            ei::ploadu<P>(s.c_prev[row] + unit), z(0), z(1), z(2), z(3));
    store_gates(s.gates[row] + (block - s.block_begin) * full, cell);
    ei::pstoreu(s.fresh_c[row] + unit, cell.c);
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

/// Whether the gate i is left out, as with coupled gates, is known when this is compiled: sums stay in registers.
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
  constexpr Index full = kernels::panel_vectors * lanes;
  const T* const statistics = s.statistics[row] + 4;
  for (Index block = s.block_begin; block < s.block_end; ++block) {
    const Index unit = block * lanes;
    const P c = ei::ploadu<P>(s.fresh_c[row] + unit);
    const P shown = ei::pmadd(ei::ploadu<P>(s.norms->gain_c + unit), normed(s.fresh_c[row] + unit, statistics),
                              ei::ploadu<P>(s.norms->bias_c + unit));
    const P out = ei::ploadu<P>(s.gates[row] + (block - s.block_begin) * full + 3 * lanes);
    put_state<T>(s, row, unit, ei::ploadu<P>(s.c_prev[row] + unit), c, out, shown);
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

/// Parts of a row of gradients.
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
  const CellOptions<T>& o = *s.extras.options;
  for (Index row = 0; row < s.rows; ++row) {
    const GradientRow<T> gradients(s.dgates[row], s.blocks);
    const P mean = ei::pset1<P>(s.statistics[row][4]), scale = ei::pset1<P>(s.statistics[row][5]);
    for (Index block = s.block_begin; block < s.block_end; ++block) {
      const Index unit = block * lanes;
      const KeptCell<T> cell(s, row, block);
      const P c = ei::pmul(ei::psub(cell.c, mean), scale);
      const P shown = ei::pmadd(ei::ploadu<P>(s.norms->gain_c + unit), c, ei::ploadu<P>(s.norms->bias_c + unit));
      const P r = usually_activate<LstmFunction::tanh>(o.output, shown, o.alpha[2], o.beta[2]);
      const P d_h = fresh_h_gradient(s, row, unit);
      ei::pstoreu(gradients.gates + block * kernels::panel_vectors * lanes + 3 * lanes,
                  ei::pmul(ei::pmul(d_h, r), gate_slope(o, cell.out)));
      ei::pstoreu(
          gradients.by_normed_c + unit,
          ei::pmul(ei::pmul(d_h, cell.out), usual_slope<LstmFunction::tanh>(o.output, r, o.alpha[2], o.beta[2])));
      ei::pstoreu(gradients.normed_c + unit, ei::pmul(c, real_units<T>(s.hidden, block)));
    }
  }
}

/// What takes the gradient by gain * normed to that by what was normed: means over a row, where units that are not
/// there have no gradient.
template <class T>
struct NormGradient {
  using P = PacketOf<T>;
  T mean, along, scale;

  NormGradient() = default;

  /// gain(at) and value(at): a vector of gains and of normed values.
  template <int Vectors, int Skip, class Gain, class Value>
  EIGEN_ALWAYS_INLINE void take(const T* gradient, Gain&& gain, Value&& value, Index blocks, Index hidden,
                                T row_scale) {
    P sums[Vectors], products[Vectors];
    for (int v = 0; v < Vectors; ++v) sums[v] = products[v] = constant<P>(0.0);
    visit_row<T, Vectors, Skip>(blocks, hidden, [&](int v, Index at, const P*) {
      const P scaled = ei::pmul(ei::ploadu<P>(gradient + at), gain(at));
      sums[v] = ei::padd(sums[v], scaled);
      products[v] = ei::pmadd(scaled, value(at), products[v]);
    });
    const T inverse_count = T(1) / static_cast<T>((Vectors - Skip) * hidden);
    mean = sum_of<T, Vectors>(sums) * inverse_count;
    along = sum_of<T, Vectors>(products) * inverse_count;
    scale = row_scale;
  }

  /// Of one vector: its gradient times the gain, and its normed value.
  EIGEN_ALWAYS_INLINE P of(const P& scaled, const P& value) const {
    const P rest = ei::psub(ei::psub(scaled, ei::pset1<P>(mean)), ei::pmul(value, ei::pset1<P>(along)));
    return ei::pmul(ei::pset1<P>(scale), rest);
  }
};

template <class T>
void norm_gates_backward(const StepBackward<T>& s) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const auto gain = [&](Index at) { return ei::ploadu<P>(s.norms->gain_c + at); };
  for_groups(s.rows, [&](Index first, Index last) {
    NormGradient<T> norms[norm_rows];
    for (Index row = first; row < last; ++row) {
      const GradientRow<T> gradients(s.dgates[row], s.blocks);
      const auto value = [&](Index at) { return ei::ploadu<P>(gradients.normed_c + at); };
      norms[row - first].template take<1, 0>(gradients.by_normed_c, gain, value, s.blocks, s.hidden,
                                             s.statistics[row][5]);
    }
    for (Index row = first; row < last; ++row) {
      const GradientRow<T> gradients(s.dgates[row], s.blocks);
      for (Index block = s.block_begin; block < s.block_end; ++block) {
        const Index unit = block * lanes;
        const P scaled = ei::pmul(ei::ploadu<P>(gradients.by_normed_c + unit), gain(unit));
        const P by_c = ei::pmul(norms[row - first].of(scaled, ei::ploadu<P>(gradients.normed_c + unit)),
                                real_units<T>(s.hidden, block));
        const P z_o = ei::ploadu<P>(gradients.gates + block * kernels::panel_vectors * lanes + 3 * lanes);
        put_gate_gradients(s, row, block, KeptCell<T>(s, row, block), z_o, by_c);
      }
    }
  });
}

/// The gradients by one product of a group of rows, W x or U h', from those by the pre-activations.
template <int Skip, class T, class To>
EIGEN_ALWAYS_INLINE void norm_product_backward(const StepBackward<T>& s, Index first, Index last, const T* gains,
                                               const T* const* before, Index statistics, To&& to) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  const auto gain = [&](Index at) { return ei::ploadu<P>(gains + at); };
  NormGradient<T> norms[norm_rows];
  for (Index row = first; row < last; ++row) {
    const T* const numbers = s.statistics[row] + statistics;
    const auto value = [&](Index at) { return normed(before[row] + at, numbers); };
    norms[row - first].template take<vectors, Skip>(s.dgates[row], gain, value, s.blocks, s.hidden, numbers[1]);
  }
  for (Index row = first; row < last; ++row) {
    const T* const numbers = s.statistics[row] + statistics;
    T* const gradients = to(GradientRow<T>(s.dgates[row], s.blocks));
    for (Index block = s.block_begin; block < s.block_end; ++block) {
      const P real = real_units<T>(s.hidden, block);
      if (Skip > 0) ei::pstoreu(gradients + block * vectors * lanes, ei::pzero(real));
      for (int v = Skip; v < vectors; ++v) {
        const Index at = (block * vectors + v) * lanes;
        const P scaled = ei::pmul(ei::ploadu<P>(s.dgates[row] + at), gain(at));
        ei::pstoreu(gradients + at, ei::pmul(norms[row - first].of(scaled, normed(before[row] + at, numbers)), real));
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
  // A sum is fetched once for a group of rows, and still runs over them in their order.
  for_groups(s.rows, [&](Index first, Index last) {
    for (Index at = s.block_begin * full; at < s.block_end * full; at += lanes) {
      P bias = s.bias != nullptr ? ei::ploadu<P>(s.bias + at) : constant<P>(0.0);
      P gain_x = ei::ploadu<P>(s.gain_x + at), gain_h = ei::ploadu<P>(s.gain_h + at);
      for (Index row = first; row < last; ++row) {
        const P gradient = ei::ploadu<P>(s.dgates[row] + at);
        bias = ei::padd(bias, gradient);
        gain_x = ei::pmadd(gradient, normed(s.norm_x[row] + at, s.statistics[row]), gain_x);
        gain_h = ei::pmadd(gradient, normed(s.norm_h[row] + at, s.statistics[row] + 2), gain_h);
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
