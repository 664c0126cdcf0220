// The cell's forward and backward in dual numbers: for directional derivatives of outputs and of gradients. One cell
// for all variants: beside four times the products of a plain step, asking for them costs little.
#pragma once

#include "dual.hpp"
#include "layer_norm.hpp"

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

/// Of one vector: c before zoneout, from the tangents `z` of the pre-activations without peepholes. What it leaves of
/// the gates are their tangents.
template <class T>
EIGEN_ALWAYS_INLINE Dual<PacketOf<T>> put_gates_tangent(const TangentForward<T>& s, const TangentCell<T>& cell,
                                                        Index row, Index block, PacketOf<T> (&z)[4],
                                                        Dual<PacketOf<T>>& out) {
  using P = PacketOf<T>;
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  const Index unit = block * lanes;
  const T* const gates = s.gates[row] + block * full;
  T* const tangents = s.gates_tangent[row] + block * full;
  const D before = load_dual<P>(s.c_prev.value[row] + unit, s.c_prev.tangent[row] + unit);
  if (cell.peephole != nullptr) {
    z[0] = ei::padd(z[0], (cell.peephole_of(0) * before).tangent);
    z[1] = ei::padd(z[1], (cell.peephole_of(1) * before).tangent);
  }
  const D f = cell.gate.of(ei::ploadu<P>(gates + lanes), z[1]);
  const D i = cell.options.coupled ? fixed(constant<P>(1.0)) - f : cell.gate.of(ei::ploadu<P>(gates), z[0]);
  const D g = cell.cell.of(ei::ploadu<P>(gates + 2 * lanes), z[2]);
  const D c = bounded(multiply_add(f, before, i * g), cell.options.cell_clip);
  if (cell.peephole != nullptr) z[3] = ei::padd(z[3], (cell.peephole_of(2) * c).tangent);
  out = cell.gate.of(ei::ploadu<P>(gates + 3 * lanes), z[3]);
  ei::pstoreu(tangents, i.tangent);
  ei::pstoreu(tangents + lanes, f.tangent);
  ei::pstoreu(tangents + 2 * lanes, g.tangent);
  ei::pstoreu(tangents + 3 * lanes, out.tangent);
  return c;
}

/// The tangents of c and of h = out * r(shown), after zoneout.
template <class T, class P = PacketOf<T>>
EIGEN_ALWAYS_INLINE void put_state_tangent(const TangentForward<T>& s, const TangentCell<T>& cell, Index row,
                                           Index block, const Dual<P>& c, const Dual<P>& out, const Dual<P>& shown) {
  const CellOptions<T>& o = cell.options;
  const Index unit = block * lanes_of<T>, units = s.hidden - unit;
  const P before = ei::ploadu<P>(s.c_prev.tangent[row] + unit);
  ei::pstoreu(s.c_tangent[row] + unit, zoned_out_tangent(c.tangent, before, s.extras.kept_c, row, unit, o.zoneout_c));
  P h = (out * cell.output.at(shown)).tangent;
  if (s.extras.kept_h != nullptr || o.zoneout_h > 0) {
    const P h_before = load_some<P>(s.h_last_tangent[row] + unit, units);
    h = zoned_out_tangent(h, h_before, s.extras.kept_h, row, unit, o.zoneout_h);
  }
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
    Dual<P> out;
    const Dual<P> c = put_gates_tangent(s, cell, row, block, z, out);
    put_state_tangent<T>(s, cell, row, block, c, out, c);
  }
}

/// Mean and scale of the norm of a row.
template <class T>
struct DualStatistics {
  using P = PacketOf<T>;
  Dual<P> mean, scale;

  DualStatistics(const T* value, const T* tangent)
      : mean{ei::pset1<P>(value[0]), ei::pset1<P>(tangent[0])},
        scale{ei::pset1<P>(value[1]), ei::pset1<P>(tangent[1])} {}

  EIGEN_ALWAYS_INLINE Dual<P> normed(const Dual<P>& x) const { return (x - mean) * scale; }
};

/// The tangents of mean and scale = 1 / sqrt(variance + epsilon) of a row, whose own are `statistics`.
template <class T, int Vectors>
EIGEN_ALWAYS_INLINE void put_statistics_tangent(const T* value, const T* tangent, const T* statistics, Index blocks,
                                                Index hidden, int skip, T* to) {
  using P = PacketOf<T>;
  const T inverse_count = T(1) / static_cast<T>((Vectors - skip) * hidden);
  P sums[Vectors], products[Vectors];
  for (int v = 0; v < Vectors; ++v) sums[v] = products[v] = constant<P>(0.0);
  visit_row<T, Vectors>(blocks, hidden, skip,
                        [&](int v, Index at, const P*) { sums[v] = ei::padd(sums[v], ei::ploadu<P>(tangent + at)); });
  to[0] = sum_of<T, Vectors>(sums) * inverse_count;
  const P mean = ei::pset1<P>(statistics[0]), mean_tangent = ei::pset1<P>(to[0]);
  visit_row<T, Vectors>(blocks, hidden, skip, [&](int v, Index at, const P* real) {
    P distance = ei::psub(ei::ploadu<P>(value + at), mean);
    if (real != nullptr) distance = ei::pmul(distance, *real);
    products[v] = ei::pmadd(distance, ei::psub(ei::ploadu<P>(tangent + at), mean_tangent), products[v]);
  });
  const T scale = statistics[1];
  to[1] = -scale * scale * scale * (sum_of<T, Vectors>(products) * inverse_count);
}

/// The same with layer norms.
template <class T>
EIGEN_ALWAYS_INLINE void tangent_normed_row_forward(const TangentForward<T>& s, Index row, Index blocks) {
  using P = PacketOf<T>;
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  const int skip = s.extras.options->coupled ? 1 : 0;
  const CellNorms<T>&norms = *s.norms, &tangents = *s.norms_tangent;
  const T* const statistics = s.statistics[row];
  T* const statistics_tangent = s.statistics_tangent[row];
  T *const c_value = s.scratch, *const c_tangent = s.scratch + blocks * lanes;
  put_statistics_tangent<T, vectors>(s.norm_x.value[row], s.norm_x.tangent[row], statistics, blocks, s.hidden, skip,
                                     statistics_tangent);
  put_statistics_tangent<T, vectors>(s.norm_h.value[row], s.norm_h.tangent[row], statistics + 2, blocks, s.hidden, skip,
                                     statistics_tangent + 2);
  const DualStatistics<T> of_x(statistics, statistics_tangent), of_h(statistics + 2, statistics_tangent + 2);
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    P z[vectors];
    for (int gate = 0; gate < vectors; ++gate) {
      const Index at = (block * vectors + gate) * lanes;
      const D x = of_x.normed(load_dual<P>(s.norm_x.value[row] + at, s.norm_x.tangent[row] + at));
      const D h = of_h.normed(load_dual<P>(s.norm_h.value[row] + at, s.norm_h.tangent[row] + at));
      const D from_x = load_dual<P>(norms.gain_x + at, tangents.gain_x + at) * x;
      const D from_h = load_dual<P>(norms.gain_h + at, tangents.gain_h + at) * h;
      z[gate] = ei::padd(ei::padd(from_x.tangent, ei::ploadu<P>(s.bias_tangent + at)), from_h.tangent);
    }
    D out;
    const D c = put_gates_tangent(s, cell, row, block, z, out);
    store_dual(c_value + block * lanes, c_tangent + block * lanes, c);
  }
  put_statistics_tangent<T, 1>(c_value, c_tangent, statistics + 4, blocks, s.hidden, 0, statistics_tangent + 4);
  const DualStatistics<T> of_c(statistics + 4, statistics_tangent + 4);
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const Index unit = block * lanes, at = (block * vectors + 3) * lanes;
    const D c = load_dual<P>(c_value + unit, c_tangent + unit);
    const D shown = multiply_add(load_dual<P>(norms.gain_c + unit, tangents.gain_c + unit), of_c.normed(c),
                                 load_dual<P>(norms.bias_c + unit, tangents.bias_c + unit));
    const D out = load_dual<P>(s.gates[row] + at, s.gates_tangent[row] + at);
    put_state_tangent<T>(s, cell, row, block, c, out, shown);
  }
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

/// The gates of one vector of hidden units, and c before zoneout with the forward's bits.
template <class T>
struct KeptTangent {
  using P = PacketOf<T>;
  Dual<P> i, f, g, out, before, free, c;

  EIGEN_ALWAYS_INLINE KeptTangent(const TangentBackward<T>& s, Index row, Index block) {
    constexpr Index lanes = lanes_of<T>;
    const auto gate_at = [&](Index gate) {
      const Index at = (block * kernels::panel_vectors + gate) * lanes;
      return load_dual<P>(s.gates.value[row] + at, s.gates.tangent[row] + at);
    };
    i = gate_at(0);
    f = gate_at(1);
    g = gate_at(2);
    out = gate_at(3);
    before = load_dual<P>(s.c_prev.value[row] + block * lanes, s.c_prev.tangent[row] + block * lanes);
    free = multiply_add(f, before, i * g);
    c = bounded(free, s.extras.options->cell_clip);
  }
};

/// The gradients by o's pre-activation and by what the output activation was applied to.
template <class P>
struct OutputGradient {
  Dual<P> z_o, by_shown;
};

template <class T, class P = PacketOf<T>>
EIGEN_ALWAYS_INLINE OutputGradient<P> output_gradient(const TangentBackward<T>& s, const TangentCell<T>& cell,
                                                      Index row, Index unit, const Dual<P>& out, const Dual<P>& shown) {
  using D = Dual<P>;
  const Index units = s.hidden - unit;
  D d_h = load_dual<P>(s.dh.value[row] + unit, s.dh.tangent[row] + unit), passed;
  if (s.dy.value != nullptr) {
    d_h = d_h + D{load_some<P>(s.dy.value[row] + unit, units), load_some<P>(s.dy.tangent[row] + unit, units)};
  }
  d_h = fresh_share(d_h, s.extras.kept_h, row, unit, cell.options.zoneout_h, passed);
  if (s.dh_kept.value != nullptr) store_dual(s.dh_kept.value[row] + unit, s.dh_kept.tangent[row] + unit, passed);
  const D r = cell.output.at(shown);
  return {d_h * r * cell.gate.slope_of(out), d_h * out * cell.output.slope_of(r)};
}

/// From the gradients by o's pre-activation and by c through h, those by all pre-activations and by c before the step.
template <class T, class P = PacketOf<T>>
EIGEN_ALWAYS_INLINE void put_gate_tangents(const TangentBackward<T>& s, const TangentCell<T>& cell, Index row,
                                           Index block, const KeptTangent<T>& kept, const Dual<P>& z_o,
                                           const Dual<P>& by_output) {
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  constexpr Index full = kernels::panel_vectors * lanes;
  const CellOptions<T>& o = cell.options;
  const Index unit = block * lanes;
  D d_c = load_dual<P>(s.dc.value[row] + unit, s.dc.tangent[row] + unit), passed;
  d_c = by_output + fresh_share(d_c, s.extras.kept_c, row, unit, o.zoneout_c, passed);
  if (cell.peephole != nullptr) d_c = multiply_add(z_o, cell.peephole_of(2), d_c);
  d_c = inside(kept.free.value, o.cell_clip, d_c);

  const D d_i = d_c * kept.g;
  const D d_f = o.coupled ? d_c * kept.before - d_i : d_c * kept.before;
  const D z_i = o.coupled ? fixed(ei::pzero(z_o.value)) : d_i * cell.gate.slope_of(kept.i);
  const D z_f = d_f * cell.gate.slope_of(kept.f);
  const D z_g = d_c * kept.i * cell.cell.slope_of(kept.g);
  D d_before = multiply_add(d_c, kept.f, passed);
  if (cell.peephole != nullptr) {
    d_before = multiply_add(z_i, cell.peephole_of(0), multiply_add(z_f, cell.peephole_of(1), d_before));
  }
  store_dual(s.dc.value[row] + unit, s.dc.tangent[row] + unit, d_before);
  const auto store_gate = [&](Index gate, const D& dz) {
    const Index at = block * full + gate * lanes;
    store_dual(s.dgates.value[row] + at, s.dgates.tangent[row] + at, dz);
    add_tangent(s.bias_sums[row] + at, dz);
  };
  store_gate(0, z_i);
  store_gate(1, z_f);
  store_gate(2, z_g);
  store_gate(3, z_o);
  if (cell.peephole == nullptr) return;
  T* const sums = s.peephole_sums[row] + 3 * unit;
  add_tangent(sums, z_i * kept.before);
  add_tangent(sums + lanes, z_f * kept.before);
  add_tangent(sums + 2 * lanes, z_o * kept.c);
}

template <class T>
EIGEN_ALWAYS_INLINE void tangent_row_backward(const TangentBackward<T>& s, Index row, Index blocks) {
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const KeptTangent<T> kept(s, row, block);
    const auto gradient = output_gradient<T>(s, cell, row, block * lanes_of<T>, kept.out, kept.c);
    put_gate_tangents<T>(s, cell, row, block, kept, gradient.z_o, gradient.by_shown);
  }
}

/// NormGradient in dual numbers.
template <class T>
struct DualNormGradient {
  using P = PacketOf<T>;
  Dual<P> mean, along, scale;

  /// scaled(at) and value(at): a vector of gradients times gains, and of normed values.
  template <int Vectors, class Scaled, class Value>
  EIGEN_ALWAYS_INLINE void take(Scaled&& scaled, Value&& value, Index blocks, Index hidden, int skip,
                                const Dual<P>& row_scale) {
    P sums[4][Vectors];
    for (auto& sum : sums) {
      for (P& part : sum) part = constant<P>(0.0);
    }
    visit_row<T, Vectors>(blocks, hidden, skip, [&](int v, Index at, const P*) {
      const Dual<P> gradient = scaled(at), product = gradient * value(at);
      sums[0][v] = ei::padd(sums[0][v], gradient.value);
      sums[1][v] = ei::padd(sums[1][v], gradient.tangent);
      sums[2][v] = ei::padd(sums[2][v], product.value);
      sums[3][v] = ei::padd(sums[3][v], product.tangent);
    });
    const T inverse_count = T(1) / static_cast<T>((Vectors - skip) * hidden);
    const auto over_row = [&](int which) { return ei::pset1<P>(sum_of<T, Vectors>(sums[which]) * inverse_count); };
    mean = {over_row(0), over_row(1)};
    along = {over_row(2), over_row(3)};
    scale = row_scale;
  }

  /// Of one vector; 0 for units that are not there.
  EIGEN_ALWAYS_INLINE Dual<P> of(const Dual<P>& scaled, const Dual<P>& value, const P& real) const {
    const Dual<P> gradient = scale * (scaled - mean - value * along);
    return {ei::pmul(gradient.value, real), ei::pmul(gradient.tangent, real)};
  }
};

/// The gradients by one product of a row, W x or U h', from those by the pre-activations. `to_value` and
/// `to_tangent` may be where these lie.
template <class T>
EIGEN_ALWAYS_INLINE void tangent_product_backward(const TangentBackward<T>& s, Index row, Index blocks,
                                                  const T* gain_value, const T* gain_tangent,
                                                  const kernels::DualRows<const T>& before, Index statistics,
                                                  T* to_value, T* to_tangent, T* gain_sums) {
  using P = PacketOf<T>;
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  constexpr int vectors = static_cast<int>(kernels::panel_vectors);
  const int skip = s.extras.options->coupled ? 1 : 0;
  const DualStatistics<T> of(s.statistics.value[row] + statistics, s.statistics.tangent[row] + statistics);
  const auto gradient = [&](Index at) { return load_dual<P>(s.dgates.value[row] + at, s.dgates.tangent[row] + at); };
  const auto scaled = [&](Index at) { return gradient(at) * load_dual<P>(gain_value + at, gain_tangent + at); };
  const auto value = [&](Index at) {
    return of.normed(load_dual<P>(before.value[row] + at, before.tangent[row] + at));
  };
  DualNormGradient<T> norm;
  norm.template take<vectors>(scaled, value, blocks, s.hidden, skip, of.scale);
  for (Index block = 0; block < blocks; ++block) {
    const P real = real_units<T>(s.hidden, block);
    for (int v = 0; v < vectors; ++v) {
      const Index at = (block * vectors + v) * lanes;
      if (v < skip) {
        store_dual(to_value + at, to_tangent + at, fixed(ei::pzero(real)));
        continue;
      }
      const D normed = value(at);
      add_tangent(gain_sums + at, gradient(at) * normed);
      store_dual(to_value + at, to_tangent + at, norm.of(scaled(at), normed, real));
    }
  }
}

/// The same with layer norms.
template <class T>
EIGEN_ALWAYS_INLINE void tangent_normed_row_backward(const TangentBackward<T>& s, Index row, Index blocks) {
  using P = PacketOf<T>;
  using D = Dual<P>;
  constexpr Index lanes = lanes_of<T>;
  const Index padded = blocks * lanes, width = kernels::panel_vectors * padded;
  const CellNorms<T>&norms = *s.norms, &tangents = *s.norms_tangent;
  T *const gain_sums = s.norm_sums[row] + 2 * width, *const bias_sums = gain_sums + padded;
  const DualStatistics<T> of_c(s.statistics.value[row] + 4, s.statistics.tangent[row] + 4);
  const auto place = [&](Index which, Index unit) { return s.scratch + 2 * which * padded + unit; };
  const auto kept_dual = [&](Index which, Index unit) {
    return load_dual<P>(place(which, unit), place(which, unit) + padded);
  };
  const auto gain = [&](Index unit) { return load_dual<P>(norms.gain_c + unit, tangents.gain_c + unit); };
  const auto z_o_at = [&](Index block) { return (block * kernels::panel_vectors + 3) * lanes; };
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const Index unit = block * lanes;
    const KeptTangent<T> kept(s, row, block);
    const D c = of_c.normed(kept.c);
    const D shown = multiply_add(gain(unit), c, load_dual<P>(norms.bias_c + unit, tangents.bias_c + unit));
    const auto gradient = output_gradient<T>(s, cell, row, unit, kept.out, shown);
    store_dual(s.dgates.value[row] + z_o_at(block), s.dgates.tangent[row] + z_o_at(block), gradient.z_o);
    store_dual(place(0, unit), place(0, unit) + padded, gradient.by_shown);
    store_dual(place(1, unit), place(1, unit) + padded, c);
    add_tangent(gain_sums + unit, gradient.by_shown * c);
    add_tangent(bias_sums + unit, gradient.by_shown);
  }
  const auto scaled = [&](Index unit) { return kept_dual(0, unit) * gain(unit); };
  DualNormGradient<T> norm;
  norm.template take<1>(scaled, [&](Index unit) { return kept_dual(1, unit); }, blocks, s.hidden, 0, of_c.scale);
  for (Index block = 0; block < blocks; ++block) {
    const TangentCell<T> cell(s.extras, s.peephole_tangent, block);
    const Index unit = block * lanes;
    const D by_c = norm.of(scaled(unit), kept_dual(1, unit), real_units<T>(s.hidden, block));
    const D z_o = load_dual<P>(s.dgates.value[row] + z_o_at(block), s.dgates.tangent[row] + z_o_at(block));
    put_gate_tangents<T>(s, cell, row, block, KeptTangent<T>(s, row, block), z_o, by_c);
  }
  tangent_product_backward(s, row, blocks, norms.gain_h, tangents.gain_h, s.norm_h, 2, s.dgates_h.value[row],
                           s.dgates_h.tangent[row], s.norm_sums[row] + width);
  tangent_product_backward(s, row, blocks, norms.gain_x, tangents.gain_x, s.norm_x, 0, s.dgates.value[row],
                           s.dgates.tangent[row], s.norm_sums[row]);
}

template <class T>
void tangent_forward(const TangentForward<T>& s) {
  const Index blocks = (s.hidden + lanes_of<T> - 1) / lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    if (s.norms != nullptr) {
      tangent_normed_row_forward(s, row, blocks);
    } else {
      tangent_row_forward(s, row, blocks);
    }
  }
}

template <class T>
void tangent_backward(const TangentBackward<T>& s) {
  const Index blocks = (s.hidden + lanes_of<T> - 1) / lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    if (s.norms != nullptr) {
      tangent_normed_row_backward(s, row, blocks);
    } else {
      tangent_row_backward(s, row, blocks);
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
