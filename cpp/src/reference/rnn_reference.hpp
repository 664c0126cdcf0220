// The slow, readable simple RNN: loops over the equation of rnn.hpp, one row, one step and one unit at a time, without
// dropout and masks. Like reference.hpp, it shares only the contract's types with the engine.
#pragma once

#include <lstmcore/rnn.hpp>
#include <vector>

namespace lstmcore::reference {

/// What the backward needs from the forward.
template <class T>
struct RnnTape {
  std::vector<std::vector<T>> input;            // of each layer: (N, T, layer input)
  std::vector<std::vector<T>> h_before, after;  // [layer * D + direction]: (N, T, H), the factor of U, and h
};

/// The same arguments as Rnn::forward.
template <class T>
void rnn(const RnnConfig& config, const std::vector<RnnCellWeights<const T>>& weights, const LstmSequence<T>& sequence,
         View<T, 3> y, View<T, 3> h, RnnTape<T>& tape);

/// The same arguments as Rnn::backward, after an `rnn` with these weights and this sequence.
template <class T>
void drnn(const RnnConfig& config, const std::vector<RnnCellWeights<const T>>& weights, const LstmSequence<T>& sequence,
          const RnnTape<T>& tape, const RnnOutputGradients<T>& outputs, const RnnInputGradients<T>& inputs);

}  // namespace lstmcore::reference
