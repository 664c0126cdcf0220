// The simple recurrent network (Elman 1990): what an LSTM is compared with.
//
// With x the input of a step and h' the state before it:
//
//   h = f(W x + U h' + b)      f: tanh or relu
//
// Everything else is as in lstm.hpp: letters, sequences, lengths, masks and resets, layers and directions, dropout, the
// promise of the same bits, and errors. A tape is an LstmTape, which belongs to the Rnn that filled it.
#pragma once

#include <lstmcore/lstm.hpp>

namespace lstmcore {

struct RnnConfig {
  std::int64_t input_size = 0;                   ///< C
  std::int64_t hidden_size = 0;                  ///< H
  std::int64_t num_layers = 1;                   ///< L
  bool bidirectional = false;                    ///< D = 2, as in LstmConfig
  bool go_backwards = false;                     ///< as in LstmConfig
  bool bias = true;                              ///< whether there is a bias b
  LstmFunction activation = LstmFunction::tanh;  ///< f: tanh or relu
  double dropout = 0.0;                          ///< these three as in LstmConfig
  double recurrent_dropout = 0.0;
  double input_dropout = 0.0;

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  std::int64_t output_size() const { return directions() * hidden_size; }
  /// Throws std::invalid_argument if a size is below 1, sizes overflow, a share is outside [0, 1), the activation is
  /// another, or options contradict each other.
  void validate() const;
};

/// The weights of one layer and direction: weight_ih (H, layer input), weight_hh (H, H) and bias (H). The other members
/// stay absent.
template <class T>
using RnnCellWeights = LstmCellWeights<T>;

/// Name and shape of every weight: "weight_ih_l0" (H, C), "weight_hh_l0" (H, H), "bias_l0" (H), ...
std::vector<LstmParameter> rnn_parameters(const RnnConfig& config);

/// Gradients of a loss with respect to the outputs of a forward. An absent view stands for zeros.
template <class T>
struct RnnOutputGradients {
  View<const T, 3> y;  ///< (N, T, D * H); entries past a row's length are not read
  View<const T, 3> h;  ///< (L * D, N, H), with respect to the final state
};

/// Where `backward` writes (not adds) the gradients with respect to the inputs. Gradients whose view is absent are not
/// computed.
template <class T>
struct RnnInputGradients {
  View<T, 3> x;                            ///< (N, T, C); zero past a row's length
  View<T, 3> h;                            ///< (L * D, N, H), with respect to the initial state
  std::vector<RnnCellWeights<T>> weights;  ///< empty, or one entry per layer and direction
};

/// A simple RNN with its weights packed for the instruction set in use. Immutable, so any number of threads may call it
/// at once; copies share the packed weights.
template <class T>
class Rnn {
 public:
  /// Copies and packs `weights`, entry layer * D + direction, which are not needed afterwards.
  Rnn(const RnnConfig& config, const std::vector<RnnCellWeights<const T>>& weights);

  const RnnConfig& config() const { return config_; }
  /// `rnn_parameters(config())`.
  const std::vector<LstmParameter>& parameters() const { return lstm_.parameters(); }

  /// Inference. `y` (N, T, D * H), with unit stride on the last axis, receives the last layer's h, zero past each row's
  /// length; it may be absent. `h` (L * D, N, H) is the state, updated in place; with an absent view the walk starts
  /// from zeros and the final state is not returned.
  void forward(const LstmSequence<T>& sequence, View<T, 3> y, View<T, 3> h) const;
  /// Training: as above, but also applies dropout, unless `sequence.random` is false, and fills `tape`.
  void forward(const LstmSequence<T>& sequence, View<T, 3> y, View<T, 3> h, LstmTape<T>& tape) const;
  /// Gradients of the forward that filled `tape`, with the weights that it used. Consumes the tape. Throws
  /// std::invalid_argument if the tape is not ready or was filled with other weights.
  void backward(LstmTape<T>& tape, const RnnOutputGradients<T>& outputs, const RnnInputGradients<T>& inputs) const;

 private:
  RnnConfig config_;
  Lstm<T> lstm_;  ///< with cells of one sum instead of four gates, and no c
};

extern template class Rnn<float>;
extern template class Rnn<double>;

}  // namespace lstmcore
