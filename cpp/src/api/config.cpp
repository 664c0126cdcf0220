// An LSTM's configuration: comparison and checks, the names and shapes of its weights, the streams of its random masks.
#include <algorithm>
#include <cmath>
#include <lstmcore/lstm.hpp>

#include "cell_options.hpp"
#include "check.hpp"

namespace lstmcore {
namespace {

using cell_options::Domain;

/// a * b <= 2^62, so that sums of a few such products cannot overflow either.
bool product_fits(std::int64_t a, std::int64_t b) {
  return a <= (std::int64_t{1} << 62) / std::max<std::int64_t>(b, 1);
}

void check_option(const LstmConfig& config, const char* name, Domain domain, std::int64_t value) {
  if (domain == Domain::size && value < 1) fail(name, ": expected at least 1, got ", value);
  if (domain == Domain::to_hidden_size && (value < 0 || value > config.hidden_size)) {
    fail(name, ": expected 0 to hidden_size, ", config.hidden_size, ", got ", value);
  }
}

void check_option(const LstmConfig&, const char* name, Domain domain, double value) {
  const bool finite = std::isfinite(value);
  if (domain == Domain::rate && !(value >= 0.0 && value < 1.0))
    fail(name, ": expected a number in [0, 1), got ", value);
  if (domain == Domain::bound && !(finite && value >= 0.0)) {
    fail(name, ": expected a finite number of at least 0, got ", value);
  }
  if (domain == Domain::positive && !(finite && value > 0.0)) {
    fail(name, ": expected a finite number above 0, got ", value);
  }
}

void check_option(const LstmConfig&, const char*, Domain, bool) {}

void check_option(const LstmConfig&, const char* name, Domain, const LstmActivation& activation) {
  check_activation(name, activation);
}

}  // namespace

bool operator==(const LstmConfig& a, const LstmConfig& b) {
  bool equal = true;
  cell_options::for_each([&](const auto& option) { equal = equal && a.*option.member == b.*option.member; });
  return equal;
}

bool LstmConfig::plain_cell() const {
  bool plain = true;
  cell_options::for_each([&](const auto& option) {
    plain = plain && (option.cell == cell_options::Cell::plain || this->*option.member == option.default_value());
  });
  return plain;
}

void LstmConfig::validate() const {
  cell_options::for_each(
      [&](const auto& option) { check_option(*this, option.name, option.domain, this->*option.member); });
  if (proj_size == 0 && proj_clip != 0.0) fail("proj_clip: expected 0 without a projection, got ", proj_clip);
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
