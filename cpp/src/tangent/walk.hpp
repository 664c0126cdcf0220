// The walks of one direction of a layer in values and tangents. The values' forward has run, and its tape is filled.
#pragma once

#include "../sequence/walk.hpp"
#include "panels.hpp"

namespace lstmcore {

/// Rows of values, and their tangents in the same places of another array.
template <class T>
struct DualMap {
  RowMap<T> value, tangent;

  DualMap shifted(Index columns) const { return {value.shifted(columns), tangent.shifted(columns)}; }
};

/// What one direction of a layer stores. Rows of x and h are at (time, sorted row), others at (step, sorted row).
template <class T>
struct DualCell {
  bool reversed = false;
  DualMap<T> x;                         ///< `input` elements
  DualMap<T> h0, c0;                    ///< `state` and Hp elements; the first index is not used
  DualMap<T> gates;                     ///< 4 Hp elements, activations
  DualMap<T> c;                         ///< Hp elements
  DualMap<T> h;                         ///< `state` elements
  DualMap<T> m;                         ///< H elements, with a projection
  T proj_clip = 0;                      ///< of the projection
  CellVariant<T> variant;               ///< has options even if the cell is a plain one
  const T* peephole_tangent = nullptr;  ///< packed, or null
  RowMap<const T> h_factor;             ///< padded `state` elements: the mask of recurrent dropout, or absent
  DualMap<T> h0_masked, h_masked;  ///< `state` elements, with recurrent dropout: h0 and h as the product reads them
  // With layer norms.
  DualMap<T> norm_x, norm_h;  ///< 4 Hp elements: W x and U h'
  DualMap<T> statistics;      ///< of the norms
  kernels::CellNorms<T> norms_tangent{};
};

/// Computes the tangents of gates, c, h, m, h_masked and what norms store. `bias`: its tangent, [block][4][V].
template <class T>
void tangent_forward(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                     const TangentForwardPanels<T>& weights, const T* bias);

/// Gradients and their tangents, in and out. Rows are at (time, sorted row).
template <class T>
struct DualGradients {
  DualMap<T> dy;      ///< `state` elements
  DualMap<T> dh, dc;  ///< padded `state` and Hp elements per row: in: of the final state, out: of the initial one
  DualMap<T> dx;      ///< `input` elements; absent: not wanted
  bool add_dx = false;
  LstmCellWeights<T> weights;  ///< tangents of the gradients with respect to the weights; absent: not computed
};

/// Walks back over all steps. `values`: the panels of the plain backward, on which those of `weights` were stacked.
template <class T>
void tangent_backward(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                      const BackwardPanels<T>& values, const TangentBackwardPanels<T>& weights,
                      const DualGradients<T>& gradients);

}  // namespace lstmcore
