#include <algorithm>
#include <cmath>
#include <lstmcore/lstm.hpp>

#include "../packing/cell_weights.hpp"
#include "check.hpp"

namespace lstmcore {
namespace {

/// a * b <= 2^62, so that sums of a few such products cannot overflow either.
bool product_fits(std::int64_t a, std::int64_t b) {
  return a <= (std::int64_t{1} << 62) / std::max<std::int64_t>(b, 1);
}

void check_rate(const char* name, double rate) {
  if (!(rate >= 0.0 && rate < 1.0)) fail(name, ": expected a number in [0, 1), got ", rate);
}

void check_clip(const char* name, double clip) {
  if (!(clip >= 0.0) || std::isinf(clip)) fail(name, ": expected a finite number of at least 0, got ", clip);
}

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
  fail(argument, ": expected one of ", names, ", got '", name, "'");
}

namespace {

void check_activation(const char* name, const LstmActivation& activation) {
  const double alpha = activation.alpha;
  const LstmActivation usual = lstm_activation(lstm_function_name(activation.function), name);
  const bool takes_alpha = usual.alpha != 0.0, takes_beta = takes_alpha && usual.beta != 0.0;
  const bool affine = activation.function == LstmFunction::affine;  // its usual beta is 0
  if (!takes_alpha && alpha != 0.0) fail(name, ": expected no alpha, got ", alpha);
  if (!takes_beta && !affine && activation.beta != 0.0) fail(name, ": expected no beta, got ", activation.beta);
  if (!std::isfinite(alpha)) fail(name, ": expected a finite alpha, got ", alpha);
  if (!std::isfinite(activation.beta)) fail(name, ": expected a finite beta, got ", activation.beta);
  // The backward takes the slope from the activation's value, which must tell on which side of the bend it was.
  const bool bent = activation.function == LstmFunction::leaky_relu || activation.function == LstmFunction::elu;
  if (bent && alpha < 0.0) fail(name, ": expected an alpha of at least 0, got ", alpha);
  if (activation.function == LstmFunction::scaled_tanh && alpha == 0.0) fail(name, ": expected an alpha but 0, got 0");
}

}  // namespace

bool LstmConfig::plain_cell() const {
  const LstmConfig plain;
  return !peephole && !coupled_gates && gate_activation == plain.gate_activation &&
         cell_activation == plain.cell_activation && output_activation == plain.output_activation && gate_clip == 0.0 &&
         cell_clip == 0.0 && zoneout_h == 0.0 && zoneout_c == 0.0 && recurrent_dropout == 0.0 && !layer_norm;
}

void LstmConfig::validate() const {
  if (input_size < 1) fail("input_size: expected at least 1, got ", input_size);
  if (hidden_size < 1) fail("hidden_size: expected at least 1, got ", hidden_size);
  if (num_layers < 1) fail("num_layers: expected at least 1, got ", num_layers);
  if (proj_size < 0 || proj_size > hidden_size) {
    fail("proj_size: expected 0 to hidden_size, ", hidden_size, ", got ", proj_size);
  }
  if (proj_size == 0 && proj_clip != 0.0) fail("proj_clip: expected 0 without a projection, got ", proj_clip);
  check_clip("proj_clip", proj_clip);
  if (!(layer_norm_epsilon > 0.0) || std::isinf(layer_norm_epsilon)) {
    fail("layer_norm_epsilon: expected a finite number above 0, got ", layer_norm_epsilon);
  }
  check_rate("dropout", dropout);
  check_rate("input_dropout", input_dropout);
  check_rate("recurrent_dropout", recurrent_dropout);
  check_rate("weight_dropout", weight_dropout);
  check_rate("zoneout_h", zoneout_h);
  check_rate("zoneout_c", zoneout_c);
  check_clip("gate_clip", gate_clip);
  check_clip("cell_clip", cell_clip);
  check_activation("gate_activation", gate_activation);
  check_activation("cell_activation", cell_activation);
  check_activation("output_activation", output_activation);
  if (bidirectional && go_backwards) fail("go_backwards: expected false with bidirectional, got true");
  const std::int64_t most = std::int64_t{1} << 40;
  if (input_size > most || hidden_size > most || num_layers > most ||
      !product_fits(gate_count * hidden_size * 16, std::max(input_size, 2 * hidden_size)) ||
      !product_fits(gate_count * hidden_size * 16 * std::max(input_size, 2 * hidden_size), 2 * num_layers)) {
    fail("input_size, hidden_size, num_layers: expected weights whose size in bytes fits into 64 bits, got ",
         input_size, ", ", hidden_size, ", ", num_layers);
  }
}

std::uint64_t mask_seed(std::uint64_t seed, MaskKind kind, std::int64_t cell) {
  // The finalizer of SplitMix64 (Steele, Lea & Flood 2014).
  const std::uint64_t place = (static_cast<std::uint64_t>(kind) << 32) + static_cast<std::uint64_t>(cell) + 1;
  std::uint64_t z = seed + place * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

std::vector<LstmParameter> lstm_parameters(const LstmConfig& config) {
  config.validate();
  std::vector<LstmParameter> parameters;
  parameters.reserve(3 * static_cast<std::size_t>(config.num_layers * config.directions()));
  const std::int64_t gates = gate_count * config.hidden_size;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (std::int64_t direction = 0; direction < config.directions(); ++direction) {
      const std::int64_t cell = layer * config.directions() + direction;
      const std::string suffix = "_l" + std::to_string(layer) + (direction == 1 ? "_reverse" : "");
      parameters.push_back(
          {"weight_ih" + suffix, {gates, config.layer_input_size(layer)}, cell, LstmTensor::weight_ih});
      parameters.push_back({"weight_hh" + suffix, {gates, config.state_size()}, cell, LstmTensor::weight_hh});
      if (config.bias) parameters.push_back({"bias" + suffix, {gates}, cell, LstmTensor::bias});
      if (config.peephole) {
        parameters.push_back({"peephole" + suffix, {3 * config.hidden_size}, cell, LstmTensor::peephole});
      }
      if (config.proj_size > 0) {
        const std::vector<std::int64_t> shape{config.proj_size, config.hidden_size};
        parameters.push_back({"weight_hr" + suffix, shape, cell, LstmTensor::weight_hr});
      }
      if (config.layer_norm) {
        parameters.push_back({"gain_ih" + suffix, {gates}, cell, LstmTensor::gain_ih});
        parameters.push_back({"gain_hh" + suffix, {gates}, cell, LstmTensor::gain_hh});
        parameters.push_back({"gain_c" + suffix, {config.hidden_size}, cell, LstmTensor::gain_c});
        if (config.bias) parameters.push_back({"bias_c" + suffix, {config.hidden_size}, cell, LstmTensor::bias_c});
      }
    }
  }
  return parameters;
}

}  // namespace lstmcore
