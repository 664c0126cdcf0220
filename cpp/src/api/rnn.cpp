// The simple RNN runs on the LSTM's stack of layers, with cells that have one sum instead of four gates.
#include <lstmcore/rnn.hpp>

#include "../sequence/layers.hpp"
#include "lstm_checks.hpp"

namespace lstmcore {
namespace {

/// The options as the stack knows them.
LstmConfig stack_config(const RnnConfig& config) {
  LstmConfig stack;
  stack.input_size = config.input_size;
  stack.hidden_size = config.hidden_size;
  stack.num_layers = config.num_layers;
  stack.bidirectional = config.bidirectional;
  stack.go_backwards = config.go_backwards;
  stack.bias = config.bias;
  stack.cell_activation = LstmActivation{config.activation};
  stack.dropout = config.dropout;
  stack.recurrent_dropout = config.recurrent_dropout;
  stack.input_dropout = config.input_dropout;
  return stack;
}

template <class T>
std::shared_ptr<const typename Lstm<T>::Impl> packed(const RnnConfig& config,
                                                     const std::vector<RnnCellWeights<const T>>& weights) {
  std::vector<LstmParameter> parameters = rnn_parameters(config);
  auto impl = std::make_shared<typename Lstm<T>::Impl>(stack_config(config), Precision::fp32, 1);
  impl->pack(std::move(parameters), weights);
  return impl;
}

}  // namespace

void RnnConfig::validate() const {
  stack_config(*this).validate();
  if (activation != LstmFunction::tanh && activation != LstmFunction::relu) {
    fail("activation: expected \"tanh\" or \"relu\", got \"", lstm_function_name(activation), "\"");
  }
}

std::vector<LstmParameter> rnn_parameters(const RnnConfig& config) {
  config.validate();
  std::vector<LstmParameter> parameters = lstm_parameters(stack_config(config));
  for (LstmParameter& parameter : parameters) {
    parameter.shape[0] = config.hidden_size;
    parameter.gates = 1;
  }
  return parameters;
}

template <class T>
Rnn<T>::Rnn(const RnnConfig& config, const std::vector<RnnCellWeights<const T>>& weights)
    : config_(config), lstm_([&] {
        const EngineFloats floats;
        return packed<T>(config, weights);
      }()) {}

template <class T>
void Rnn<T>::forward(const LstmSequence<T>& sequence, View<T, 3> y, View<T, 3> h) const {
  lstm_.forward(sequence, y, {h, {}});
}

template <class T>
void Rnn<T>::forward(const LstmSequence<T>& sequence, View<T, 3> y, View<T, 3> h, LstmTape<T>& tape) const {
  lstm_.forward(sequence, y, {h, {}}, tape);
}

template <class T>
void Rnn<T>::backward(LstmTape<T>& tape, const RnnOutputGradients<T>& outputs,
                      const RnnInputGradients<T>& inputs) const {
  lstm_.backward(tape, {outputs.y, outputs.h, {}}, {inputs.x, inputs.h, {}, inputs.weights});
}

template class Rnn<float>;
template class Rnn<double>;

}  // namespace lstmcore
