// The slow, readable LSTM that every fast path is compared with: loops over the equations of lstm.hpp, one row, one
// step and one unit at a time. No vectors, no threads, no checks: arguments must be valid.
//
// It shares only the contract's types with the engine, not a line of its arithmetic.
#pragma once

#include <cstdint>
#include <lstmcore/lstm.hpp>
#include <vector>

namespace lstmcore::reference {

/// The results of a layer norm.
template <class T>
struct Norm {
  std::vector<T> normed;  // (x - mean) / sqrt(variance + epsilon)
  T scale = 1;            // 1 / sqrt(variance + epsilon)
};

/// The tape of one step of one layer, direction and row: H entries each.
template <class T>
struct StepTape {
  std::vector<T> z[4];  // pre-activations of i, f, g, o, before their clip
  std::vector<T> i, f, g, o;
  std::vector<T> free_c, c;        // before its clip and after it, both before zoneout
  std::vector<T> r;                // the argument of the output activation
  std::vector<T> m, free_r;        // with a projection: its argument, and its result before the clip
  std::vector<T> h_prev, c_prev;   // before the step, zero if it was reset; h with recurrent dropout applied
  Norm<T> norm_x, norm_h, norm_c;  // with layer norms: of W x, of U h' (4H), and of c
};

/// What the backward needs from the forward.
template <class T>
struct Tape {
  std::vector<std::vector<T>> input;                        // of each layer: (N, T, layer_input_size)
  std::vector<std::vector<std::vector<StepTape<T>>>> step;  // [layer * D + direction][n][t]
};

/// The same arguments as Lstm::forward. With a `tape`, which is filled, dropout is applied.
template <class T>
void lstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence, View<T, 3> y,
          const LstmState<T>& state, Tape<T>* tape = nullptr);

/// The same arguments as Lstm::backward, after an `lstm` with these weights and this sequence.
template <class T>
void dlstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence,
           const Tape<T>& tape, const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs);

}  // namespace lstmcore::reference
