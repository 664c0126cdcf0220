// Weights packed together with their tangents.
#pragma once

#include "../packing/cell_weights.hpp"

namespace lstmcore {

/// The packed factor B of a product, stacked on its tangent B'. With rows (a', a) side by side,
///
///   (a', a) [B; B'] = a' B + a B',
///
/// which is the tangent of a B. `depth` and `columns` are those of B.
template <class T>
struct StackedPanels {
  Index depth = 0, columns = 0;
  Buffer<T> panels;

  StackedPanels() = default;
  StackedPanels(Index factor_depth, Index factor_columns, kernels::PanelLayout layout, const Buffer<T>& value,
                const Buffer<T>& tangent);
};

/// For the forward of one layer and direction.
template <class T>
struct TangentForwardPanels {
  StackedPanels<T> x, h, projection;

  TangentForwardPanels(const CellShape& shape, const ForwardPanels<T>& value, const ForwardPanels<T>& tangent);
};

/// For its backward: the same weights as right factors of the gradients with respect to the pre-activations and to the
/// projection's result.
template <class T>
struct TangentBackwardPanels {
  StackedPanels<T> x, h, projection;

  TangentBackwardPanels(const CellShape& shape, const BackwardPanels<T>& value, const BackwardPanels<T>& tangent);
};

/// The weights' tangents packed like weights; absent ones are zeros.
template <class T>
ForwardPanels<T> pack_tangent(const LstmConfig& config, const CellShape& shape, LstmCellWeights<const T> weights);

}  // namespace lstmcore
