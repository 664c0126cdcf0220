// The cell on the rows of a step: loads, the equations of `cell.hpp`, stores. Plain cells and cells with options,
// forward and backward side by side.
#pragma once

#include "cell.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {
namespace {

using kernels::StepBackward;
using kernels::StepForward;

/// The first element of a vector of hidden units in a row of gates.
template <class T>
constexpr Index gates_at(Index block) {
  return block * kernels::panel_vectors * lanes_of<T>;
}

template <class V, class T>
EIGEN_ALWAYS_INLINE void store_gates(T* gates, const FreshCell<V>& cell) {
  constexpr Index lanes = lanes_of<T>;
  ei::pstoreu(gates, cell.i.value);
  ei::pstoreu(gates + lanes, cell.f.value);
  ei::pstoreu(gates + 2 * lanes, cell.g.value);
  ei::pstoreu(gates + 3 * lanes, cell.o.value);
}

template <class V, class T>
EIGEN_ALWAYS_INLINE void store_gradients(T* dgates, const GateGradients<V>& gradients, const V& z_o) {
  constexpr Index lanes = lanes_of<T>;
  ei::pstoreu(dgates, gradients.z_i.value);
  ei::pstoreu(dgates + lanes, gradients.z_f.value);
  ei::pstoreu(dgates + 2 * lanes, gradients.z_g.value);
  ei::pstoreu(dgates + 3 * lanes, z_o.value);
}

/// `fresh_cell` of the pre-activations in `gates`, i, f, g, o.
template <class Cell, class T, class V = typename Cell::V>
EIGEN_ALWAYS_INLINE FreshCell<V> fresh_cell_of(const Cell& cell, const T* gates, const V& before) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  return fresh_cell(cell, load_value<P>(gates), load_value<P>(gates + lanes), load_value<P>(gates + 2 * lanes),
                    load_value<P>(gates + 3 * lanes), before);
}

// ---- the plain cell

template <class T, bool fast, bool Keep>
EIGEN_ALWAYS_INLINE void plain_vector_forward(T* gates, const T* c_prev, T* c, T* h, T* y, Index units) {
  using P = PacketOf<T>;
  const PlainCell<T, fast> plain;
  const auto cell = fresh_cell_of(plain, gates, load_value<P>(c_prev));
  const P output = fresh_output(plain, cell.o, cell.c).value;
  if (Keep) store_gates(gates, cell);
  ei::pstoreu(c, cell.c.value);
  store_some(h, output, units);
  if (y != nullptr) store_some(y, output, units);
}

template <bool fast, class T>
EIGEN_ALWAYS_INLINE void plain_cell_forward(const StepForward<T>& s, Index row, Index block, T* gates) {
  const Index unit = block * lanes_of<T>;
  T* const y = s.y != nullptr ? s.y[row] + unit : nullptr;
  const Index units = s.hidden - unit;
  const T* const c_prev = s.c_prev[row] + unit;
  if (s.keep_gates) {
    plain_vector_forward<T, fast, true>(gates, c_prev, s.c[row] + unit, s.h[row] + unit, y, units);
  } else {
    plain_vector_forward<T, fast, false>(gates, c_prev, s.c[row] + unit, s.h[row] + unit, y, units);
  }
}

/// The plain cells of `rows` x `blocks`, in two passes, first c, then h. In one pass, h would wait for the tanh of c,
/// which waits for the gates, and a processor looks only one or two cells ahead for other work. `gates` then holds all
/// activations, or only o.
template <bool fast, bool Keep, class T>
EIGEN_ALWAYS_INLINE void plain_cells_in_passes(const StepForward<T>& s, Index row, Index rows, Index block,
                                               Index blocks, T* const* gates) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const PlainCell<T, fast> plain;
  for (Index r = 0; r < rows; ++r) {
    const T* const c_prev = s.c_prev[row + r] + block * lanes;
    T* const c = s.c[row + r] + block * lanes;
    for (Index b = 0; b < blocks; ++b) {
      T* const own = gates[r] + gates_at<T>(b);
      const auto cell = fresh_cell_of(plain, own, load_value<P>(c_prev + b * lanes));
      if (Keep) {
        store_gates(own, cell);
      } else {
        ei::pstoreu(own + 3 * lanes, cell.o.value);
      }
      ei::pstoreu(c + b * lanes, cell.c.value);
    }
  }
  for (Index r = 0; r < rows; ++r) {
    for (Index b = 0; b < blocks; ++b) {
      const Index unit = (block + b) * lanes;
      const auto o = load_value<P>(gates[r] + gates_at<T>(b) + 3 * lanes);
      const P h = fresh_output(plain, o, load_value<P>(s.c[row + r] + unit)).value;
      store_some(s.h[row + r] + unit, h, s.hidden - unit);
      if (s.y != nullptr) store_some(s.y[row + r] + unit, h, s.hidden - unit);
    }
  }
}

template <bool fast, class T>
EIGEN_ALWAYS_INLINE void plain_cells_forward(const StepForward<T>& s, Index row, Index rows, Index block, Index blocks,
                                             T* const* gates) {
  if (rows * blocks == 1) {
    plain_cell_forward<fast>(s, row, block, gates[0]);
  } else if (s.keep_gates) {
    plain_cells_in_passes<fast, true>(s, row, rows, block, blocks, gates);
  } else {
    plain_cells_in_passes<fast, false>(s, row, rows, block, blocks, gates);
  }
}

/// Without zoneout, the stored c is the fresh one, so it is read and not computed again. The plain cell also needs its
/// own driver for its bits: it computes the gradient with respect to c by one multiply-add, where a cell with options
/// adds a rounded product, which may have come through a layer norm; and it adds nothing from zoneout to the gradient
/// with respect to c'.
template <class T>
EIGEN_ALWAYS_INLINE void plain_cell_backward(const StepBackward<T>& s, Index row, Index block) {
  using P = PacketOf<T>;
  using V = Value<P>;
  constexpr Index lanes = lanes_of<T>;
  const PlainCell<T> plain;
  const Index unit = block * lanes;
  const T* const gates = s.gates[row] + gates_at<T>(block);
  const V c = load_value<P>(s.c[row] + unit);
  const TapedCell<V> taped{load_value<P>(gates),
                           load_value<P>(gates + lanes),
                           load_value<P>(gates + 2 * lanes),
                           load_value<P>(gates + 3 * lanes),
                           load_value<P>(s.c_prev[row] + unit),
                           c,
                           c};
  V d_h = load_value<P>(s.dh[row] + unit);
  if (s.dy != nullptr) d_h = d_h + V{load_some<P>(s.dy[row] + unit, s.hidden - unit)};
  const auto output = output_gradient(plain, taped.o, c, d_h);
  const V d_c = multiply_add(output.d_r, output.slope, load_value<P>(s.dc[row] + unit));
  const auto gradients = gate_gradients(plain, taped, output.z_o, d_c);
  store_gradients(s.dgates[row] + gates_at<T>(block), gradients, output.z_o);
  ei::pstoreu(s.dc[row] + unit, (gradients.free * taped.f).value);
}

// ---- the cell with options

/// Stores c, and h = o r(shown), both after zoneout.
template <class T, class V = Value<PacketOf<T>>>
EIGEN_ALWAYS_INLINE void put_state(const StepForward<T>& s, const ValueCell<T>& cell, Index row, Index unit,
                                   const V& before, const V& fresh_c, const V& o, const V& shown) {
  using P = PacketOf<T>;
  const CellOptions<T>& options = cell.options;
  const Index units = s.hidden - unit;
  P h = fresh_output(cell, o, shown).value, c = fresh_c.value;
  if (s.extras.c_masks != nullptr || options.zoneout_c > 0) {
    c = zoned_out<T>(c, before.value, mask_of(s.extras.c_masks, row, unit), options.zoneout_c);
  }
  if (s.extras.h_masks != nullptr || options.zoneout_h > 0) {
    h = zoned_out<T>(h, load_some<P>(s.h_last[row] + unit, units), mask_of(s.extras.h_masks, row, unit),
                     options.zoneout_h);
  }
  ei::pstoreu(s.c[row] + unit, c);
  store_some(s.h[row] + unit, h, units);
  if (s.y != nullptr) store_some(s.y[row] + unit, h, units);
  if (s.h_masked != nullptr) {
    store_some(s.h_masked[row] + unit, ei::pmul(h, ei::ploadu<P>(s.h_factor[row] + unit)), units);
  }
}

/// Whether a step differs from a plain one only in its cheaper activations.
template <class T>
bool only_fast(const StepForward<T>& s) {
  const kernels::CellExtras<T>& extras = s.extras;
  return extras.options->only_fast() && extras.peephole == nullptr && extras.h_masks == nullptr &&
         extras.c_masks == nullptr && s.h_masked == nullptr;
}

/// One vector of hidden units of row `row`; `gates` holds the pre-activations i, f, g, o.
template <class T>
EIGEN_DONT_INLINE void varied_cell_forward(const StepForward<T>& s, Index row, Index block, T* gates) {
  using P = PacketOf<T>;
  const Index unit = block * lanes_of<T>;
  const auto before = load_value<P>(s.c_prev[row] + unit);
  const ValueCell<T> cell(s.extras, block, s.hidden);
  const auto fresh = fresh_cell_of(cell, gates, before);
  if (s.keep_gates) store_gates(gates, fresh);
  put_state(s, cell, row, unit, before, fresh.c, fresh.o, fresh.c);
}

template <class T, class V = Value<PacketOf<T>>>
EIGEN_ALWAYS_INLINE TapedCell<V> taped_cell_of(const StepBackward<T>& s, const ValueCell<T>& cell, Index row,
                                               Index block) {
  using P = PacketOf<T>;
  constexpr Index lanes = lanes_of<T>;
  const T* const gates = s.gates[row] + gates_at<T>(block);
  return taped_cell(cell, load_value<P>(gates), load_value<P>(gates + lanes), load_value<P>(gates + 2 * lanes),
                    load_value<P>(gates + 3 * lanes), load_value<P>(s.c_prev[row] + block * lanes));
}

/// dh + dy, without what zoneout passes on to h before the step.
template <class T, class V = Value<PacketOf<T>>>
EIGEN_ALWAYS_INLINE V fresh_h_gradient(const StepBackward<T>& s, Index row, Index unit) {
  using P = PacketOf<T>;
  V d_h = load_value<P>(s.dh[row] + unit);
  if (s.dy != nullptr) d_h = d_h + V{load_some<P>(s.dy[row] + unit, s.hidden - unit)};
  const CellOptions<T>& options = *s.extras.options;
  if (s.extras.h_masks == nullptr && !(options.zoneout_h > 0)) return d_h;
  V passed;
  d_h = zoneout_gradient<T>(d_h, mask_of(s.extras.h_masks, row, unit), options.zoneout_h, passed);
  ei::pstoreu(s.dh_passed[row] + unit, passed.value);
  return d_h;
}

/// Stores the gradients with respect to all pre-activations and to c before the step. `z_o`: with respect to o's
/// pre-activation; `by_output`: with respect to c, through h.
template <class T, class V = Value<PacketOf<T>>>
EIGEN_ALWAYS_INLINE void put_gate_gradients(const StepBackward<T>& s, const ValueCell<T>& cell, Index row, Index block,
                                            const TapedCell<V>& taped, const V& z_o, const V& by_output) {
  using P = PacketOf<T>;
  const CellOptions<T>& options = cell.options;
  const Index unit = block * lanes_of<T>;
  V d_c = load_value<P>(s.dc[row] + unit), passed = V::constant(ei::pzero(d_c.value));
  if (s.extras.c_masks != nullptr || options.zoneout_c > 0) {
    d_c = zoneout_gradient<T>(d_c, mask_of(s.extras.c_masks, row, unit), options.zoneout_c, passed);
  }
  const auto gradients = gate_gradients(cell, taped, z_o, by_output + d_c);
  const V d_before = gradient_before(cell, taped, gradients, passed);
  store_gradients(s.dgates[row] + gates_at<T>(block), gradients, z_o);
  ei::pstoreu(s.dc[row] + unit, d_before.value);
}

template <class T>
EIGEN_DONT_INLINE void varied_cell_backward(const StepBackward<T>& s, Index row, Index block) {
  const ValueCell<T> cell(s.extras, block, s.hidden);
  const auto taped = taped_cell_of(s, cell, row, block);
  const auto d_h = fresh_h_gradient(s, row, block * lanes_of<T>);
  const auto output = output_gradient(cell, taped.o, taped.c, d_h);
  put_gate_gradients(s, cell, row, block, taped, output.z_o, output.shown());
}

/// sums[block][i, f, o][V] += one row's gradients with respect to the peephole weights.
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
    // The peephole of o sees c before zoneout.
    add(3, bounded(ei::pmadd(ei::ploadu<P>(gates + lanes), before, input), cell_clip), sums + 2 * lanes);
    dgates += gates_at<T>(1);
    gates += gates_at<T>(1);
    c_prev += lanes;
    sums += 3 * lanes;
  }
}

// ---- either

// Without noclone, GCC would compile a copy for every shape of tile that is known at a call.
#if defined(__GNUC__) && !defined(__clang__)
#define LSTMCORE_NO_CLONE [[gnu::noclone]]
#else
#define LSTMCORE_NO_CLONE
#endif

/// The cells of `rows` x `blocks`, whose pre-activations are in `gates`. Not inlined into the tiles: the code would be
/// repeated for every shape.
template <class T>
LSTMCORE_NO_CLONE EIGEN_DONT_INLINE void cells_forward(const StepForward<T>& s, Index row, Index rows, Index block,
                                                       Index blocks, T* const* gates) {
  if (s.extras.options == nullptr) {
    plain_cells_forward<false>(s, row, rows, block, blocks, gates);
    return;
  }
  if (only_fast(s)) {
    plain_cells_forward<true>(s, row, rows, block, blocks, gates);
    return;
  }
  for (Index r = 0; r < rows; ++r) {
    for (Index b = 0; b < blocks; ++b) varied_cell_forward(s, row + r, block + b, gates[r] + gates_at<T>(b));
  }
}

template <class T>
void step_backward(const StepBackward<T>& s) {
  // Rows of dy may lie far apart, in batch-first order a whole sequence.
  constexpr Index ahead = 4, line = 64 / static_cast<Index>(sizeof(T));
  const Index begin = s.block_begin * lanes_of<T>, end = s.block_end * lanes_of<T>;
  for (Index row = 0; row < s.rows; ++row) {
    if (s.dy != nullptr && row + ahead < s.rows) {
      for (Index at = begin; at < end; at += line) ei::prefetch(s.dy[row + ahead] + at);
    }
    for (Index block = s.block_begin; block < s.block_end; ++block) {
      if (s.extras.options != nullptr) {
        varied_cell_backward(s, row, block);
      } else {
        plain_cell_backward(s, row, block);
      }
    }
  }
}

}  // namespace
}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
