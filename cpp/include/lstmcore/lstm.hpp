// The contract of the LSTM: configuration, weights, forward, backward, streaming.
//
// Letters: N batch, T time steps, C input features, H hidden units, L layers, D directions (2 if bidirectional, else
// 1). Gate order is i, f, g, o everywhere. With x the input of a step and h', c' the state before it:
//
//   i = sigmoid(W_i x + U_i h' + b_i)      f = sigmoid(W_f x + U_f h' + b_f)
//   g = tanh   (W_g x + U_g h' + b_g)      o = sigmoid(W_o x + U_o h' + b_o)
//   c = f * c' + i * g                     h = o * tanh(c)
//
// (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.) The backward is the exact gradient of these
// equations through all time steps.
//
// Same bits: on one instruction set, y and the states do not depend on the number of threads, on which other rows are
// in the batch, on padding, or on whether a sequence is run whole, in parts or step by step. Weight gradients do not
// depend on the number of threads.
//
// Errors: arguments are checked before anything is written; std::invalid_argument names the argument, what was expected
// and what was passed. The element type T is float or double.
#pragma once

#include <cstdint>
#include <lstmcore/activation.hpp>
#include <lstmcore/precision.hpp>
#include <lstmcore/tensor.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lstmcore {

/// Gates of a cell: i, f, g and o, each with H rows of the matrices and of the bias.
constexpr std::int64_t gate_count = 4;

struct LstmConfig {
  std::int64_t input_size = 0;   ///< C
  std::int64_t hidden_size = 0;  ///< H
  std::int64_t num_layers = 1;   ///< L
  bool bidirectional = false;    ///< D = 2: a second LSTM reads each sequence backwards, from its own last valid step
  bool go_backwards = false;     ///< the only direction reads each sequence backwards; y stays in the order of x
  double dropout = 0.0;          ///< on the output of every layer but the last, while training; in [0, 1)

  // Variants of the cell, in every layer and direction. They change the equations at the top of this file to
  //
  //   i = s(clip(W_i x + U_i h' + b_i + p_i c'))     s: gate_activation; clip to [-gate_clip, gate_clip]
  //   f = s(clip(W_f x + U_f h' + b_f + p_f c'))     p: peephole weights
  //   g = a(clip(W_g x + U_g h' + b_g))              a: cell_activation; coupled_gates: i = 1 - f instead
  //   c = clip(f c' + i g)                           clip to [-cell_clip, cell_clip]
  //   o = s(clip(W_o x + U_o h' + b_o + p_o c))
  //   h = o * r(clip(c))                             r: output_activation; clip to [-output_clip, output_clip]
  //   h = clip(R (o * r(clip(c))))                   instead, with a projection (Sak et al. 2014), P wide
  //
  // With layer norms (Ba et al. 2016), W x, U h' and the argument c of r are replaced by
  //
  //   n(W x), n(U h'), n(c)      n(v) = gain (v - mean(v)) / sqrt(variance(v) + layer_norm_epsilon) (+ bias_c for c)
  //
  // taken over the 4H features of all four gates (3H with coupled_gates, which leaves out those of i) and over the H
  // units of c. The first two norms have no biases of their own: the gates' b serves instead.
  //
  // Zoneout comes last: in training, random elements of h and c keep their previous values; at inference h becomes
  // zoneout_h h' + (1 - zoneout_h) h, and c likewise.

  std::int64_t proj_size = 0;  ///< P, the width of h after its projection, at most H; 0: no projection
  double proj_clip = 0.0;      ///< the projected h is clipped to [-proj_clip, proj_clip]; 0: not clipped
  bool bias = true;            ///< whether the gates have biases b
  bool layer_norm = false;     ///< layer norms of W x, U h' and c, with trainable gains, and a bias for c
  double layer_norm_epsilon = 1e-5;
  bool peephole = false;       ///< diagonal weights from c to i, f and o (Gers & Schmidhuber 2000)
  bool coupled_gates = false;  ///< i = 1 - f; the rows of i in all weights are unused and their gradients are zero
  LstmActivation gate_activation{LstmFunction::sigmoid};
  LstmActivation cell_activation{LstmFunction::tanh};
  LstmActivation output_activation{LstmFunction::tanh};
  double gate_clip = 0.0;    ///< arguments of the gates' and the cell's activations are clipped; 0: not clipped
  double cell_clip = 0.0;    ///< c is clipped to [-cell_clip, cell_clip]; 0: not clipped
  double output_clip = 0.0;  ///< the argument of r is clipped, not c itself, as ONNX's clip does; 0: not clipped
  double zoneout_h = 0.0;    ///< probability that an element of h keeps its value (Krueger et al. 2016); in [0, 1)
  double zoneout_c = 0.0;    ///< the same for c
  /// Fraction of h' that is dropped before it is multiplied by U, in training; one mask per row, the same at all steps
  /// (Gal & Ghahramani 2016); in [0, 1).
  double recurrent_dropout = 0.0;
  /// Fraction of x, the input of the first layer, that is dropped in training; one mask per row, the same at all steps;
  /// in [0, 1).
  double input_dropout = 0.0;
  /// Fraction of the recurrent weights U that is dropped in training, one mask per forward (Merity et al. 2017); in
  /// [0, 1).
  double weight_dropout = 0.0;

  /// True if the cell computes the equations at the top of this file, without any variant.
  bool plain_cell() const;

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  /// Width of h: P with a projection, else H.
  std::int64_t state_size() const { return proj_size > 0 ? proj_size : hidden_size; }
  std::int64_t output_size() const { return directions() * state_size(); }
  /// Input features of layer `layer`: C for the first, `output_size()` for the others.
  std::int64_t layer_input_size(std::int64_t layer) const { return layer == 0 ? input_size : output_size(); }
  /// Throws std::invalid_argument if a size is below 1, sizes overflow, or options contradict each other.
  void validate() const;
};

/// The random masks of a training forward. Each kind has its own random stream in every layer and direction (entry
/// `cell` of LstmWeights; 0 for the input), identified by a seed, which `lstmcore::dropout` also accepts. The index of
/// an element in its stream is, for row n of N, time t, unit u of h's W = H or P features, and feature k:
///
/// - zoneout_h: (t N + n) W + u; an element keeps its previous value where dropout of rate 1 - zoneout_h keeps it
/// - zoneout_c: (t N + n) H + u, likewise
/// - recurrent_dropout: n W + u
/// - input_dropout: n C + k
/// - weight_dropout: r W + k, for row r and column k of weight_hh
/// Dropout between layers uses the call's seed itself, with index ((layer N + n) T + t) D H + u.
enum class MaskKind : std::uint64_t {
  zoneout_h = 1,
  zoneout_c = 2,
  recurrent_dropout = 3,
  input_dropout = 4,
  weight_dropout = 5
};
std::uint64_t mask_seed(std::uint64_t seed, MaskKind kind, std::int64_t cell);

/// The members of LstmCellWeights.
enum class LstmTensor { weight_ih, weight_hh, bias, peephole, weight_hr, gain_ih, gain_hh, gain_c, bias_c };

/// The weights of one layer and direction, or their gradients.
template <class T>
struct LstmCellWeights {
  View<T, 2> weight_ih;  ///< (4H, layer_input_size): rows i, f, g, o
  View<T, 2> weight_hh;  ///< (4H, H), with a projection (4H, P)
  View<T, 1> bias;       ///< (4H); absent if the configuration has none
  View<T, 1> peephole;   ///< (3H): i, f, o; absent if the configuration has none
  View<T, 2> weight_hr;  ///< (P, H): R; absent if the configuration has no projection
  View<T, 1> gain_ih;    ///< (4H), of the norm of W x; this and the rest are absent without layer norms
  View<T, 1> gain_hh;    ///< (4H), of the norm of U h'
  View<T, 1> gain_c;     ///< (H), of the norm of c
  View<T, 1> bias_c;     ///< (H), of the norm of c; absent if the configuration has no biases

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

/// Where the gradients with respect to the weights are written, in the same order. Gradients whose view is absent are
/// not computed.
template <class T>
using LstmWeightGradients = std::vector<LstmCellWeights<T>>;

/// Name and shape of one weight tensor, in the order of the file format and of `LstmWeights`.
struct LstmParameter {
  std::string name;                 ///< "weight_ih_l0", "weight_hh_l0", "bias_l0", "weight_ih_l0_reverse", ...
  std::vector<std::int64_t> shape;  ///< (4H, C), (4H, H), (4H), (3H), (P, H) or (H)
  std::int64_t cell = 0;            ///< entry of LstmWeights
  LstmTensor tensor = LstmTensor::weight_ih;
  std::int64_t gates = gate_count;  ///< of a cell: 1 in a simple RNN (rnn.hpp)
};
std::vector<LstmParameter> lstm_parameters(const LstmConfig& config);

/// "sigmoid", "tanh", "relu", "leaky_relu", ...
const char* lstm_function_name(LstmFunction function);
/// The activation with this name and ONNX's default parameters. Throws std::invalid_argument, naming `argument`, if the
/// name is unknown.
LstmActivation lstm_activation(const std::string& name, const char* argument);

/// A value of `LstmSequence::recompute`: time segments of about sqrt(T) steps, T being the longest sequence.
constexpr std::int64_t recompute_sqrt = -1;

/// The sequences of one call. Everything but `x` is optional.
template <class T>
struct LstmSequence {
  View<const T, 3> x;                     ///< (N, T, C), any strides
  View<const std::int64_t, 1> lengths{};  ///< (N) valid steps of each row, 0..T, any order; absent: all T
  /// (N, T): true where a new sequence starts in the middle of a row, so that no information crosses from step t - 1 to
  /// step t or back: the forward direction's state is zeroed before step t, the reverse direction's after it. The parts
  /// of a row then have the results that they would have as separate rows. At t = 0, the initial state of the forward
  /// direction is replaced by zeros, and so is the final state of the reverse one.
  View<const bool, 2> reset{};
  /// (N, T): true at valid steps. Other steps are skipped: they are not read, the state passes over them unchanged, and
  /// y and dx are zero there. A reset at a skipped step acts on the next valid one. Excludes `lengths`.
  View<const bool, 2> mask{};
  std::uint64_t seed = 0;  ///< of all random masks, which otherwise depend only on an element's position in the batch
  /// Steps of a time segment. A training forward stores only the state at the start of each segment; the backward
  /// recomputes the segment with the same bits. This takes about a third more time, and the gates of only one segment
  /// are in memory at once (Griewank & Walther 2000; Chen et al. 2016). 0: store everything; or `recompute_sqrt`.
  std::int64_t recompute = 0;
  bool random = true;  ///< whether a training forward applies dropout and zoneout

  LstmSequence() = default;
  LstmSequence(View<const T, 3> input) : x(input) {}
  LstmSequence(View<T, 3> input) : x(input) {}
};

/// State of every layer and direction, entry layer * D + direction: the initial state on entry, the final one on
/// return.
template <class T>
struct LstmState {
  View<T, 3> h;  ///< (L * D, N, H), with a projection (L * D, N, P), as everywhere below
  View<T, 3> c;  ///< (L * D, N, H)
};

/// Gradients of a loss with respect to the outputs of a forward. An absent view stands for zeros.
template <class T>
struct LstmOutputGradients {
  View<const T, 3> y;  ///< (N, T, D * H); entries past a row's length are not read
  View<const T, 3> h;  ///< (L * D, N, H), with respect to the final state
  View<const T, 3> c;  ///< (L * D, N, H)
};

/// Where `backward` writes (not adds) the gradients with respect to the inputs. Gradients whose view is absent are not
/// computed.
template <class T>
struct LstmInputGradients {
  View<T, 3> x;                    ///< (N, T, C); zero past a row's length
  View<T, 3> h;                    ///< (L * D, N, H), with respect to the initial state
  View<T, 3> c;                    ///< (L * D, N, H)
  LstmWeightGradients<T> weights;  ///< empty, or one entry per layer and direction
};

template <class T>
class Lstm;
template <class T>
class LstmTangent;
template <class T>
class Rnn;

/// What a training forward stores for its backward. The caller owns it, one for each forward whose backward is still to
/// come. It holds copies of all that it needs, so later changes of x or of weights do not affect the backward. One
/// backward consumes it; passing it to another forward reuses its memory.
template <class T>
class LstmTape {
 public:
  LstmTape();
  ~LstmTape();
  LstmTape(LstmTape&&) noexcept;
  LstmTape& operator=(LstmTape&&) noexcept;

  /// True between a forward and its backward.
  bool ready() const;
  /// Bytes of memory in use.
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
  /// std::invalid_argument if T does not support it: double has only Precision::fp32, which means its own precision,
  /// and automatic.
  Lstm(const LstmConfig& config, const LstmWeights<T>& weights, Precision precision = Precision::fp32);

  const LstmConfig& config() const;
  Precision precision() const;
  /// Name and shape of every weight: `lstm_parameters(config())`.
  const std::vector<LstmParameter>& parameters() const;

  /// Inference. `y` (N, T, D * H), with unit stride on the last axis and any strides on the others, receives the last
  /// layer's h, zero past each row's length; it may be absent. `state` is updated in place; with absent views the walk
  /// starts from zeros and the final state is not returned. N = 0 and T = 0 are allowed: nothing is written, and the
  /// state does not change.
  void forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state) const;

  /// Training: as above, but also applies dropout, unless `sequence.random` is false, and fills `tape`.
  void forward(const LstmSequence<T>& sequence, View<T, 3> y, const LstmState<T>& state, LstmTape<T>& tape) const;

  /// Begins a training forward whose steps arrive one by one: `tape` stores the initial state of `batch` rows (absent
  /// views stand for zeros) and has no steps yet. Memory for `expected_steps` is allocated at once, and more as further
  /// steps arrive. The masks of `seed` are those of one forward over all the steps. Throws std::invalid_argument if the
  /// LSTM is bidirectional or walks backwards, if it has dropout between its layers, whose mask depends on the final
  /// number of steps, or if `batch` < 1 or `expected_steps` < 0.
  void begin(std::int64_t batch, const LstmState<const T>& state, LstmTape<T>& tape, std::int64_t expected_steps = 0,
             std::uint64_t seed = 0) const;

  /// Appends a step to a tape that `begin` prepared. x (N, C) has any strides; y (N, H or P), with unit stride on the
  /// last axis, receives the last layer's h unless it is absent; rows where `reset` (N) is true start from zeros.
  /// Outputs and gradients have the same bits as those of one forward over all the steps.
  void step(View<const T, 2> x, View<T, 2> y, View<const bool, 1> reset, LstmTape<T>& tape) const;

  /// Copies the state after the last step of a tape that `begin` prepared; absent views are skipped.
  void get_state(const LstmTape<T>& tape, const LstmState<T>& state) const;

  /// Gradients of the forward that filled `tape`, with the weights that it used. Consumes the tape. Throws
  /// std::invalid_argument if the tape is not ready or was filled by an Lstm with other weights.
  void backward(LstmTape<T>& tape, const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  friend class Rnn<T>;
  Lstm(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  void check_open(const LstmTape<T>& tape) const;

  std::shared_ptr<const Impl> impl_;
};

/// Inference one step at a time, with the same bits as the whole-sequence call. The constructor allocates everything.
template <class T>
class LstmStream {
 public:
  /// Throws std::invalid_argument if the LSTM is bidirectional or walks backwards, or if `batch_size` < 1.
  explicit LstmStream(const Lstm<T>& lstm, std::int64_t batch_size = 1);
  ~LstmStream();
  LstmStream(LstmStream&&) noexcept;
  LstmStream& operator=(LstmStream&&) noexcept;

  /// x (batch_size, C) and h (batch_size, H or P), contiguous, not overlapping; h receives the last layer's output.
  /// Does not allocate, lock or throw.
  void step(const T* x, T* h) noexcept;

  /// Zeroes the state of every row, or of one row (0 <= row < batch_size, not checked).
  void reset() noexcept;
  void reset(std::int64_t row) noexcept;

  /// Copies the state, (L, batch_size, H), out of the stream or into it.
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
