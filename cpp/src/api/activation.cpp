// The activations of an LSTM: their names, the parameters that a name alone stands for, and what parameters they take.
#include <cmath>
#include <lstmcore/lstm.hpp>

#include "cell_options.hpp"
#include "check.hpp"

namespace lstmcore {
namespace {

struct NamedActivation {
  const char* name;
  LstmActivation activation;
};

constexpr NamedActivation activations[] = {
    {"sigmoid", {LstmFunction::sigmoid}},
    {"tanh", {LstmFunction::tanh}},
    {"relu", {LstmFunction::relu}},
    {"leaky_relu", {LstmFunction::leaky_relu, 0.01}},
    {"elu", {LstmFunction::elu, 1.0}},
    {"hard_sigmoid", {LstmFunction::hard_sigmoid, 0.2, 0.5}},
    {"softsign", {LstmFunction::softsign}},
    {"softplus", {LstmFunction::softplus}},
    {"affine", {LstmFunction::affine, 1.0, 0.0}},
    {"scaled_tanh", {LstmFunction::scaled_tanh, 1.0, 1.0}},
    {"thresholded_relu", {LstmFunction::thresholded_relu, 1.0}},
    {"fast_sigmoid", {LstmFunction::fast_sigmoid}},
    {"fast_tanh", {LstmFunction::fast_tanh}},
    {"linear", {LstmFunction::linear}},
};

}  // namespace

const char* lstm_function_name(LstmFunction function) {
  for (const NamedActivation& named : activations) {
    if (named.activation.function == function) return named.name;
  }
  return "";
}

LstmActivation lstm_activation(const std::string& name, const char* argument) {
  std::string names;
  for (const NamedActivation& named : activations) {
    if (name == named.name) return named.activation;
    names.append(names.empty() ? "" : ", ").append(named.name);
  }
  fail(argument, ": expected one of ", names, ", got ", in_quotes(name));
}

void check_activation(const char* name, const LstmActivation& activation) {
  const double alpha = activation.alpha;
  const LstmActivation usual = lstm_activation(lstm_function_name(activation.function), name);
  const bool takes_alpha = usual.alpha != 0.0, takes_beta = takes_alpha && usual.beta != 0.0;
  const bool affine = activation.function == LstmFunction::affine;  // its usual beta is 0
  if (!takes_alpha && alpha != 0.0) fail(name, ": expected no alpha, got ", alpha);
  if (!takes_beta && !affine && activation.beta != 0.0) fail(name, ": expected no beta, got ", activation.beta);
  if (!std::isfinite(alpha)) fail(name, ": expected a finite alpha, got ", alpha);
  if (!std::isfinite(activation.beta)) fail(name, ": expected a finite beta, got ", activation.beta);
  // The backward takes the slope from the activation's value, which must show on which side of the kink the input was.
  const bool bent = activation.function == LstmFunction::leaky_relu || activation.function == LstmFunction::elu;
  if (bent && alpha < 0.0) fail(name, ": expected an alpha of at least 0, got ", alpha);
  if (activation.function == LstmFunction::scaled_tanh && alpha == 0.0)
    fail(name, ": expected an alpha other than 0, got 0");
}

}  // namespace lstmcore
