// The cell's forward and backward in dual numbers: for directional derivatives of outputs and of gradients. One cell
// for all variants: beside four times the products of a plain step, asking for them costs little.
#pragma once

#include "dual.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::TangentBackward;
using kernels::TangentForward;

/// What the vectors of one block of hidden units of a row have in common.
template <class T>
struct TangentCell {
  using P = PacketOf<T>;
  static constexpr Index lanes = lanes_of<T>;

  const CellOptions<T>& options;
  const T *peephole, *peephole_tangent;  ///< of the block; null: none
  const DualActivation<P> gate, cell, output;

  TangentCell(const CellExtras<T>& extras, const T* tangent, Index block)
      : options(*extras.options),
        peephole(extras.peephole != nullptr ? extras.peephole + 3 * block * lanes : nullptr),
        peephole_tangent(extras.peephole != nullptr ? tangent + 3 * block * lanes : nullptr),
        gate{options.gate, options.alpha[0], options.beta[0], options.gate_clip},
        cell{options.cell, options.alpha[1], options.beta[1], options.gate_clip},
        output{options.output, options.alpha[2], options.beta[2], T(0)} {}

  /// Peephole weights of the gates i, f and o, which are 0, 1 and 2 here.
  EIGEN_ALWAYS_INLINE Dual<P> peephole_of(int which) const {
    return load_dual<P>(peephole + which * lanes, peephole_tangent + which * lanes);
  }
};

/// `fresh`, or `before` where it is kept; without a mask, the expectation.
template <class P, class T>
EIGEN_ALWAYS_INLINE P zoned_out_tangent(const P& fresh, const P& before, const T* const* kept, Index row, Index unit,
                                        T rate) {
  if (kept == nullptr && !(rate > 0)) return fresh;
  return zoned_out<T>(fresh, before, kept != nullptr ? kept[row] + unit : nullptr, rate);
}

template <class T>
EIGEN_ALWAYS_INLINE void tangent_cell_forward(const TangentForward<T>& s, Index row, Index block) {
  using P = PacketOf<T>;
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
  const Index unit = block * lanes, units = s.hidden - unit;
  const T* const gates = s.gates[row] + block * full;
  T* const tangents = s.gates_tangent[row] + block * full;
  const D before = load_dual<P>(s.c_prev.value[row] + unit, s.c_prev.tangent[row] + unit);
  P z_i = ei::ploadu<P>(tangents), z_f = ei::ploadu<P>(tangents + lanes), z_o = ei::ploadu<P>(tangents + 3 * lanes);
  if (cell.peephole != nullptr) {
    z_i = ei::padd(z_i, (cell.peephole_of(0) * before).tangent);
    z_f = ei::padd(z_f, (cell.peephole_of(1) * before).tangent);
  }
  const D f = cell.gate.of(ei::ploadu<P>(gates + lanes), z_f);
  const D i = cell.options.coupled ? fixed(constant<P>(1.0)) - f : cell.gate.of(ei::ploadu<P>(gates), z_i);
  const D g = cell.cell.of(ei::ploadu<P>(gates + 2 * lanes), ei::ploadu<P>(tangents + 2 * lanes));
  const D c = bounded(multiply_add(f, before, i * g), cell.options.cell_clip);
  if (cell.peephole != nullptr) z_o = ei::padd(z_o, (cell.peephole_of(2) * c).tangent);
  const D out = cell.gate.of(ei::ploadu<P>(gates + 3 * lanes), z_o);
  const D h = out * cell.output.at(c);
  ei::pstoreu(tangents, i.tangent);
  ei::pstoreu(tangents + lanes, f.tangent);
  ei::pstoreu(tangents + 2 * lanes, g.tangent);
  ei::pstoreu(tangents + 3 * lanes, out.tangent);
  const CellOptions<T>& o = cell.options;
  ei::pstoreu(s.c_tangent[row] + unit,
              zoned_out_tangent(c.tangent, before.tangent, s.extras.kept_c, row, unit, o.zoneout_c));
  P h_tangent = h.tangent;
  if (s.extras.kept_h != nullptr || o.zoneout_h > 0) {
    const P h_before = load_some<P>(s.h_last_tangent[row] + unit, units);
    h_tangent = zoned_out_tangent(h_tangent, h_before, s.extras.kept_h, row, unit, o.zoneout_h);
  }
  store_some(s.h_tangent[row] + unit, h_tangent, units);
}

/// The share of a gradient that belongs to the fresh value; what belongs to the one before goes to `passed`.
template <class P, class T>
EIGEN_ALWAYS_INLINE Dual<P> fresh_share(const Dual<P>& gradient, const T* const* kept, Index row, Index unit, T rate,
                                        Dual<P>& passed) {
  passed = fixed(ei::pzero(gradient.value));
  if (kept == nullptr && !(rate > 0)) return gradient;
  const T* const mask = kept != nullptr ? kept[row] + unit : nullptr;
  return {zoneout_gradient<T>(gradient.value, mask, rate, passed.value),
          zoneout_gradient<T>(gradient.tangent, mask, rate, passed.tangent)};
}

template <class T>
EIGEN_ALWAYS_INLINE void tangent_cell_backward(const TangentBackward<T>& s, Index row, Index block) {
  using P = PacketOf<T>;
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
  const CellOptions<T>& o = cell.options;
  const Index unit = block * lanes, units = s.hidden - unit;
  const auto gate_at = [&](Index gate) {
    const Index at = block * full + gate * lanes;
    return load_dual<P>(s.gates.value[row] + at, s.gates.tangent[row] + at);
  };
  const D i = gate_at(0), f = gate_at(1), g = gate_at(2), out = gate_at(3);
  const D before = load_dual<P>(s.c_prev.value[row] + unit, s.c_prev.tangent[row] + unit);
  // c as it was before zoneout, with the forward's bits.
  const D free = multiply_add(f, before, i * g);
  const D c = bounded(free, o.cell_clip);

  D d_h = load_dual<P>(s.dh.value[row] + unit, s.dh.tangent[row] + unit), passed_h, passed_c;
  if (s.dy.value != nullptr) {
    d_h = d_h + D{load_some<P>(s.dy.value[row] + unit, units), load_some<P>(s.dy.tangent[row] + unit, units)};
  }
  d_h = fresh_share(d_h, s.extras.kept_h, row, unit, o.zoneout_h, passed_h);
  if (s.dh_kept.value != nullptr) store_dual(s.dh_kept.value[row] + unit, s.dh_kept.tangent[row] + unit, passed_h);
  D d_c = load_dual<P>(s.dc.value[row] + unit, s.dc.tangent[row] + unit);
  d_c = fresh_share(d_c, s.extras.kept_c, row, unit, o.zoneout_c, passed_c);

  const D r = cell.output.at(c);
  const D z_o = d_h * r * cell.gate.slope_of(out);
  d_c = multiply_add(d_h * out, cell.output.slope_of(r), d_c);
  if (cell.peephole != nullptr) d_c = multiply_add(z_o, cell.peephole_of(2), d_c);
  d_c = inside(free.value, o.cell_clip, d_c);

  const D d_i = d_c * g;
  const D d_f = o.coupled ? d_c * before - d_i : d_c * before;
  const D z_i = o.coupled ? fixed(ei::pzero(free.value)) : d_i * cell.gate.slope_of(i);
  const D z_f = d_f * cell.gate.slope_of(f);
  const D z_g = d_c * i * cell.cell.slope_of(g);
  D d_before = multiply_add(d_c, f, passed_c);
  if (cell.peephole != nullptr) {
    d_before = multiply_add(z_i, cell.peephole_of(0), multiply_add(z_f, cell.peephole_of(1), d_before));
  }
  store_dual(s.dc.value[row] + unit, s.dc.tangent[row] + unit, d_before);
  const auto store_gate = [&](Index gate, const D& dz) {
    const Index at = block * full + gate * lanes;
    store_dual(s.dgates.value[row] + at, s.dgates.tangent[row] + at, dz);
    T* const sum = s.bias_sums[row] + at;
    ei::pstoreu(sum, ei::padd(ei::ploadu<P>(sum), dz.tangent));
  };
  store_gate(0, z_i);
  store_gate(1, z_f);
  store_gate(2, z_g);
  store_gate(3, z_o);
  if (cell.peephole == nullptr) return;
  const auto add_peephole = [&](Index which, const D& gradient) {
    T* const sum = s.peephole_sums[row] + 3 * unit + which * lanes;
    ei::pstoreu(sum, ei::padd(ei::ploadu<P>(sum), gradient.tangent));
  };
  add_peephole(0, z_i * before);
  add_peephole(1, z_f * before);
  add_peephole(2, z_o * c);
}

template <class T>
void tangent_forward(const TangentForward<T>& s) {
  const Index blocks = (s.hidden + lanes_of<T> - 1) / lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    for (Index block = 0; block < blocks; ++block) tangent_cell_forward(s, row, block);
  }
}

template <class T>
void tangent_backward(const TangentBackward<T>& s) {
  const Index blocks = (s.hidden + lanes_of<T> - 1) / lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    for (Index block = 0; block < blocks; ++block) tangent_cell_backward(s, row, block);
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
