// The slow readable LSTM that every fast path is judged by: plain loops over the equations of lstm.hpp, one row, one
// step and one unit at a time. No vectors, no threads, no checks: arguments must be valid.
//
// It shares only the contract's types with the engine, not a line of its arithmetic.
#pragma once

#include <cstdint>
#include <lstmcore/lstm.hpp>
#include <vector>

namespace lstmcore::reference {

/// What a layer norm made of some values.
template <class T>
struct Norm {
  std::vector<T> normed;  // (x - mean) / sqrt(variance + epsilon)
  T scale = 1;            // 1 / sqrt(variance + epsilon)
};

/// What one step of one layer, direction and row keeps: H entries each.
template <class T>
struct StepTape {
  std::vector<T> z[4];  // what the activations of i, f, g, o were applied to, before the bound
  std::vector<T> i, f, g, o;
  std::vector<T> free_c, c;        // before its bound and after it, before zoneout
  std::vector<T> r;                // what the output's activation was applied to
  std::vector<T> m, free_r;        // with a projection: what it is applied to, and its result before the bound
  std::vector<T> h_prev, c_prev;   // before the step, zero if it was reset; h as the product saw it
  Norm<T> norm_x, norm_h, norm_c;  // with layer norms: of W x, of U h' (4H), and of c
};

/// What the forward keeps for the backward.
template <class T>
struct Tape {
  std::vector<std::vector<T>> input;                        // of each layer: (N, T, layer_input_size)
  std::vector<std::vector<std::vector<StepTape<T>>>> step;  // [layer * D + direction][n][t]
};

/// The same arguments as Lstm::forward. Dropout is applied if there is a `tape`, which is filled.
template <class T>
void lstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence, View<T, 3> y,
          const LstmState<T>& state, Tape<T>* tape = nullptr);

/// The same arguments as Lstm::backward, after an `lstm` with these weights and this sequence.
template <class T>
void dlstm(const LstmConfig& config, const LstmWeights<T>& weights, const LstmSequence<T>& sequence,
           const Tape<T>& tape, const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs);

}  // namespace lstmcore::reference
