// Directional derivatives of an LSTM's outputs, and of its gradients: products with the Jacobian, and second
// derivatives.
//
// A direction is a tangent for each of x, the weights and the initial state; absent views stand for zeros. With f the
// forward, J its derivative and t the direction, `forward` computes y = f and y' = J t. With dy the gradient of a loss
// by the outputs and dy' its derivative along the direction, `backward` computes the gradients J^T dy and their
// derivative along the direction, d/de J(. + e t)^T (dy + e dy') at e = 0 (forward over reverse; Pearlmutter 1994). So
// for a loss L of the outputs with dy = L' and dy' = L'' y' the latter is the product of L's Hessian with t.
//
// The Hessian is symmetric. So with dy' = 0 it is also the gradient of <t, J^T dy> by x, the weights and the state, as
// a gradient that is differentiated once more asks for; the gradient of the same by dy is y'.
//
// Where an activation or a bound has a bend, slopes are those of one of its sides and the bend itself counts for
// nothing, as everywhere in the field.
//
// Same bits as elsewhere: values and gradients are those of Lstm; tangents depend neither on the number of threads nor,
// but for those by the weights, on which other rows are in the batch.
#pragma once

#include <lstmcore/lstm.hpp>
#include <memory>

namespace lstmcore {

/// What a forward with tangents keeps for its one backward; compare LstmTape.
template <class T>
class LstmTangentTape {
 public:
  LstmTangentTape();
  ~LstmTangentTape();
  LstmTangentTape(LstmTangentTape&&) noexcept;
  LstmTangentTape& operator=(LstmTangentTape&&) noexcept;

  /// True between a forward and its backward.
  bool ready() const;
  /// Bytes held.
  std::size_t bytes() const;

  struct Impl;

 private:
  friend class LstmTangent<T>;
  std::unique_ptr<Impl> impl_;
};

/// An LSTM and a direction of its weights. Immutable; any number of threads may call it at once.
template <class T>
class LstmTangent {
 public:
  /// `weights`: tangents of the weights of `lstm`, in their shapes; empty, or with absent views: zeros. They are
  /// copied.
  LstmTangent(const Lstm<T>& lstm, const LstmWeights<T>& weights);

  const LstmConfig& config() const;

  /// A training forward, beside that of Lstm. `x_tangent` (N, T, C), any strides, is not read past a row's length;
  /// `y_tangent` is like `y`, and `state_tangent` is read and written like `state`. Throws std::invalid_argument if the
  /// sequence asks for recomputation: the walks of the tangents need all that a tape can hold.
  void forward(const LstmSequence<T>& sequence, View<const T, 3> x_tangent, View<T, 3> y, View<T, 3> y_tangent,
               const LstmState<T>& state, const LstmState<T>& state_tangent, LstmTangentTape<T>& tape) const;

  /// Gradients as Lstm::backward gives them, and their tangents, of which absent views are not computed. Consumes the
  /// tape. Throws std::invalid_argument if the tape is not ready or belongs to another LstmTangent.
  void backward(LstmTangentTape<T>& tape, const LstmOutputGradients<T>& outputs,
                const LstmOutputGradients<T>& outputs_tangent, const LstmInputGradients<T>& inputs,
                const LstmInputGradients<T>& inputs_tangent) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

extern template class LstmTangent<float>;
extern template class LstmTangent<double>;
extern template class LstmTangentTape<float>;
extern template class LstmTangentTape<double>;

}  // namespace lstmcore
