// The step of a cell in dual numbers, row by row: Jacobian-vector products of the outputs, and those of the gradients.
// One driver serves all cells with or without options: compared with four times the products of a plain step, testing
// for the options costs little.
#pragma once

#include "cell.hpp"
#include "norms.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::CellNorms;
using kernels::DualRows;
using kernels::TangentBackward;
using kernels::TangentForward;

template <class T, class U>
EIGEN_ALWAYS_INLINE Dual<PacketOf<T>> load_row(const DualRows<U>& rows, Index row, Index at) {
  return load_dual<PacketOf<T>>(rows.value[row] + at, rows.tangent[row] + at);
}
template <class T>
EIGEN_ALWAYS_INLINE void store_row(const DualRows<T>& rows, Index row, Index at, const Dual<PacketOf<T>>& x) {
  store_dual(rows.value[row] + at, rows.tangent[row] + at, x);
}

/// sum += the tangent.
template <class P>
EIGEN_ALWAYS_INLINE void add_tangent(ScalarOf<P>* sum, const Dual<P>& x) {
  ei::pstoreu(sum, ei::padd(ei::ploadu<P>(sum), x.tangent));
}

// ---- forward

/// The cell of one vector from the tangents `z` of its pre-activations without peepholes; stores the gates' tangents.
template <class T, class D = Dual<PacketOf<T>>>
EIGEN_ALWAYS_INLINE FreshCell<D> put_gates_tangent(const TangentForward<T>& s, const TangentCell<T>& cell, Index row,
                                                   Index block, const PacketOf<T> (&z)[4]) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const Index first = block * kernels::panel_vectors * lanes;
  const auto known = [&](Index gate) {
    return KnownActivation<P>{ei::ploadu<P>(s.gates[row] + first + gate * lanes), z[gate]};
  };
  const D before = load_row<T>(s.c_prev, row, block * lanes);
  const FreshCell<D> fresh = fresh_cell(cell, known(0), known(1), known(2), known(3), before);
  T* const tangents = s.gates_tangent[row] + first;
  ei::pstoreu(tangents, fresh.i.tangent);
  ei::pstoreu(tangents + lanes, fresh.f.tangent);
  ei::pstoreu(tangents + 2 * lanes, fresh.g.tangent);
  ei::pstoreu(tangents + 3 * lanes, fresh.o.tangent);
  return fresh;
}

/// The tangents of c and of h = o r(shown), after zoneout, which is linear: it takes tangents as it takes values.
template <class T, class P = PacketOf<T>>
EIGEN_ALWAYS_INLINE void put_state_tangent(const TangentForward<T>& s, const TangentCell<T>& cell, Index row,
                                           Index block, const Dual<P>& fresh_c, const Dual<P>& o,
                                           const Dual<P>& shown) {
  const CellOptions<T>& options = cell.options;
  const Index unit = block * lanes_of<T>, units = s.hidden - unit;
  P c = fresh_c.tangent, h = fresh_output(cell, o, shown).tangent;
  if (s.extras.c_masks != nullptr || options.zoneout_c > 0) {
    const P before = ei::ploadu<P>(s.c_prev.tangent[row] + unit);
    c = zoned_out<T>(c, before, mask_of(s.extras.c_masks, row, unit), options.zoneout_c);
  }
  if (s.extras.h_masks != nullptr || options.zoneout_h > 0) {
    const P before = load_some<P>(s.h_last_tangent[row] + unit, units);
    h = zoned_out<T>(h, before, mask_of(s.extras.h_masks, row, unit), options.zoneout_h);
  }
  ei::pstoreu(s.c_tangent[row] + unit, c);
  store_some(s.h_tangent[row] + unit, h, units);
}

template <class T>
EIGEN_ALWAYS_INLINE void tangent_row_forward(const TangentForward<T>& s, Index row, Index blocks) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const T* const from = s.gates_tangent[row] + block * kernels::panel_vectors * lanes;
    P z[4];
    for (int gate = 0; gate < 4; ++gate) z[gate] = ei::ploadu<P>(from + gate * lanes);
    const auto fresh = put_gates_tangent(s, cell, row, block, z);
    put_state_tangent<T>(s, cell, row, block, fresh.c, fresh.o, fresh.c);
  }
}

/// The tangents of the statistics of W x and U h'. `Skip`: see RowStatistics.
template <class T, int Skip>
EIGEN_ALWAYS_INLINE void put_product_tangents(const TangentForward<T>& s, Index row, Index blocks) {
  const RowStatistics<T, static_cast<int>(kernels::panel_vectors), Skip> of(blocks, s.hidden, s.norms->epsilon);
  const T* const statistics = s.statistics[row];
  T* const to = s.statistics_tangent[row];
  of.put_tangents(s.norm_x.value[row], s.norm_x.tangent[row], statistics, to);
  of.put_tangents(s.norm_h.value[row], s.norm_h.tangent[row], statistics + 2, to + 2);
}

/// With layer norms.
template <class T>
EIGEN_ALWAYS_INLINE void tangent_normed_row_forward(const TangentForward<T>& s, Index row, Index blocks) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  const CellNorms<T>&norms = *s.norms, &tangents = *s.norms_tangent;
  const T* const statistics = s.statistics[row];
  T* const statistics_tangent = s.statistics_tangent[row];
  T *const c_value = s.scratch, *const c_tangent = s.scratch + blocks * lanes;
  if (s.extras.options->coupled) {
    put_product_tangents<T, 1>(s, row, blocks);
  } else {
    put_product_tangents<T, 0>(s, row, blocks);
  }
  const auto norm_x = norm_of(statistics, statistics_tangent), norm_h = norm_of(statistics + 2, statistics_tangent + 2);
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    P z[vectors];
    for (int gate = 0; gate < vectors; ++gate) {
      const Index at = (block * vectors + gate) * lanes;
      const auto from_x =
          load_dual<P>(norms.gain_x + at, tangents.gain_x + at) * norm_x.of(load_row<T>(s.norm_x, row, at));
      const auto from_h =
          load_dual<P>(norms.gain_h + at, tangents.gain_h + at) * norm_h.of(load_row<T>(s.norm_h, row, at));
      z[gate] = ei::padd(ei::padd(from_x.tangent, ei::ploadu<P>(s.bias_tangent + at)), from_h.tangent);
    }
    store_dual(c_value + block * lanes, c_tangent + block * lanes, put_gates_tangent(s, cell, row, block, z).c);
  }
  RowStatistics<T, 1, 0>(blocks, s.hidden, norms.epsilon)
      .put_tangents(c_value, c_tangent, statistics + 4, statistics_tangent + 4);
  const auto norm_c = norm_of(statistics + 4, statistics_tangent + 4);
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const Index unit = block * lanes, at = (block * vectors + 3) * lanes;
    const auto c = load_dual<P>(c_value + unit, c_tangent + unit);
    const auto shown = multiply_add(load_dual<P>(norms.gain_c + unit, tangents.gain_c + unit), norm_c.of(c),
                                    load_dual<P>(norms.bias_c + unit, tangents.bias_c + unit));
    const auto o = load_dual<P>(s.gates[row] + at, s.gates_tangent[row] + at);
    put_state_tangent<T>(s, cell, row, block, c, o, shown);
  }
}

// ---- backward

template <class T, class D = Dual<PacketOf<T>>>
EIGEN_ALWAYS_INLINE TapedCell<D> taped_cell_of(const TangentBackward<T>& s, const TangentCell<T>& cell, Index row,
                                               Index block) {
  constexpr Index lanes = lanes_of<T>;
  const auto gate = [&](Index which) {
    return load_row<T>(s.gates, row, (block * kernels::panel_vectors + which) * lanes);
  };
  return taped_cell(cell, gate(0), gate(1), gate(2), gate(3), load_row<T>(s.c_prev, row, block * lanes));
}

/// dh + dy, without what zoneout passes on to h before the step.
template <class T, class D = Dual<PacketOf<T>>>
EIGEN_ALWAYS_INLINE D fresh_h_gradient(const TangentBackward<T>& s, Index row, Index unit) {
  using P = PacketOf<T>;
  const CellOptions<T>& options = *s.extras.options;
  const Index units = s.hidden - unit;
  D d_h = load_row<T>(s.dh, row, unit);
  D passed = D::constant(ei::pzero(d_h.value));
  if (s.dy.value != nullptr) {
    d_h = d_h + D{load_some<P>(s.dy.value[row] + unit, units), load_some<P>(s.dy.tangent[row] + unit, units)};
  }
  if (s.extras.h_masks != nullptr || options.zoneout_h > 0) {
    d_h = zoneout_gradient<T>(d_h, mask_of(s.extras.h_masks, row, unit), options.zoneout_h, passed);
  }
  if (s.dh_passed.value != nullptr) store_row(s.dh_passed, row, unit, passed);
  return d_h;
}

/// Stores the gradients with respect to all pre-activations and to c before the step, and adds the tangents of those
/// with respect to bias and peephole weights. `z_o`: with respect to o's pre-activation; `by_output`: with respect to
/// c, through h.
template <class T, class D = Dual<PacketOf<T>>>
EIGEN_ALWAYS_INLINE void put_gate_tangents(const TangentBackward<T>& s, const TangentCell<T>& cell, Index row,
                                           Index block, const TapedCell<D>& taped, const D& z_o, const D& by_output) {
  constexpr Index lanes = lanes_of<T>;
  const CellOptions<T>& options = cell.options;
  const Index unit = block * lanes;
  D d_c = load_row<T>(s.dc, row, unit), passed = D::constant(ei::pzero(d_c.value));
  if (s.extras.c_masks != nullptr || options.zoneout_c > 0) {
    d_c = zoneout_gradient<T>(d_c, mask_of(s.extras.c_masks, row, unit), options.zoneout_c, passed);
  }
  const auto gradients = gate_gradients(cell, taped, z_o, by_output + d_c);
  store_row(s.dc, row, unit, gradient_before(cell, taped, gradients, passed));
  const auto store_gate = [&](Index gate, const D& dz) {
    const Index at = (block * kernels::panel_vectors + gate) * lanes;
    store_row(s.dgates, row, at, dz);
    add_tangent(s.bias_sums[row] + at, dz);
  };
  store_gate(0, gradients.z_i);
  store_gate(1, gradients.z_f);
  store_gate(2, gradients.z_g);
  store_gate(3, z_o);
  if (!cell.has_peepholes()) return;
  T* const sums = s.peephole_sums[row] + 3 * unit;
  add_tangent(sums, gradients.z_i * taped.before);
  add_tangent(sums + lanes, gradients.z_f * taped.before);
  add_tangent(sums + 2 * lanes, z_o * taped.c);
}

template <class T>
EIGEN_ALWAYS_INLINE void tangent_row_backward(const TangentBackward<T>& s, Index row, Index blocks) {
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const auto taped = taped_cell_of(s, cell, row, block);
    const auto d_h = fresh_h_gradient(s, row, block * lanes_of<T>);
    const auto output = output_gradient(cell, taped.o, taped.c, d_h);
    put_gate_tangents<T>(s, cell, row, block, taped, output.z_o, output.shown());
  }
}

/// The gradients with respect to one product of a row, W x or U h', from those with respect to the pre-activations.
/// The results may overwrite the latter: `to_value` and `to_tangent` may be rows of `s.dgates`.
template <class T>
EIGEN_ALWAYS_INLINE void tangent_product_backward(const TangentBackward<T>& s, Index row, Index blocks,
                                                  const T* gain_value, const T* gain_tangent,
                                                  const DualRows<const T>& before, Index statistics, T* to_value,
                                                  T* to_tangent, T* gain_sums) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  const T* const numbers = s.statistics.value[row] + statistics;
  const T* const tangents = s.statistics.tangent[row] + statistics;
  const auto norm = norm_of(numbers, tangents);
  const auto scaled = [&](Index at) {
    return load_row<T>(s.dgates, row, at) * load_dual<P>(gain_value + at, gain_tangent + at);
  };
  const auto normed = [&](Index at) { return norm.of(load_row<T>(before, row, at)); };
  const int skip = s.extras.options->coupled ? 1 : 0;
  const Dual<T> scale{numbers[1], tangents[1]};
  NormGradient<Dual<T>> gradient;
  if (skip == 0) {
    gradient.template take<vectors, 0>(scaled, normed, blocks, s.hidden, scale);
  } else {
    gradient.template take<vectors, 1>(scaled, normed, blocks, s.hidden, scale);
  }
  for (Index block = 0; block < blocks; ++block) {
    const P real = real_units<T>(s.hidden, block);
    for (int v = 0; v < vectors; ++v) {
      const Index at = (block * vectors + v) * lanes;
      if (v < skip) {
        store_dual(to_value + at, to_tangent + at, Dual<P>::constant(ei::pzero(real)));
        continue;
      }
      const auto value = normed(at);
      add_tangent(gain_sums + at, load_row<T>(s.dgates, row, at) * value);
      store_dual(to_value + at, to_tangent + at, scaled_by(gradient.of(scaled(at), value), real));
    }
  }
}

/// With layer norms. `scratch`: the gradients with respect to gain * normed c + bias, and the normed c.
template <class T>
EIGEN_ALWAYS_INLINE void tangent_normed_row_backward(const TangentBackward<T>& s, Index row, Index blocks) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const Index padded = blocks * lanes, width = kernels::panel_vectors * padded;
  const CellNorms<T>&norms = *s.norms, &tangents = *s.norms_tangent;
  T *const gain_sums = s.norm_sums[row] + 2 * width, *const bias_sums = gain_sums + padded;
  const T *const numbers = s.statistics.value[row] + 4, *const numbers_tangent = s.statistics.tangent[row] + 4;
  const auto norm_c = norm_of(numbers, numbers_tangent);
  const auto place = [&](Index which, Index unit) { return s.scratch + 2 * which * padded + unit; };
  const auto stored = [&](Index which, Index unit) {
    return load_dual<P>(place(which, unit), place(which, unit) + padded);
  };
  const auto gain = [&](Index unit) { return load_dual<P>(norms.gain_c + unit, tangents.gain_c + unit); };
  const auto z_o_at = [&](Index block) { return (block * kernels::panel_vectors + 3) * lanes; };
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const Index unit = block * lanes;
    const auto taped = taped_cell_of(s, cell, row, block);
    const auto c = norm_c.of(taped.c);
    const auto shown = multiply_add(gain(unit), c, load_dual<P>(norms.bias_c + unit, tangents.bias_c + unit));
    const auto output = output_gradient(cell, taped.o, shown, fresh_h_gradient(s, row, unit));
    const auto by_normed_c = output.shown();
    store_row(s.dgates, row, z_o_at(block), output.z_o);
    store_dual(place(0, unit), place(0, unit) + padded, by_normed_c);
    store_dual(place(1, unit), place(1, unit) + padded, c);
    add_tangent(gain_sums + unit, by_normed_c * c);
    add_tangent(bias_sums + unit, by_normed_c);
  }
  const auto scaled = [&](Index unit) { return stored(0, unit) * gain(unit); };
  NormGradient<Dual<T>> gradient;
  gradient.template take<1, 0>(
      scaled, [&](Index unit) { return stored(1, unit); }, blocks, s.hidden, Dual<T>{numbers[1], numbers_tangent[1]});
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const Index unit = block * lanes;
    const auto by_c = scaled_by(gradient.of(scaled(unit), stored(1, unit)), real_units<T>(s.hidden, block));
    const auto z_o = load_row<T>(s.dgates, row, z_o_at(block));
    put_gate_tangents<T>(s, cell, row, block, taped_cell_of(s, cell, row, block), z_o, by_c);
  }
  tangent_product_backward(s, row, blocks, norms.gain_h, tangents.gain_h, s.norm_h, 2, s.dgates_h.value[row],
                           s.dgates_h.tangent[row], s.norm_sums[row] + width);
  tangent_product_backward(s, row, blocks, norms.gain_x, tangents.gain_x, s.norm_x, 0, s.dgates.value[row],
                           s.dgates.tangent[row], s.norm_sums[row]);
}

// ---- either: all rows

template <class T>
void tangent_forward(const TangentForward<T>& s) {
  const Index blocks = (s.hidden + lanes_of<T> - 1) / lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    if (s.norms == nullptr) {
      tangent_row_forward(s, row, blocks);
    } else {
      tangent_normed_row_forward(s, row, blocks);
    }
  }
}

template <class T>
void tangent_backward(const TangentBackward<T>& s) {
  const Index blocks = (s.hidden + lanes_of<T> - 1) / lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    if (s.norms == nullptr) {
      tangent_row_backward(s, row, blocks);
    } else {
      tangent_normed_row_backward(s, row, blocks);
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
