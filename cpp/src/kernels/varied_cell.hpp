// The cell with its variants: peepholes, coupled gates, other activations, clips, zoneout. Which of them are at work is
// asked once per vector of hidden units, which is little beside the work on it.
#pragma once

#include "activations.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::CellExtras;
using kernels::CellOptions;
using kernels::StepBackward;
using kernels::StepForward;

/// The same bound on both sides; NaN stays. 0: none.
template <class P>
EIGEN_ALWAYS_INLINE P bounded(const P& x, ScalarOf<P> limit) {
  if (!(limit > 0)) return x;
  const P high = ei::pset1<P>(limit), low = ei::pnegate(high);
  return ei::pselect(ei::pcmp_lt(high, x), high, ei::pselect(ei::pcmp_lt(x, low), low, x));
}

/// `slope` where x is inside the bound, else 0.
template <class P>
EIGEN_ALWAYS_INLINE P inside(const P& x, ScalarOf<P> limit, const P& slope) {
  if (!(limit > 0)) return slope;
  return ei::pselect(ei::pcmp_lt(ei::pabs(x), ei::pset1<P>(limit)), slope, ei::pzero(x));
}

/// log(1 + exp(x)) = max(x, 0) + log1p(u) with u = exp(-|x|); log1p(u) = 2 artanh(s) with s = u / (2 + u), at most 1/3,
/// whose series 2 s (1 + s^2/3 + s^4/5 + ...) gains a digit a term.
template <class P>
EIGEN_ALWAYS_INLINE P vsoftplus(const P& x) {
  constexpr int terms = sizeof(ScalarOf<P>) == 4 ? 8 : 18;
  const P zero = ei::pzero(x);
  const P u = vexp(ei::pnegate(ei::pabs(x)));
  const P s = ei::pdiv(u, ei::padd(constant<P>(2.0), u));
  const P square = ei::pmul(s, s);
  P series = constant<P>(1.0 / (2 * terms - 1));
  for (int term = terms - 1; term > 0; --term) series = ei::pmadd(series, square, constant<P>(1.0 / (2 * term - 1)));
  return ei::pmadd(ei::padd(s, s), series, ei::pselect(ei::pcmp_lt(x, zero), zero, x));
}

/// exp(x) - 1 for x <= 0, from t = tanh(x / 2): 2 t / (1 - t).
template <class P>
EIGEN_ALWAYS_INLINE P vexpm1_negative(const P& x) {
  const P t = vtanh(ei::pmul(x, constant<P>(0.5)));
  return ei::pdiv(ei::padd(t, t), ei::psub(constant<P>(1.0), t));
}

template <class P>
EIGEN_DONT_INLINE P activate(LstmFunction function, const P& x, ScalarOf<P> alpha, ScalarOf<P> beta) {
  const P a = ei::pset1<P>(alpha), b = ei::pset1<P>(beta), zero = ei::pzero(x), one = constant<P>(1.0);
  const P negative = ei::pcmp_lt(x, zero);
  switch (function) {
    case LstmFunction::sigmoid:
      return vsigmoid(x);
    case LstmFunction::tanh:
      return vtanh(x);
    case LstmFunction::relu:
      return ei::pselect(negative, zero, x);
    case LstmFunction::leaky_relu:
      return ei::pselect(negative, ei::pmul(a, x), x);
    case LstmFunction::elu:
      return ei::pselect(negative, ei::pmul(a, vexpm1_negative(ei::pselect(negative, x, zero))), x);
    case LstmFunction::hard_sigmoid: {
      const P line = ei::pmadd(a, x, b);
      return ei::pselect(ei::pcmp_lt(line, zero), zero, ei::pselect(ei::pcmp_lt(one, line), one, line));
    }
    case LstmFunction::softsign:
      return ei::pdiv(x, ei::padd(one, ei::pabs(x)));
    case LstmFunction::softplus:
      return vsoftplus(x);
    case LstmFunction::affine:
      return ei::pmadd(a, x, b);
    case LstmFunction::scaled_tanh:
      return ei::pmul(a, vtanh(ei::pmul(b, x)));
    case LstmFunction::thresholded_relu:
      return ei::pselect(ei::pcmp_lt(a, x), x, ei::pselect(ei::pcmp_eq(x, x), zero, x));
    case LstmFunction::linear:
      break;
  }
  return x;
}

/// The slope, from the function's value.
template <class P>
EIGEN_DONT_INLINE P slope(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta) {
  const P a = ei::pset1<P>(alpha), zero = ei::pzero(y), one = constant<P>(1.0);
  const P positive = ei::pcmp_lt(zero, y);
  switch (function) {
    case LstmFunction::sigmoid:
      return ei::pmul(y, ei::psub(one, y));
    case LstmFunction::tanh:
      return ei::psub(one, ei::pmul(y, y));
    case LstmFunction::relu:
      return ei::pselect(positive, one, zero);
    case LstmFunction::leaky_relu:
      return ei::pselect(positive, one, a);
    case LstmFunction::elu:
      return ei::pselect(positive, one, ei::padd(y, a));
    case LstmFunction::hard_sigmoid:
      return ei::pselect(positive, ei::pselect(ei::pcmp_lt(y, one), a, zero), zero);
    case LstmFunction::softsign: {
      const P rest = ei::psub(one, ei::pabs(y));
      return ei::pmul(rest, rest);
    }
    case LstmFunction::softplus:
      return ei::pnegate(vexpm1_negative(ei::pnegate(y)));  // 1 - exp(-y)
    case LstmFunction::affine:
      return a;
    case LstmFunction::scaled_tanh: {
      // alpha beta (1 - (y / alpha)^2)
      const P share = ei::pdiv(y, a);
      return ei::pmul(ei::pmul(a, ei::pset1<P>(beta)), ei::psub(one, ei::pmul(share, share)));
    }
    case LstmFunction::thresholded_relu:
      return ei::pselect(ei::pcmp_eq(y, zero), zero, one);
    case LstmFunction::linear:
      break;
  }
  return one;
}

/// The same where `usual`, sigmoid or tanh, is the most likely: it is spared the call, which costs about as much as
/// some of the functions.
template <LstmFunction usual, class P>
EIGEN_ALWAYS_INLINE P usually_activate(LstmFunction function, const P& x, ScalarOf<P> alpha, ScalarOf<P> beta) {
  if (function != usual) return activate(function, x, alpha, beta);
  return usual == LstmFunction::sigmoid ? vsigmoid(x) : vtanh(x);
}
template <LstmFunction usual, class P>
EIGEN_ALWAYS_INLINE P usual_slope(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta) {
  if (function != usual) return slope(function, y, alpha, beta);
  const P one = constant<P>(1.0);
  return usual == LstmFunction::sigmoid ? ei::pmul(y, ei::psub(one, y)) : ei::psub(one, ei::pmul(y, y));
}

template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> gate_of(const CellOptions<T>& o, const PacketOf<T>& z) {
  return usually_activate<LstmFunction::sigmoid>(o.gate, bounded(z, o.gate_clip), o.alpha[0], o.beta[0]);
}
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> candidate_of(const CellOptions<T>& o, const PacketOf<T>& z) {
  return usually_activate<LstmFunction::tanh>(o.cell, bounded(z, o.gate_clip), o.alpha[1], o.beta[1]);
}

/// Of an activation's value, the gradient by what its bound was applied to: where the bound held, the value is that of
/// one of its ends.
template <LstmFunction usual, class P>
EIGEN_ALWAYS_INLINE P bounded_slope(LstmFunction function, const P& y, ScalarOf<P> alpha, ScalarOf<P> beta,
                                    ScalarOf<P> limit) {
  const P free = usual_slope<usual>(function, y, alpha, beta);
  if (!(limit > 0)) return free;
  const P high = activate(function, ei::pset1<P>(limit), alpha, beta);
  const P low = activate(function, ei::pset1<P>(-limit), alpha, beta);
  const P at_end = ei::por(ei::pcmp_eq(y, high), ei::pcmp_eq(y, low));
  return ei::pselect(at_end, ei::pzero(y), free);
}

/// `fresh`, or `before` where it is kept; without a mask, the expectation.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> zoned_out(const PacketOf<T>& fresh, const PacketOf<T>& before, const T* kept, T rate) {
  using P = PacketOf<T>;
  if (kept != nullptr) return ei::pselect(ei::pcmp_eq(ei::ploadu<P>(kept), ei::pzero(fresh)), fresh, before);
  const P share = ei::pset1<P>(rate);
  return ei::pmadd(share, before, ei::pmul(ei::psub(constant<P>(1.0), share), fresh));
}

/// The gates and c of one vector of hidden units, before zoneout.
template <class P>
struct FreshCell {
  P i, f, g, out, c;
};

/// From the pre-activations. `peephole`: of the block, or null; `units`: real ones from here on.
template <class T, class P = PacketOf<T>>
EIGEN_ALWAYS_INLINE FreshCell<P> fresh_cell(const CellOptions<T>& o, const T* peephole, Index units, const P& before,
                                            P z_i, P z_f, const P& z_g, P z_o) {
  constexpr Index lanes = lanes_of<T>;
  FreshCell<P> cell;
  if (peephole != nullptr) {
    z_i = ei::pmadd(ei::ploadu<P>(peephole), before, z_i);
    z_f = ei::pmadd(ei::ploadu<P>(peephole + lanes), before, z_f);
  }
  cell.f = gate_of(o, z_f);
  cell.i = o.coupled ? ei::psub(constant<P>(1.0), cell.f) : gate_of(o, z_i);
  cell.g = candidate_of(o, z_g);
  if (units < lanes) {
    // No unit is there: c stays 0, whatever an activation makes of 0.
    alignas(64) T real[lanes] = {};
    store_part(real, cell.g, units);
    cell.g = ei::pload<P>(real);
  }
  cell.c = bounded(ei::pmadd(cell.f, before, ei::pmul(cell.i, cell.g)), o.cell_clip);
  if (peephole != nullptr) z_o = ei::pmadd(ei::ploadu<P>(peephole + 2 * lanes), cell.c, z_o);
  cell.out = gate_of(o, z_o);
  return cell;
}

/// Stores c, and h = out * r(shown), both after zoneout.
template <class T, class P = PacketOf<T>>
EIGEN_ALWAYS_INLINE void put_state(const StepForward<T>& s, Index row, Index unit, const P& before, P c, const P& out,
                                   const P& shown) {
  const CellOptions<T>& o = *s.extras.options;
  const Index units = s.hidden - unit;
  P h = ei::pmul(out, usually_activate<LstmFunction::tanh>(o.output, shown, o.alpha[2], o.beta[2]));
  if (s.extras.kept_c != nullptr || o.zoneout_c > 0) {
    c = zoned_out<T>(c, before, s.extras.kept_c != nullptr ? s.extras.kept_c[row] + unit : nullptr, o.zoneout_c);
  }
  if (s.extras.kept_h != nullptr || o.zoneout_h > 0) {
    h = zoned_out<T>(h, load_some<P>(s.h_last[row] + unit, units),
                     s.extras.kept_h != nullptr ? s.extras.kept_h[row] + unit : nullptr, o.zoneout_h);
  }
  ei::pstoreu(s.c[row] + unit, c);
  store_some(s.h[row] + unit, h, units);
  if (s.y != nullptr) store_some(s.y[row] + unit, h, units);
  if (s.h_fed != nullptr) {
    store_some(s.h_fed[row] + unit, ei::pmul(h, ei::ploadu<P>(s.h_factor[row] + unit)), units);
  }
}

template <class T, class P>
EIGEN_ALWAYS_INLINE void store_gates(T* gates, const FreshCell<P>& cell) {
  constexpr Index lanes = lanes_of<T>;
  ei::pstoreu(gates, cell.i);
  ei::pstoreu(gates + lanes, cell.f);
  ei::pstoreu(gates + 2 * lanes, cell.g);
  ei::pstoreu(gates + 3 * lanes, cell.out);
}

/// One vector of hidden units of row `row`; `gates` holds the pre-activations i, f, g, o.
template <class T>
EIGEN_DONT_INLINE void varied_cell_forward(const StepForward<T>& s, Index row, Index block, T* gates) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const Index unit = block * lanes;
  const P before = ei::ploadu<P>(s.c_prev[row] + unit);
  const T* const peephole = s.extras.peephole != nullptr ? s.extras.peephole + 3 * unit : nullptr;
  const FreshCell<P> cell =
      fresh_cell<T>(*s.extras.options, peephole, s.hidden - unit, before, ei::ploadu<P>(gates),
                    ei::ploadu<P>(gates + lanes), ei::ploadu<P>(gates + 2 * lanes), ei::ploadu<P>(gates + 3 * lanes));
  if (s.keep_gates) store_gates(gates, cell);
  put_state<T>(s, row, unit, before, cell.c, cell.out, cell.c);
}

/// The share of a gradient that belongs to the fresh value; what belongs to the one before goes to `passed`. Without a
/// mask, of the expectation.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> zoneout_gradient(const PacketOf<T>& gradient, const T* kept, T rate,
                                                 PacketOf<T>& passed) {
  using P = PacketOf<T>;
  if (kept == nullptr) {
    const P share = ei::pset1<P>(rate);
    passed = ei::pmul(share, gradient);
    return ei::pmul(ei::psub(constant<P>(1.0), share), gradient);
  }
  const P zero = ei::pzero(gradient);
  const P is_fresh = ei::pcmp_eq(ei::ploadu<P>(kept), zero);
  passed = ei::pselect(is_fresh, zero, gradient);
  return ei::pselect(is_fresh, gradient, zero);
}

/// The gates of one vector of hidden units as the forward left them, and c before zoneout, with the forward's bits.
template <class T>
struct KeptCell {
  using P = PacketOf<T>;
  P i, f, g, out, before, free, c;

  EIGEN_ALWAYS_INLINE KeptCell(const StepBackward<T>& s, Index row, Index block) {
    constexpr Index lanes = lanes_of<T>;
    const T* const gates = s.gates[row] + block * kernels::panel_vectors * lanes;
    i = ei::ploadu<P>(gates);
    f = ei::ploadu<P>(gates + lanes);
    g = ei::ploadu<P>(gates + 2 * lanes);
    out = ei::ploadu<P>(gates + 3 * lanes);
    before = ei::ploadu<P>(s.c_prev[row] + block * lanes);
    free = ei::pmadd(f, before, ei::pmul(i, g));
    c = bounded(free, s.extras.options->cell_clip);
  }
};

template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> gate_slope(const CellOptions<T>& o, const PacketOf<T>& y) {
  return bounded_slope<LstmFunction::sigmoid>(o.gate, y, o.alpha[0], o.beta[0], o.gate_clip);
}

/// dh + dy, without what zoneout passes on to h before the step.
template <class T>
EIGEN_ALWAYS_INLINE PacketOf<T> fresh_h_gradient(const StepBackward<T>& s, Index row, Index unit) {
  using P = PacketOf<T>;
  P d_h = ei::ploadu<P>(s.dh[row] + unit);
  if (s.dy != nullptr) d_h = ei::padd(d_h, load_some<P>(s.dy[row] + unit, s.hidden - unit));
  const CellOptions<T>& o = *s.extras.options;
  if (s.extras.kept_h == nullptr && !(o.zoneout_h > 0)) return d_h;
  P passed;
  d_h =
      zoneout_gradient<T>(d_h, s.extras.kept_h != nullptr ? s.extras.kept_h[row] + unit : nullptr, o.zoneout_h, passed);
  ei::pstoreu(s.dh_kept[row] + unit, passed);
  return d_h;
}

/// From the gradients by o's pre-activation, z_o, and by c through h, `by_output`, those by the other pre-activations
/// and by c before the step.
template <class T>
EIGEN_ALWAYS_INLINE void put_gate_gradients(const StepBackward<T>& s, Index row, Index block, const KeptCell<T>& cell,
                                            const PacketOf<T>& z_o, const PacketOf<T>& by_output) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const CellOptions<T>& o = *s.extras.options;
  const Index unit = block * lanes;
  P d_c = ei::ploadu<P>(s.dc[row] + unit), passed_c = ei::pzero(d_c);
  if (s.extras.kept_c != nullptr || o.zoneout_c > 0) {
    d_c = zoneout_gradient<T>(d_c, s.extras.kept_c != nullptr ? s.extras.kept_c[row] + unit : nullptr, o.zoneout_c,
                              passed_c);
  }
  d_c = ei::padd(by_output, d_c);
  const T* const peephole = s.extras.peephole != nullptr ? s.extras.peephole + 3 * unit : nullptr;
  if (peephole != nullptr) d_c = ei::pmadd(z_o, ei::ploadu<P>(peephole + 2 * lanes), d_c);
  d_c = inside(cell.free, o.cell_clip, d_c);

  const P d_i = ei::pmul(d_c, cell.g);
  P d_f = ei::pmul(d_c, cell.before), z_i = ei::pzero(d_c);
  if (o.coupled) {
    d_f = ei::psub(d_f, d_i);
  } else {
    z_i = ei::pmul(d_i, gate_slope(o, cell.i));
  }
  const P z_f = ei::pmul(d_f, gate_slope(o, cell.f));
  const P z_g = ei::pmul(ei::pmul(d_c, cell.i),
                         bounded_slope<LstmFunction::tanh>(o.cell, cell.g, o.alpha[1], o.beta[1], o.gate_clip));
  P d_before = ei::pmadd(d_c, cell.f, passed_c);
  if (peephole != nullptr) {
    d_before = ei::pmadd(z_i, ei::ploadu<P>(peephole), d_before);
    d_before = ei::pmadd(z_f, ei::ploadu<P>(peephole + lanes), d_before);
  }
  T* const dgates = s.dgates[row] + block * kernels::panel_vectors * lanes;
  ei::pstoreu(dgates, z_i);
  ei::pstoreu(dgates + lanes, z_f);
  ei::pstoreu(dgates + 2 * lanes, z_g);
  ei::pstoreu(dgates + 3 * lanes, z_o);
  ei::pstoreu(s.dc[row] + unit, d_before);
}

template <class T>
EIGEN_DONT_INLINE void varied_cell_backward(const StepBackward<T>& s, Index row, Index block) {
  using P = PacketOf<T>;
  const CellOptions<T>& o = *s.extras.options;
  const KeptCell<T> cell(s, row, block);
  const P d_h = fresh_h_gradient(s, row, block * lanes_of<T>);
  const P r = usually_activate<LstmFunction::tanh>(o.output, cell.c, o.alpha[2], o.beta[2]);
  const P z_o = ei::pmul(ei::pmul(d_h, r), gate_slope(o, cell.out));
  const P by_output =
      ei::pmul(ei::pmul(d_h, cell.out), usual_slope<LstmFunction::tanh>(o.output, r, o.alpha[2], o.beta[2]));
  put_gate_gradients(s, row, block, cell, z_o, by_output);
}

template <class T>
void add_peephole(const T* dgates, const T* gates, const T* c_prev, T cell_clip, T* sums, Index blocks) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const auto add = [&](Index gate, const P& factor, T* sum) {
    ei::pstoreu(sum, ei::pmadd(ei::ploadu<P>(dgates + gate * lanes), factor, ei::ploadu<P>(sum)));
  };
  for (Index block = 0; block < blocks; ++block) {
    const P before = ei::ploadu<P>(c_prev);
    const P input = ei::pmul(ei::ploadu<P>(gates), ei::ploadu<P>(gates + 2 * lanes));
    add(0, before, sums);
    add(1, before, sums + lanes);
    // What o looked at: c before zoneout.
    add(3, bounded(ei::pmadd(ei::ploadu<P>(gates + lanes), before, input), cell_clip), sums + 2 * lanes);
    dgates += kernels::panel_vectors * lanes;
    gates += kernels::panel_vectors * lanes;
    c_prev += lanes;
    sums += 3 * lanes;
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
