// The equations of the cell on one vector of hidden units, forward and backward side by side; no loops, no memory.
//
// They are written once, for three kinds of cells and the numbers that these compute with: `PlainCell` and `ValueCell`,
// with `Value`, and `TangentCell`, with `Dual`. The cell says how its gates are activated, whether it has peepholes or
// coupled gates, and where c is clipped. What it says by a constant costs nothing: the code of a plain cell is that of
// the bare equations.
#pragma once

#include "kernel_table.hpp"
#include "numbers.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::CellOptions;

/// The input of a gate's activation in the forward of tangents. The tape holds the activation itself, so that only its
/// tangent is still to be computed, and the pre-activation's value is not needed.
template <class P>
struct KnownActivation {
  P value;    ///< of the activation
  P tangent;  ///< of the pre-activation
};

/// z + weight * state, for a peephole.
template <class P>
EIGEN_ALWAYS_INLINE Value<P> with_peephole(const Value<P>& z, const Value<P>& weight, const Value<P>& state) {
  return multiply_add(weight, state, z);
}
template <class P>
EIGEN_ALWAYS_INLINE KnownActivation<P> with_peephole(const KnownActivation<P>& z, const Dual<P>& weight,
                                                     const Dual<P>& state) {
  return {z.value, ei::padd(z.tangent, (weight * state).tangent)};
}

/// An activation function with its parameters and the bound of its argument (0: none). `usual` is the function that is
/// most likely; see `usually_activate`.
template <LstmFunction usual, class T>
struct Activation {
  using P = PacketOf<T>;
  LstmFunction function;
  T alpha, beta, limit;

  EIGEN_ALWAYS_INLINE Value<P> at(const Value<P>& x) const {
    return {usually_activate<usual>(function, bounded(x.value, limit), alpha, beta)};
  }
  EIGEN_ALWAYS_INLINE Dual<P> at(const Dual<P>& x) const {
    return at(KnownActivation<P>{activate(function, bounded(x.value, limit), alpha, beta), x.tangent});
  }
  EIGEN_ALWAYS_INLINE Dual<P> at(const KnownActivation<P>& x) const {
    return {x.value, ei::pmul(bounded_slope<usual>(function, x.value, alpha, beta, limit), x.tangent)};
  }

  /// The derivative with respect to the unclipped argument, from y, the function's value.
  EIGEN_ALWAYS_INLINE Value<P> slope_of(const Value<P>& y) const {
    return {bounded_slope<usual>(function, y.value, alpha, beta, limit)};
  }
  /// Where the argument was clipped, y has no tangent, and the slope has none either.
  EIGEN_ALWAYS_INLINE Dual<P> slope_of(const Dual<P>& y) const {
    return {bounded_slope<usual>(function, y.value, alpha, beta, limit),
            ei::pmul(bend(function, y.value, alpha, beta), y.tangent)};
  }
};

/// sigmoid, tanh or the cheaper approximation of either, known when this is compiled.
template <LstmFunction function, class P>
struct PlainActivation {
  static constexpr bool is_sigmoid = function == LstmFunction::sigmoid || function == LstmFunction::fast_sigmoid;

  EIGEN_ALWAYS_INLINE Value<P> at(const Value<P>& x) const {
    if constexpr (function == LstmFunction::fast_sigmoid) return {vfast_sigmoid(x.value)};
    if constexpr (function == LstmFunction::fast_tanh) return {vfast_tanh(x.value)};
    return {is_sigmoid ? vsigmoid(x.value) : vtanh(x.value)};
  }
  EIGEN_ALWAYS_INLINE Value<P> slope_of(const Value<P>& y) const {
    const Value<P> one{constant<P>(1.0)};
    return is_sigmoid ? y * (one - y) : one - y * y;
  }
};

/// The cell without options, or (`fast`) with the cheaper activations and no other option.
template <class T, bool fast = false>
struct PlainCell {
  using V = Value<PacketOf<T>>;
  using Gate = PlainActivation<fast ? LstmFunction::fast_sigmoid : LstmFunction::sigmoid, PacketOf<T>>;
  using Tanh = PlainActivation<fast ? LstmFunction::fast_tanh : LstmFunction::tanh, PacketOf<T>>;

  static constexpr bool has_peepholes() { return false; }
  static constexpr bool coupled() { return false; }
  static constexpr T cell_clip() { return T(0); }
  static constexpr Gate gate() { return {}; }
  static constexpr Tanh candidate() { return {}; }
  static constexpr Tanh output() { return {}; }
  /// Never asked for: it only has to compile.
  EIGEN_ALWAYS_INLINE V peephole(int) const { return V::constant(constant<PacketOf<T>>(0.0)); }
  /// Units of padding have zero weights and no bias, so that tanh(z) is 0 already.
  EIGEN_ALWAYS_INLINE V real(const V& x) const { return x; }
};

/// What cells with options have in common.
template <class T>
struct OptionsCell {
  const CellOptions<T>& options;

  EIGEN_ALWAYS_INLINE bool coupled() const { return options.coupled; }
  EIGEN_ALWAYS_INLINE T cell_clip() const { return options.cell_clip; }
  EIGEN_ALWAYS_INLINE Activation<LstmFunction::sigmoid, T> gate() const {
    return {options.gate, options.alpha[0], options.beta[0], options.gate_clip};
  }
  EIGEN_ALWAYS_INLINE Activation<LstmFunction::tanh, T> candidate() const {
    return {options.cell, options.alpha[1], options.beta[1], options.gate_clip};
  }
  EIGEN_ALWAYS_INLINE Activation<LstmFunction::tanh, T> output() const {
    return {options.output, options.alpha[2], options.beta[2], options.output_clip};
  }
};

/// A cell with options, on one block of hidden units. The options are tested for each vector, which costs little
/// compared with its work: a template for each combination would have multiplied the code, and a single option costs
/// only 0 to 19 % of a layer's time.
template <class T>
struct ValueCell : OptionsCell<T> {
  using P = PacketOf<T>;
  using V = Value<P>;
  const T* peepholes;  ///< [i, f, o][V] of the block; null: none
  Index units;         ///< real hidden units from the block's first one on

  EIGEN_ALWAYS_INLINE ValueCell(const kernels::CellExtras<T>& extras, Index block, Index hidden)
      : OptionsCell<T>{*extras.options},
        peepholes(extras.peephole != nullptr ? extras.peephole + 3 * block * lanes_of<T> : nullptr),
        units(hidden - block * lanes_of<T>) {}

  EIGEN_ALWAYS_INLINE bool has_peepholes() const { return peepholes != nullptr; }
  /// Of the gates i, f and o, which are 0, 1 and 2 here.
  EIGEN_ALWAYS_INLINE V peephole(int which) const { return load_value<P>(peepholes + which * lanes_of<T>); }
  /// x with zeros in the units of padding: c stays 0 there, whatever an activation makes of 0.
  EIGEN_ALWAYS_INLINE V real(const V& x) const {
    if (units >= lanes_of<T>) return x;
    alignas(64) T lanes[lanes_of<T>] = {};
    store_part(lanes, x.value, units);
    return {ei::pload<P>(lanes)};
  }
  /// The order of the two additions is part of the bits of the results, here and in TangentCell.
  EIGEN_ALWAYS_INLINE V add_peepholes(V d_before, const V& z_i, const V& z_f) const {
    d_before = multiply_add(z_i, peephole(0), d_before);
    return multiply_add(z_f, peephole(1), d_before);
  }
};

/// The same in dual numbers.
template <class T>
struct TangentCell : OptionsCell<T> {
  using P = PacketOf<T>;
  using V = Dual<P>;
  const T *peepholes, *peephole_tangents;  ///< as in ValueCell

  EIGEN_ALWAYS_INLINE TangentCell(const kernels::CellExtras<T>& extras, const T* tangents, Index block)
      : OptionsCell<T>{*extras.options},
        peepholes(extras.peephole != nullptr ? extras.peephole + 3 * block * lanes_of<T> : nullptr),
        peephole_tangents(extras.peephole != nullptr ? tangents + 3 * block * lanes_of<T> : nullptr) {}

  EIGEN_ALWAYS_INLINE bool has_peepholes() const { return peepholes != nullptr; }
  EIGEN_ALWAYS_INLINE V peephole(int which) const {
    return load_dual<P>(peepholes + which * lanes_of<T>, peephole_tangents + which * lanes_of<T>);
  }
  /// The tape's activations and the tangents of pre-activations are 0 in the units of padding.
  EIGEN_ALWAYS_INLINE V real(const V& x) const { return x; }
  EIGEN_ALWAYS_INLINE V add_peepholes(V d_before, const V& z_i, const V& z_f) const {
    d_before = multiply_add(z_f, peephole(1), d_before);
    return multiply_add(z_i, peephole(0), d_before);
  }
};

/// The gates of one vector of hidden units, and c before zoneout.
template <class V>
struct FreshCell {
  V i, f, g, o, c;
};

/// i, f, o = sigmoid(z), g = tanh(z), c = f c' + i g; with peepholes i and f see c', and o sees c. `Z` is V, or
/// KnownActivation for dual numbers.
template <class Cell, class Z, class V>
EIGEN_ALWAYS_INLINE FreshCell<V> fresh_cell(const Cell& cell, Z z_i, Z z_f, const Z& z_g, Z z_o, const V& before) {
  FreshCell<V> fresh;
  if (cell.has_peepholes()) {
    z_i = with_peephole(z_i, cell.peephole(0), before);
    z_f = with_peephole(z_f, cell.peephole(1), before);
  }
  fresh.f = cell.gate().at(z_f);
  if (cell.coupled()) {
    fresh.i = V::constant(constant<typename V::Packet>(1.0)) - fresh.f;
  } else {
    fresh.i = cell.gate().at(z_i);
  }
  fresh.g = cell.real(cell.candidate().at(z_g));
  fresh.c = bounded(multiply_add(fresh.f, before, fresh.i * fresh.g), cell.cell_clip());
  if (cell.has_peepholes()) z_o = with_peephole(z_o, cell.peephole(2), fresh.c);
  fresh.o = cell.gate().at(z_o);
  return fresh;
}

/// h = o r(shown), where `shown` is c, or the layer norm's result of c.
template <class Cell, class V>
EIGEN_ALWAYS_INLINE V fresh_output(const Cell& cell, const V& o, const V& shown) {
  return o * cell.output().at(shown);
}

/// What the backward knows of one vector of hidden units. `free` is c before its clip.
template <class V>
struct TapedCell {
  V i, f, g, o, before, free, c;
};

/// From the tape's gates: c before zoneout, with the bits of the forward.
template <class Cell, class V>
EIGEN_ALWAYS_INLINE TapedCell<V> taped_cell(const Cell& cell, const V& i, const V& f, const V& g, const V& o,
                                            const V& before) {
  const V free = multiply_add(f, before, i * g);
  return {i, f, g, o, before, free, bounded(free, cell.cell_clip())};
}

/// The gradients with respect to o's pre-activation and, as two factors, to `shown`.
template <class V>
struct OutputGradient {
  V z_o, d_r, slope;
  EIGEN_ALWAYS_INLINE V shown() const { return d_r * slope; }
};

template <class Cell, class V>
EIGEN_ALWAYS_INLINE OutputGradient<V> output_gradient(const Cell& cell, const V& o, const V& shown, const V& d_h) {
  const V r = cell.output().at(shown);
  return {d_h * r * cell.gate().slope_of(o), d_h * o, cell.output().slope_of(r)};
}

/// The gradients with respect to the other pre-activations, and to c before its clip.
template <class V>
struct GateGradients {
  V z_i, z_f, z_g, free;
};

/// `d_c`: with respect to c, from h and from the step after.
template <class Cell, class V>
EIGEN_ALWAYS_INLINE GateGradients<V> gate_gradients(const Cell& cell, const TapedCell<V>& taped, const V& z_o, V d_c) {
  if (cell.has_peepholes()) d_c = multiply_add(z_o, cell.peephole(2), d_c);
  d_c = inside(taped.free, cell.cell_clip(), d_c);
  const V d_i = d_c * taped.g;
  V d_f = d_c * taped.before, z_i = V::constant(ei::pzero(d_c.value));
  if (cell.coupled()) {
    d_f = d_f - d_i;
  } else {
    z_i = d_i * cell.gate().slope_of(taped.i);
  }
  const V z_f = d_f * cell.gate().slope_of(taped.f);
  const V z_g = d_c * taped.i * cell.candidate().slope_of(taped.g);
  return {z_i, z_f, z_g, d_c};
}

/// The gradient with respect to c'; `passed`: what zoneout passes on to it.
template <class Cell, class V>
EIGEN_ALWAYS_INLINE V gradient_before(const Cell& cell, const TapedCell<V>& taped, const GateGradients<V>& gradients,
                                      const V& passed) {
  const V d_before = multiply_add(gradients.free, taped.f, passed);
  return cell.has_peepholes() ? cell.add_peepholes(d_before, gradients.z_i, gradients.z_f) : d_before;
}

/// Zoneout: `fresh`, or `before` where `mask` is not 0; without a mask, the expectation.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> zoned_out(const PacketOf<T>& fresh, const PacketOf<T>& before, const T* mask, T rate) {
  using P = PacketOf<T>;
  if (mask != nullptr) return ei::pselect(ei::pcmp_eq(ei::ploadu<P>(mask), ei::pzero(fresh)), fresh, before);
  const P share = ei::pset1<P>(rate);
  return ei::pmadd(share, before, ei::pmul(ei::psub(constant<P>(1.0), share), fresh));
}

/// Its backward: returns the gradient with respect to the fresh value; `passed` becomes the one with respect to the
/// value before.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> zoneout_gradient(const PacketOf<T>& gradient, const T* mask, T rate,
                                                 PacketOf<T>& passed) {
  using P = PacketOf<T>;
  if (mask == nullptr) {
    const P share = ei::pset1<P>(rate);
    passed = ei::pmul(share, gradient);
    return ei::pmul(ei::psub(constant<P>(1.0), share), gradient);
  }
  const P zero = ei::pzero(gradient);
  const P is_fresh = ei::pcmp_eq(ei::ploadu<P>(mask), zero);
  passed = ei::pselect(is_fresh, zero, gradient);
  return ei::pselect(is_fresh, gradient, zero);
}
template <class T>
EIGEN_ALWAYS_INLINE Value<PacketOf<T>> zoneout_gradient(const Value<PacketOf<T>>& gradient, const T* mask, T rate,
                                                        Value<PacketOf<T>>& passed) {
  return {zoneout_gradient<T>(gradient.value, mask, rate, passed.value)};
}
template <class T>
EIGEN_ALWAYS_INLINE Dual<PacketOf<T>> zoneout_gradient(const Dual<PacketOf<T>>& gradient, const T* mask, T rate,
                                                       Dual<PacketOf<T>>& passed) {
  return {zoneout_gradient<T>(gradient.value, mask, rate, passed.value),
          zoneout_gradient<T>(gradient.tangent, mask, rate, passed.tangent)};
}

/// The mask of one vector, where masks are row pointers or null.
template <class T>
EIGEN_ALWAYS_INLINE const T* mask_of(const T* const* rows, Index row, Index unit) {
  return rows != nullptr ? rows[row] + unit : nullptr;
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
