// The contract of the LSTM: configuration, weights, forward, backward, streaming.
//
// Letters: N batch, T time steps, C input features, H hidden units, L layers, D directions (2 if bidirectional, else
// 1). Gate order is i, f, g, o everywhere. With x the input of a step, h' and c' the state before it:
//
//   i = sigmoid(W_i x + U_i h' + b_i)      f = sigmoid(W_f x + U_f h' + b_f)
//   g = tanh   (W_g x + U_g h' + b_g)      o = sigmoid(W_o x + U_o h' + b_o)
//   c = f * c' + i * g                     h = o * tanh(c)
//
// (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.) The backward is the exact gradient of these
// equations through all time steps.
//
// Same bits: on one instruction set, y and the states do not depend on the number of threads, on which other rows are
// in the batch, on padding, or on whether a sequence is run whole, in parts, or step by step. Weight gradients do not
// depend on the number of threads.
//
// Errors: arguments are checked before anything is written; std::invalid_argument names the argument, what was expected
// and what came. float and double are the two element types.
#pragma once

#include <cstdint>
#include <lstmcore/activation.hpp>
#include <lstmcore/precision.hpp>
#include <lstmcore/tensor.hpp>
#include <memory>
#include <string>
#include <vector>

namespace lstmcore {

/// Gates of a cell: i, f, g and o, each with H rows of the matrices and of the bias.
constexpr std::int64_t gate_count = 4;

struct LstmConfig {
  std::int64_t input_size = 0;   ///< C
  std::int64_t hidden_size = 0;  ///< H
  std::int64_t num_layers = 1;   ///< L
  bool bidirectional = false;    ///< D = 2: a second LSTM walks each sequence from its own end
  bool go_backwards = false;     ///< the (only) direction walks from the end; y stays in the order of x
  double dropout = 0.0;          ///< on the output of every layer but the last, while training; in [0, 1)

  // Variants of the cell, in every layer and direction. With them the equations at the head of this file become
  //
  //   i = s(clip(W_i x + U_i h' + b_i + p_i c'))     s: gate_activation; clip to [-gate_clip, gate_clip]
  //   f = s(clip(W_f x + U_f h' + b_f + p_f c'))     p: peephole weights
  //   g = a(clip(W_g x + U_g h' + b_g))              a: cell_activation; coupled_gates: i = 1 - f instead
  //   c = clip(f c' + i g)                           clip to [-cell_clip, cell_clip]
  //   o = s(clip(W_o x + U_o h' + b_o + p_o c))
  //   h = o * r(c)                                   r: output_activation
  //   h = clip(R (o * r(c)))                         instead, with a projection (Sak et al. 2014), P wide
  //
  // With layer norms (Ba et al. 2016) W x, U h' and the c that r is applied to are replaced by
  //
  //   n(W x), n(U h'), n(c)      n(v) = gain (v - mean(v)) / sqrt(variance(v) + layer_norm_epsilon) (+ bias_c for c)
  //
  // over all four gates' 4H features (3H with coupled_gates, which leaves those of i out) and over the H units of c.
  // The biases of the first two norms are the gates' b.
  //
  // Then zoneout keeps some elements of the h and c before, while training; at inference h becomes
  // zoneout_h h' + (1 - zoneout_h) h, c likewise.

  std::int64_t proj_size = 0;  ///< P, the width of h after its projection, at most H; 0: no projection
  double proj_clip = 0.0;      ///< bound of the projected h; 0: none
  bool bias = true;            ///< whether there are biases b
  bool layer_norm = false;     ///< norms of W x, U h' and c, with gains and biases of their own
  double layer_norm_epsilon = 1e-5;
  bool peephole = false;       ///< diagonal weights from c to i, f and o (Gers & Schmidhuber 2000)
  bool coupled_gates = false;  ///< i = 1 - f; the rows of i in all weights are not used and have zero gradients
  LstmActivation gate_activation{LstmFunction::sigmoid};
  LstmActivation cell_activation{LstmFunction::tanh};
  LstmActivation output_activation{LstmFunction::tanh};
  double gate_clip = 0.0;  ///< bound of what the gates' and the cell's activation are applied to; 0: none
  double cell_clip = 0.0;  ///< bound of c; 0: none
  double zoneout_h = 0.0;  ///< probability that an element of h keeps its value (Krueger et al. 2016); in [0, 1)
  double zoneout_c = 0.0;  ///< the same for c
  /// Share of h' that is dropped before it meets U, while training, one mask per row for all steps (Gal & Ghahramani
  /// 2016); in [0, 1).
  double recurrent_dropout = 0.0;
  /// Share of x, the input of the first layer, that is dropped, while training, one mask per row for all steps; in [0,
  /// 1).
  double input_dropout = 0.0;
  /// Share of the recurrent weights U that is dropped, while training, one mask per forward (Merity et al. 2017); in
  /// [0, 1).
  double weight_dropout = 0.0;

  /// True if nothing above departs from the equations at the head of this file.
  bool plain_cell() const;

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  /// Width of h: P with a projection, else H.
  std::int64_t state_size() const { return proj_size > 0 ? proj_size : hidden_size; }
  std::int64_t output_size() const { return directions() * state_size(); }
  /// Input features of layer `layer`: C for the first, those of the output for the others.
  std::int64_t layer_input_size(std::int64_t layer) const { return layer == 0 ? input_size : output_size(); }
  /// Throws std::invalid_argument if a size is below 1, sizes overflow, or options contradict each other.
  void validate() const;
};

/// The random masks of a training forward. Each kind has a stream of random words of its own in every layer and
/// direction (entry `cell` of LstmWeights; 0 for the input), named by a seed that `lstmcore::dropout` takes too. An
/// element's place in its stream is, for row n of N, time t, unit u of h's W = H or P features, feature k:
///
/// - zoneout_h: (t N + n) W + u; the value is kept where dropout of rate 1 - zoneout leaves it
/// - zoneout_c: (t N + n) H + u, likewise
/// - recurrent_dropout: n W + u
/// - input_dropout: n C + k
/// - weight_dropout: r W + k, for row r and column k of weight_hh
///
/// Dropout between layers uses the call's seed itself: ((layer N + n) T + t) D H + u.
enum class MaskKind : std::uint64_t {
  zoneout_h = 1,
  zoneout_c = 2,
  recurrent_dropout = 3,
  input_dropout = 4,
  weight_dropout = 5
};
std::uint64_t mask_seed(std::uint64_t seed, MaskKind kind, std::int64_t cell);

/// Which member of LstmCellWeights.
enum class LstmTensor { weight_ih, weight_hh, bias, peephole, weight_hr, gain_ih, gain_hh, gain_c, bias_c };

/// The weights of one layer and direction, or their gradients.
template <class T>
struct LstmCellWeights {
  View<T, 2> weight_ih;  ///< (4H, layer_input_size): rows i, f, g, o
  View<T, 2> weight_hh;  ///< (4H, H), with a projection (4H, P)
  View<T, 1> bias;       ///< (4H); absent if the configuration has none
  View<T, 1> peephole;   ///< (3H): i, f, o; absent if the configuration has none
  View<T, 2> weight_hr;  ///< (P, H): R; absent if the configuration has no projection
  View<T, 1> gain_ih;    ///< (4H), of the norm of W x; absent, as what follows, if the configuration has no norms
  View<T, 1> gain_hh;    ///< (4H), of the norm of U h'
  View<T, 1> gain_c;     ///< (H), of the norm of c
  View<T, 1> bias_c;     ///< (H); absent if the configuration has no biases

  LstmCellWeights() = default;
  LstmCellWeights(View<T, 2> ih, View<T, 2> hh, View<T, 1> b, View<T, 1> p = View<T, 1>(), View<T, 2> hr = View<T, 2>())
      : weight_ih(ih), weight_hh(hh), bias(b), peephole(p), weight_hr(hr) {}

  /// Calls visit(view) with the member that `tensor` names.
  template <class Visit>
  void visit(LstmTensor tensor, Visit&& visit) {
    visit_member(*this, tensor, visit);
  }
  template <class Visit>
  void visit(LstmTensor tensor, Visit&& visit) const {
    visit_member(*this, tensor, visit);
  }

 private:
  template <class Self, class Visit>
  static void visit_member(Self& self, LstmTensor tensor, Visit& visit) {
    switch (tensor) {
      case LstmTensor::weight_ih:
        return visit(self.weight_ih);
      case LstmTensor::weight_hh:
        return visit(self.weight_hh);
      case LstmTensor::bias:
        return visit(self.bias);
      case LstmTensor::peephole:
        return visit(self.peephole);
      case LstmTensor::weight_hr:
        return visit(self.weight_hr);
      case LstmTensor::gain_ih:
        return visit(self.gain_ih);
      case LstmTensor::gain_hh:
        return visit(self.gain_hh);
      case LstmTensor::gain_c:
        return visit(self.gain_c);
      case LstmTensor::bias_c:
        return visit(self.bias_c);
    }
  }
};

/// Weights of every layer and direction: entry layer * D + direction.
template <class T>
using LstmWeights = std::vector<LstmCellWeights<const T>>;

/// Where weight gradients go: same order. An absent view is not computed.
template <class T>
using LstmWeightGradients = std::vector<LstmCellWeights<T>>;

/// Name and shape of one weight tensor, in the order of the file format and of `LstmWeights`.
struct LstmParameter {
  std::string name;                 ///< "weight_ih_l0", "weight_hh_l0", "bias_l0", "weight_ih_l0_reverse", ...
  std::vector<std::int64_t> shape;  ///< (4H, C), (4H, H), (4H), (3H), (P, H) or (H)
  std::int64_t cell = 0;            ///< entry of LstmWeights
  LstmTensor tensor = LstmTensor::weight_ih;
};
std::vector<LstmParameter> lstm_parameters(const LstmConfig& config);

/// "sigmoid", "tanh", "relu", "leaky_relu", ...
const char* lstm_function_name(LstmFunction function);
/// The activation of this name, with the parameters that ONNX gives it. Throws std::invalid_argument, naming
/// `argument`, if there is none.
LstmActivation lstm_activation(const std::string& name, const char* argument);

/// `LstmSequence::recompute`: as many steps as the square root of the longest sequence has.
constexpr std::int64_t recompute_sqrt = -1;

/// The sequences of one call. Anything but `x` may be absent.
template <class T>
struct LstmSequence {
  View<const T, 3> x;                     ///< (N, T, C), any strides
  View<const std::int64_t, 1> lengths{};  ///< (N) valid steps of each row, 0..T, any order; absent: all T
  /// (N, T): true where a new sequence starts in the middle of a row, so that nothing passes the border between step
  /// t - 1 and step t: the forward direction's state is zeroed before step t, the reverse direction's after it. So a
  /// row gives what its parts would as rows of their own; at t = 0 it is the initial state of the forward direction
  /// that is dropped, and the final state of the reverse one.
  View<const bool, 2> reset{};
  /// (N, T): true where a step is there. The others are passed over: not read, state carried over unchanged, y and dx
  /// zero. A reset at such a step acts on the next one that is there. Instead of `lengths`.
  View<const bool, 2> mask{};
  std::uint64_t seed = 0;  ///< of all masks, which depend on nothing else but the place in the batch
  /// Steps between two states that a training forward keeps. The backward computes what lies between them again, with
  /// the same bits, for about a third more time, and memory no longer grows by all gates of every step (Griewank &
  /// Walther 2000; Chen et al. 2016). 0: everything is kept; or `recompute_sqrt`.
  std::int64_t recompute = 0;
  bool random = true;  ///< whether a training forward drops and zones out; if not, it computes what inference does

  LstmSequence() = default;
  LstmSequence(View<const T, 3> input) : x(input) {}
  LstmSequence(View<T, 3> input) : x(input) {}
};

/// State of every layer and direction, entry layer * D + direction, read before the walk and written after it.
template <class T>
struct LstmState {
  View<T, 3> h;  ///< (L * D, N, H), with a projection (L * D, N, P), as everywhere below
  View<T, 3> c;  ///< (L * D, N, H)
};

/// Gradients of a loss by the outputs of a forward. An absent view stands for zeros.
template <class T>
struct LstmOutputGradients {
  View<const T, 3> y;  ///< (N, T, D * H); entries past a row's length are not read
  View<const T, 3> h;  ///< (L * D, N, H), by the final state
  View<const T, 3> c;  ///< (L * D, N, H)
};

/// Where `backward` writes (not adds) the gradients by the inputs. An absent view is not computed.
template <class T>
struct LstmInputGradients {
  View<T, 3> x;                    ///< (N, T, C); zero past a row's length
  View<T, 3> h;                    ///< (L * D, N, H), by the initial state
  View<T, 3> c;                    ///< (L * D, N, H)
  LstmWeightGradients<T> weights;  ///< empty, or one entry per layer and direction
};

template <class T>
class Lstm;
template <class T>
class LstmTangent;

/// What a training forward keeps for its backward: a value that the caller holds, one per forward in flight. It owns
/// copies of all it needs, so later changes of x or of weights cannot falsify the backward. It serves one backward,
/// which consumes it; its memory is used again if it is passed to another forward.
template <class T>
class LstmTape {
 public:
  LstmTape();
  ~LstmTape();
  LstmTape(LstmTape&&) noexcept;
  LstmTape& operator=(LstmTape&&) noexcept;

  /// True between a forward and its backward.
  bool ready() const;
  /// Bytes held.
  std::size_t bytes() const;

  struct Impl;

 private:
  friend class Lstm<T>;
  friend class LstmTangent<T>;
  std::unique_ptr<Impl> impl_;
};

/// An LSTM with its weights packed for the instruction set in use. Immutable, so any number of threads may call it at
/// once; copies share the packed weights.
template <class T>
class Lstm {
 public:
  /// Copies and packs `weights`, which are not needed afterwards, for products of this precision. Throws
  /// std::invalid_argument if that is not one for T: double has Precision::fp32, its own, and automatic.
  Lstm(const LstmConfig& config, const LstmWeights<T>& weights, Precision precision = Precision::fp32);

  const LstmConfig& config() const;
  Precision precision() const;
  /// Name and shape of every weight: `lstm_parameters(config())`.
  const std::vector<LstmParameter>& parameters() const;

  /// Inference. `y` (N, T, D * H), any strides with unit stride on the last axis, gets the last layer's h, zero past
  /// each row's length; absent: only the state is wanted. `state` is updated in place; absent views: start from zero,
  /// final state not wanted. N = 0 and T = 0 are allowed: nothing to write, the state stays.
  void forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state) const;

  /// Training: also applies dropout, unless the sequence says otherwise, and fills `tape`.
  void forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state, LstmTape<T>& tape) const;

  /// Begins a training forward that is fed step by step: `tape` takes the initial state of `batch` rows, absent views
  /// being zeros, and holds no step yet; memory for `expected_steps` is taken at once, for more as they come. The masks
  /// of `seed` are those of one forward over all the steps. Throws std::invalid_argument if the LSTM is bidirectional,
  /// walks backwards or has dropout between its layers, whose mask depends on how many steps there will be, if `batch`
  /// < 1 or `expected_steps` < 0.
  void begin(std::int64_t batch, const LstmState<const T>& state, LstmTape<T>& tape, std::int64_t expected_steps = 0,
             std::uint64_t seed = 0) const;

  /// Appends a step to a tape that `begin` gave: x (N, C), any strides; y (N, H or P), unit stride on the last axis,
  /// gets the last layer's h unless absent; rows where `reset` (N) is true start from zeros. Outputs and gradients have
  /// the same bits as those of one forward over all the steps.
  void step(View<const T, 2> x, View<T, 2> y, View<const bool, 1> reset, LstmTape<T>& tape) const;

  /// Copies the state after the last step of a tape that `begin` gave; absent views are not wanted.
  void get_state(const LstmTape<T>& tape, const LstmState<T>& state) const;

  /// Gradients of the forward that filled `tape`, with the weights that it used. Consumes the tape. Throws
  /// std::invalid_argument if the tape is not ready or belongs to an Lstm with other weights.
  void backward(LstmTape<T>& tape, const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  void check_open(const LstmTape<T>& tape) const;

  std::shared_ptr<const Impl> impl_;
};

/// One step at a time, same bits as the whole-sequence call. Everything is allocated by the constructor.
template <class T>
class LstmStream {
 public:
  /// Throws std::invalid_argument if the LSTM is bidirectional or walks backwards, or if `batch_size` < 1.
  explicit LstmStream(const Lstm<T>& lstm, std::int64_t batch_size = 1);
  ~LstmStream();
  LstmStream(LstmStream&&) noexcept;
  LstmStream& operator=(LstmStream&&) noexcept;

  /// x (batch_size, C) and h (batch_size, H or P), contiguous, not overlapping; h gets the last layer's output. Neither
  /// allocates, locks nor throws.
  void step(const T* x, T* h) noexcept;

  /// Zeroes the state of every row, or of one row (0 <= row < batch_size, not checked).
  void reset() noexcept;
  void reset(std::int64_t row) noexcept;

  /// Copies the state, (L, batch_size, H), out or in.
  void get_state(const LstmState<T>& state) const;
  void set_state(const LstmState<const T>& state);

  const LstmConfig& config() const;
  std::int64_t batch_size() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

extern template class Lstm<float>;
extern template class Lstm<double>;
extern template class LstmTape<float>;
extern template class LstmTape<double>;
extern template class LstmStream<float>;
extern template class LstmStream<double>;

}  // namespace lstmcore
