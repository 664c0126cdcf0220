// The operations around an LSTM that would be slow in Python: layers, losses and optimizer steps. Every result has the
// same bits for any number of threads. Views must be contiguous (row-major); outputs are written, not added to;
// arguments are checked before anything is written (std::invalid_argument). T is float or double.
//
// Letters: M rows (N, or N * T flattened), C input features, U units or classes, S labels of a sequence, V vocabulary,
// E embedding width, K steps of a kernel, F its filters.
#pragma once

#include <array>
#include <cstdint>
#include <lstmcore/tensor.hpp>
#include <memory>

namespace lstmcore {

// ---- embedding

/// y[m] = table[ids[m]]. table (V, E), ids (M) in 0..V-1, y (M, E).
template <class T>
void embedding_forward(View<const T, 2> table, View<const std::int64_t, 1> ids, View<T, 2> y);

/// dtable[v] = sum of dy[m] over all m with ids[m] == v, in the order of m; rows that no id names are zero.
template <class T>
void embedding_backward(View<const std::int64_t, 1> ids, View<const T, 2> dy, View<T, 2> dtable);

// ---- dense

enum class Activation { linear, relu, tanh, sigmoid, softmax };

/// y = activation(x kernel + bias). x (M, C), kernel (C, U), bias (U) or absent, y (M, U).
template <class T>
void dense_forward(View<const T, 2> x, View<const T, 2> kernel, View<const T, 1> bias, Activation activation,
                   View<T, 2> y);

/// From y, the result of the forward, and dy: dx (M, C), dkernel (C, U), dbias (U); each may be absent.
template <class T>
void dense_backward(View<const T, 2> x, View<const T, 2> kernel, View<const T, 2> y, View<const T, 2> dy,
                    Activation activation, View<T, 2> dx, View<T, 2> dkernel, View<T, 1> dbias);

// ---- windows over time: convolution and pooling

/// Where the first and the last window of a sequence lie; see Windows.
enum class Padding { valid, same, causal };

/// Windows of `size` steps that lie `dilation` apart; the first steps of neighbouring windows are `stride` apart.
/// valid: as many as lie within the sequence. same: ceil(steps / stride) windows; the padding that they need is divided
/// between the two ends of the sequence, an odd step going to the end. causal: as many as same, with the last step of
/// each window at a multiple of `stride`, so that no window looks ahead. (Keras' definitions.) A convolution reads
/// padding as zeros; a maximum ignores it.
struct Windows {
  std::int64_t size = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  Padding padding = Padding::valid;

  /// Throws std::invalid_argument unless all numbers are from 1 to 2^31 - 1.
  void validate() const;
  /// Steps from the first to the last step of a window, both included.
  std::int64_t span() const { return (size - 1) * dilation + 1; }
  /// Number of windows of a sequence of `steps` steps.
  std::int64_t count(std::int64_t steps) const;
  /// Number of steps by which the first window begins before the sequence.
  std::int64_t before(std::int64_t steps) const;
};

/// y[n, t] = activation(bias + sum over k of x[n, step k of window t] kernel[k]). Each row is treated as if it were
/// alone: steps past its length count as zeros, and y is zero past its windows.count(lengths[n]) windows. x (N, T, C),
/// lengths (N) or absent (all T), kernel (K, C, F) with K windows.size, bias (F) or absent, y (N, windows.count(T), F).
template <class T>
void conv1d_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 3> kernel,
                    View<const T, 1> bias, const Windows& windows, Activation activation, View<T, 3> y);

/// From y, the result of the forward, and dy: dx (N, T, C), dkernel (K, C, F), dbias (F); each may be absent. dy past a
/// row's windows is ignored; dx is zero past a row's length.
template <class T>
void conv1d_backward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 3> kernel,
                     View<const T, 3> y, View<const T, 3> dy, const Windows& windows, Activation activation,
                     View<T, 3> dx, View<T, 3> dkernel, View<T, 1> dbias);

/// A convolution whose weights are packed once for many calls. It has the same bits as `conv1d_forward`, and allows any
/// number of zeros before and after the sequences. Immutable; any number of threads may use it at once, and copies
/// share the packed weights.
template <class T>
class PackedConvolution {
 public:
  /// kernel (K, C, F), bias (F) or absent.
  PackedConvolution(View<const T, 3> kernel, View<const T, 1> bias, std::int64_t stride, std::int64_t dilation,
                    Activation activation);

  /// (K, C, F).
  const std::array<std::int64_t, 3>& kernel_shape() const;
  /// Number of windows of a sequence of `steps` steps with `before` zeros in front of it and `after` behind it.
  std::int64_t count(std::int64_t steps, std::int64_t before, std::int64_t after) const;
  /// x (N, T, C), y (N, count(T, before, after), F); at least one window is required.
  void forward(View<const T, 3> x, std::int64_t before, std::int64_t after, View<T, 3> y) const;

 private:
  struct Packed;
  std::shared_ptr<const Packed> packed_;
};

/// y[n, t, c] = max of x[n, ., c] over window t, NaN if the window holds one; argmax[n, t, c] is the first step with
/// that value. Past a row's windows.count(lengths[n]) windows, y = 0 and argmax = -1. x (N, T, C), lengths (N) or
/// absent, y and argmax (N, windows.count(T), C); argmax may be absent. windows.dilation must be 1, windows.padding
/// valid or same.
template <class T>
void max_pool1d_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, const Windows& windows, View<T, 3> y,
                        View<std::int64_t, 3> argmax);
/// dx (N, T, C): the sum of dy over the windows whose argmax is this step, in the order of the windows.
template <class T>
void max_pool1d_backward(View<const std::int64_t, 3> argmax, View<const T, 3> dy, View<T, 3> dx);

// ---- layer normalization

/// y = (x - mean) / sqrt(variance + epsilon) * gain + shift, mean and variance of the C elements of each step (Ba et
/// al. 2016); zero past a row's length. x and y (N, T, C), lengths (N) or absent, gain and shift (C) or absent (1 and
/// 0), moments (N, T, 2) or absent: the mean and 1 / sqrt(variance + epsilon).
template <class T>
void layer_norm_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 1> gain,
                        View<const T, 1> shift, double epsilon, View<T, 3> y, View<T, 3> moments);
/// From the forward's moments and dy: dx (N, T, C), zero past a row's length, dgain (C), dshift (C); each may be
/// absent.
template <class T>
void layer_norm_backward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 1> gain,
                         View<const T, 3> moments, View<const T, 3> dy, View<T, 3> dx, View<T, 1> dgain,
                         View<T, 1> dshift);

// ---- losses: each returns a sum; the caller chooses what to divide it by

/// Sum over m of weights[m] * -log softmax(logits[m])[labels[m]]. logits (M, U), labels (M) in 0..U-1 (not read where
/// the weight is 0), weights (M) or absent (all 1; 0 masks a row). dlogits (M, U), if present, receives scale *
/// weights[m] * (softmax(logits[m]) - onehot(labels[m])).
template <class T>
double softmax_cross_entropy(View<const T, 2> logits, View<const std::int64_t, 1> labels, View<const T, 1> weights,
                             double scale, View<T, 2> dlogits);

/// The same with a distribution over classes, targets (M, U), instead of a label: sum of
/// weights[m] * -sum_u targets[m, u] * log softmax(logits[m])[u].
template <class T>
double softmax_cross_entropy(View<const T, 2> logits, View<const T, 2> targets, View<const T, 1> weights, double scale,
                             View<T, 2> dlogits);

/// Sum over m of weights[m] * mean_u (prediction - target)^2. prediction, target, dprediction (M, U); weights (M) or
/// absent. dprediction, if present, receives scale * weights[m] * 2 / U * (prediction - target).
template <class T>
double mean_squared_error(View<const T, 2> prediction, View<const T, 2> target, View<const T, 1> weights, double scale,
                          View<T, 2> dprediction);

/// Connectionist temporal classification (Graves et al. 2006): sum over n of weights[n] * -log p(labels of row n). p is
/// the sum over all alignments: sequences of a symbol for each step that are the labels once equal neighbours are one
/// and blanks are gone. A symbol u has the probability softmax(logits[n, t])[u] at step t. logits (N, T, U), lengths
/// (N) in 0..T or absent (all T), targets (N, S) in 0..U-1 without `blank`, of which the first target_lengths[n] count,
/// weights (N) or absent; a row of weight 0 is not read. A row without any alignment, such as one with more labels than
/// steps, has an infinite loss, or 0 with zero_infinite, and the gradient 0. dlogits (N, T, U), if present, receives
/// scale * weights[n] * (softmax(logits[n, t]) - the probability of each symbol at step t given the labels), 0 past a
/// row's length.
template <class T>
double ctc(View<const T, 3> logits, View<const std::int64_t, 1> lengths, View<const std::int64_t, 2> targets,
           View<const std::int64_t, 1> target_lengths, std::int64_t blank, View<const T, 1> weights, bool zero_infinite,
           double scale, View<T, 3> dlogits);

// ---- dropout and pooling

/// y[k] = x[k] / (1 - rate) where the counter-based mask (Philox 4x32-10 of Salmon et al. 2011, key `seed`, counter k)
/// keeps element k, else 0. The backward is the same call on dy. rate in [0, 1); x may be y.
template <class T>
void dropout(View<const T, 1> x, double rate, std::uint64_t seed, View<T, 1> y);

/// y[n, c] = max over t < lengths[n] of x[n, t, c]; argmax[n, c] the first such t, or -1 with y = 0 for length 0.
/// x (N, T, C), lengths (N) or absent (all T), y (N, C), argmax (N, C) or absent.
template <class T>
void max_over_time_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<T, 2> y,
                           View<std::int64_t, 2> argmax);
/// dx (N, T, C): dy at the step of argmax, else zero.
template <class T>
void max_over_time_backward(View<const std::int64_t, 2> argmax, View<const T, 2> dy, View<T, 3> dx);

/// y[n, c] = mean over t < lengths[n] of x[n, t, c]; 0 for length 0.
template <class T>
void mean_over_time_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<T, 2> y);
template <class T>
void mean_over_time_backward(View<const std::int64_t, 1> lengths, View<const T, 2> dy, View<T, 3> dx);

// ---- attention

/// Every query (n, s) attends to the steps t < lengths[n] of its own row: weights[n, s] = softmax over these t of
///
///   scale * queries[n, s] . keys[n, t]                                  without v (Luong et al. 2015)
///   scale * sum_u v[u] tanh(keys[n, t, u] + queries[n, s, u])           with v (Bahdanau et al. 2015)
/// and 0 for later t; context[n, s] = sum_t weights[n, s, t] values[n, t]. Weights and context are zero for rows of
/// length 0 and for queries s >= query_lengths[n]. Nothing past either length is read.
///
/// keys (N, T, U), queries (N, S, U), values (N, T, C), v (U) or absent, lengths (N) and query_lengths (N) or absent
/// (all), weights (N, S, T), context (N, S, C).
template <class T>
void attention_forward(View<const T, 3> keys, View<const T, 3> queries, View<const T, 3> values, View<const T, 1> v,
                       double scale, View<const std::int64_t, 1> lengths, View<const std::int64_t, 1> query_lengths,
                       View<T, 3> weights, View<T, 3> context);
/// From the forward's weights and dcontext (N, S, C): the gradients with respect to keys, queries, values and v, each
/// with the shape of its argument and zero past the lengths; dv is absent if v is.
template <class T>
void attention_backward(View<const T, 3> keys, View<const T, 3> queries, View<const T, 3> values, View<const T, 1> v,
                        double scale, View<const std::int64_t, 1> lengths, View<const std::int64_t, 1> query_lengths,
                        View<const T, 3> weights, View<const T, 3> dcontext, View<T, 3> dkeys, View<T, 3> dqueries,
                        View<T, 3> dvalues, View<T, 1> dv);

// ---- optimizer steps over flat parameters (size P)

/// velocity = momentum * velocity - learning_rate * gradient; parameter += velocity, or, with nesterov, parameter +=
/// momentum * velocity - learning_rate * gradient (Sutskever et al. 2013, in Keras' form). velocity may be absent if
/// momentum is 0.
template <class T>
void sgd_step(View<T, 1> parameter, View<const T, 1> gradient, View<T, 1> velocity, double learning_rate,
              double momentum, bool nesterov);

/// mean_square = rho * mean_square + (1 - rho) * gradient^2; parameter -= learning_rate * gradient /
/// (sqrt(mean_square) + epsilon) (Tieleman & Hinton 2012, with epsilon outside the root, as in PyTorch).
template <class T>
void rmsprop_step(View<T, 1> parameter, View<const T, 1> gradient, View<T, 1> mean_square, double learning_rate,
                  double rho, double epsilon);

/// Adam (Kingma & Ba 2015) with decoupled weight decay (AdamW, Loshchilov & Hutter 2019); `step` counts from 1:
/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; parameter -= learning_rate * (weight_decay * parameter +
/// m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon)).
template <class T>
void adam_step(View<T, 1> parameter, View<const T, 1> gradient, View<T, 1> m, View<T, 1> v, std::int64_t step,
               double learning_rate, double beta1, double beta2, double epsilon, double weight_decay);

/// Sum of squares, accumulated in double in a fixed order.
template <class T>
double squared_norm(View<const T, 1> values);

/// values *= factor.
template <class T>
void scale(View<T, 1> values, double factor);

/// values = min(max(values, -limit), limit); NaN stays NaN.
template <class T>
void clip(View<T, 1> values, double limit);

}  // namespace lstmcore
