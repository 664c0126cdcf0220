// The weights of one layer and direction, packed for the kernels.
#pragma once

#include <algorithm>
#include <lstmcore/lstm.hpp>
#include <utility>

#include "../kernels/kernel_table.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/threads.hpp"
#include "lowp_panels.hpp"

namespace lstmcore {

using Index = std::int64_t;

/// Sizes of a cell in the kernels' layout. A block of hidden units fills one panel: V units of four gates, or 4 V units
/// of the single sum of a simple RNN (`rnn.hpp`), which has no c.
struct CellShape {
  Index input = 0;   ///< features of x
  Index hidden = 0;  ///< H
  Index state = 0;   ///< features of h: P with a projection, else H
  Index lanes = 0;   ///< V
  Index strip = 0;   ///< columns of a strip of a packed factor
  bool projected = false;
  bool normed = false;       ///< layer norms
  Arithmetic arithmetic{};   ///< of the products
  Index gates = gate_count;  ///< 4, or 1 in a simple RNN

  bool simple() const { return gates == 1; }
  kernels::PanelLayout layout() const { return {lanes, strip}; }
  Index block_units() const { return kernels::panel_vectors * lanes / gates; }
  Index blocks() const { return (hidden + block_units() - 1) / block_units(); }
  Index padded() const { return (hidden + lanes - 1) / lanes * lanes; }  ///< Hp
  Index state_padded() const { return (state + lanes - 1) / lanes * lanes; }
  Index block_width() const { return kernels::panel_vectors * lanes; }
  Index gates_width() const { return gates * padded(); }  ///< 4 Hp, or Hp in a simple RNN
  /// Columns of some blocks in a row of gates. Only the last block of a simple RNN may have fewer than a panel.
  Range columns_of(Range some) const {
    return {some.begin * block_width(), std::min(some.end * block_width(), gates_width())};
  }
  /// Hidden units of some blocks, without padding.
  Range units_of(Range some) const { return {some.begin * block_units(), std::min(some.end * block_units(), hidden)}; }
  /// Elements of the packed weights, without biases and peepholes.
  Index weight_elements() const {
    return gates_width() * (input + state) + (projected ? layout().elements(hidden, state) : 0);
  }
  // A row of gradients: with respect to the pre-activations; with layer norms, also with respect to W x, U h' and the
  // normed c, and the normed c itself.
  Index gradients_width() const { return normed ? 3 * gates_width() + 2 * padded() : gates_width(); }
  Index x_gradients() const { return normed ? gates_width() : 0; }
  Index h_gradients() const { return normed ? 2 * gates_width() : 0; }
};

/// Calls visit(column, gate row, units) for some gates of a block: the first column among the block's 4 V columns, the
/// first row in a (4H, ...) matrix, and how many of the block's hidden units are real. Peephole weights have three
/// gates.
template <class Visit>
void visit_gates(const CellShape& shape, Index block, Index gates, Visit&& visit) {
  const Range units = shape.units_of({block, block + 1});
  for (Index gate = 0; gate < gates; ++gate) {
    visit(gate * shape.lanes, gate * shape.hidden + units.begin, units.size());
  }
}
/// The same for all gates.
template <class Visit>
void visit_gates(const CellShape& shape, Index block, Visit&& visit) {
  visit_gates(shape, block, shape.gates, std::forward<Visit>(visit));
}

/// For the forward: panels over hidden units, the four gates of a block of V units side by side. In a simple RNN, plain
/// panels of 4 V units, of which the last may have fewer vectors.
template <class T>
struct ForwardPanels {
  Buffer<T> x;           ///< [block][input][4][V]
  Buffer<T> h;           ///< [block][state][4][V]
  Buffer<T> bias;        ///< [block][4][V]
  Buffer<T> peephole;    ///< [block][i, f, o][V]; empty: none
  Buffer<T> projection;  ///< panels of depth H, columns are features of h; empty: none
  Buffer<T> norms;       ///< [block][4][V] of W x, the same of U h', then gain and bias of c, [Hp] each; empty: none
  /// The same for products of a lower precision; empty: float32. Quantized ones replace x, h and projection; with
  /// split ones these remain, for rows that cannot be split and for packing the backward's panels.
  LowpPanels x_lowp, h_lowp, projection_lowp;

  ForwardPanels() = default;
  ForwardPanels(const CellShape& shape, const LstmCellWeights<const T>& weights);
  /// A copy with dropout of the recurrent weights; `seed` selects the stream of random numbers of the mask.
  ForwardPanels with_dropout(const CellShape& shape, double rate, std::uint64_t seed) const;
  /// Memory of the matrices, without that of vectors.
  std::size_t bytes() const {
    return x.bytes() + h.bytes() + projection.bytes() + x_lowp.bytes() + h_lowp.bytes() + projection_lowp.bytes();
  }

 private:
  void make_lowp(const CellShape& shape);
};

/// Pointers to the gains and biases of the layer norms.
template <class T>
kernels::CellNorms<T> norms_of(const CellShape& shape, const ForwardPanels<T>& weights, T epsilon) {
  const T* const gains = weights.norms.data();
  const T* const of_c = gains + 2 * shape.gates_width();
  return {epsilon, gains, gains + shape.gates_width(), of_c, of_c + shape.padded()};
}

/// For the backward: the same weights as factors of dgates (depth 4 Hp, in the layout of a row of gates).
template <class T>
struct BackwardPanels {
  Buffer<T> x;                                 ///< columns are input features
  Buffer<T> h;                                 ///< columns are features of h
  Buffer<T> projection;                        ///< of depth P, columns are hidden units; empty: none
  LowpPanels x_lowp, h_lowp, projection_lowp;  ///< as in the forward

  BackwardPanels() = default;
  BackwardPanels(const CellShape& shape, const ForwardPanels<T>& forward);
};

/// Copies the gradients of some blocks' weights from the kernels' layout, [column][4 Hp] with columns of x or h, into a
/// matrix (4H, columns).
template <class T>
void unpack_gradient(const CellShape& shape, const T* transposed, Range blocks, const View<T, 2>& gradient);

/// The same for vectors: from [4 Hp] into (4H), or from [3 Hp] into (3H).
template <class T>
void unpack_gradient(const CellShape& shape, const T* row, Range blocks, const View<T, 1>& gradient, Index gates);

}  // namespace lstmcore
