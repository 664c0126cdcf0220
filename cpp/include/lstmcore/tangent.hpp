// Directional derivatives of an LSTM's outputs, and of its gradients: products with the Jacobian, and second
// derivatives.
//
// A direction has a tangent for each of x, the weights and the initial state; absent views stand for zeros. With f the
// forward, J its Jacobian and t the direction, `forward` computes y = f and the Jacobian-vector product y' = J t. With
// dy the gradient of a loss with respect to the outputs and dy' its derivative along the direction, `backward` computes
// the gradients J^T dy and their derivative along the direction, d/de J(. + e t)^T (dy + e dy') at e = 0 (forward over
// reverse; Pearlmutter 1994). For a loss L of the outputs with dy = L' and dy' = L'' y', this derivative is the product
// of L's Hessian with t.
//
// The Hessian is symmetric. So with dy' = 0 the derivative is also the gradient of <t, J^T dy> with respect to x, the
// weights and the state, which is what differentiating a gradient once more requires; the gradient of <t, J^T dy> with
// respect to dy is y'.
//
// Where an activation or a clip has a kink, the first derivative is that of one side and the second derivative is zero,
// as is usual in automatic differentiation.
//
// Same bits as elsewhere: values and gradients are those of Lstm. Tangents do not depend on the number of threads;
// except for tangents of weight gradients, they do not depend on the other rows of the batch either.
#pragma once

#include <lstmcore/lstm.hpp>
#include <memory>

namespace lstmcore {

/// What a forward with tangents stores for its one backward; compare LstmTape.
template <class T>
class LstmTangentTape {
 public:
  LstmTangentTape();
  ~LstmTangentTape();
  LstmTangentTape(LstmTangentTape&&) noexcept;
  LstmTangentTape& operator=(LstmTangentTape&&) noexcept;

  /// True between a forward and its backward.
  bool ready() const;
  /// Bytes of memory in use.
  std::size_t bytes() const;

  struct Impl;

 private:
  friend class LstmTangent<T>;
  std::unique_ptr<Impl> impl_;
};

/// An LSTM with tangents of its weights. Immutable; any number of threads may call it at once.
template <class T>
class LstmTangent {
 public:
  /// `weights`: tangents of the weights of `lstm`, with the same shapes, which are copied; an empty list and absent
  /// views stand for zeros.
  LstmTangent(const Lstm<T>& lstm, const LstmWeights<T>& weights);

  const LstmConfig& config() const;

  /// The training forward of Lstm, with tangents. `x_tangent` (N, T, C), any strides, is not read past a row's length;
  /// `y_tangent` is like `y`, and `state_tangent` is read and written like `state`. Throws std::invalid_argument if the
  /// sequence asks for recomputation: tangents need a complete tape.
  void forward(const LstmSequence<T>& sequence, View<const T, 3> x_tangent, View<T, 3> y, View<T, 3> y_tangent,
               const LstmState<T>& state, const LstmState<T>& state_tangent, LstmTangentTape<T>& tape) const;

  /// The gradients that Lstm::backward computes, and their tangents; those whose view is absent are not computed.
  /// Consumes the tape. Throws std::invalid_argument if the tape is not ready or was filled by another LstmTangent.
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
