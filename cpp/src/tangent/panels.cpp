#include "panels.hpp"

#include "../packing/pack.hpp"

namespace lstmcore {

template <class T>
StackedPanels<T>::StackedPanels(Index factor_depth, Index factor_columns, PanelLayout layout, const Buffer<T>& value,
                                const Buffer<T>& tangent)
    : depth(factor_depth), columns(factor_columns), panels(value.size() + tangent.size()) {
  const T *from_value = value.data(), *from_tangent = tangent.data();
  T* to = panels.data();
  for (Index first = 0; first < columns; first += layout.strip) {
    const Index size = depth * layout.width(first, columns);
    to = std::copy(from_value, from_value + size, to);
    to = std::copy(from_tangent, from_tangent + size, to);
    from_value += size;
    from_tangent += size;
  }
}

template <class T>
TangentForwardPanels<T>::TangentForwardPanels(const CellShape& shape, const ForwardPanels<T>& value,
                                              const ForwardPanels<T>& tangent)
    : x(shape.input, shape.gates_width(), shape.layout(), value.x, tangent.x),
      h(shape.state, shape.gates_width(), shape.layout(), value.h, tangent.h) {
  if (shape.projected) projection = {shape.hidden, shape.state, shape.layout(), value.projection, tangent.projection};
}

template <class T>
TangentBackwardPanels<T>::TangentBackwardPanels(const CellShape& shape, const BackwardPanels<T>& value,
                                                const BackwardPanels<T>& tangent)
    : x(shape.gates_width(), shape.input, shape.layout(), value.x, tangent.x),
      h(shape.gates_width(), shape.state, shape.layout(), value.h, tangent.h) {
  if (shape.projected) projection = {shape.state, shape.hidden, shape.layout(), value.projection, tangent.projection};
}

template <class T>
ForwardPanels<T> pack_tangent(const LstmConfig& config, const CellShape& shape, LstmCellWeights<const T> weights) {
  const T zero(0);
  const Index gates = 4 * shape.hidden;
  if (!weights.weight_ih) weights.weight_ih = {&zero, {gates, shape.input}, {0, 0}};
  if (!weights.weight_hh) weights.weight_hh = {&zero, {gates, shape.state}, {0, 0}};
  if (config.peephole && !weights.peephole) weights.peephole = {&zero, {3 * shape.hidden}, {0}};
  if (shape.projected && !weights.weight_hr) weights.weight_hr = {&zero, {shape.state, shape.hidden}, {0, 0}};
  return ForwardPanels<T>(shape, weights);
}

template struct StackedPanels<float>;
template struct StackedPanels<double>;
template struct TangentForwardPanels<float>;
template struct TangentForwardPanels<double>;
template struct TangentBackwardPanels<float>;
template struct TangentBackwardPanels<double>;
template ForwardPanels<float> pack_tangent(const LstmConfig&, const CellShape&, LstmCellWeights<const float>);
template ForwardPanels<double> pack_tangent(const LstmConfig&, const CellShape&, LstmCellWeights<const double>);

}  // namespace lstmcore
