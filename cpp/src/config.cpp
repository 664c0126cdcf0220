#include <algorithm>
#include <lstmcore/lstm.hpp>

#include "check.hpp"

namespace lstmcore {
namespace {

constexpr std::int64_t gate_count = 4;

/// a * b <= 2^62, so that sums of a few such products cannot overflow either.
bool product_fits(std::int64_t a, std::int64_t b) {
  return a <= (std::int64_t{1} << 62) / std::max<std::int64_t>(b, 1);
}

}  // namespace

void LstmConfig::validate() const {
  if (input_size < 1) fail("input_size: expected at least 1, got ", input_size);
  if (hidden_size < 1) fail("hidden_size: expected at least 1, got ", hidden_size);
  if (num_layers < 1) fail("num_layers: expected at least 1, got ", num_layers);
  if (!(dropout >= 0.0 && dropout < 1.0)) fail("dropout: expected a number in [0, 1), got ", dropout);
  if (bidirectional && go_backwards) fail("go_backwards: expected false with bidirectional, got true");
  const std::int64_t most = std::int64_t{1} << 40;
  if (input_size > most || hidden_size > most || num_layers > most ||
      !product_fits(gate_count * hidden_size * 16, std::max(input_size, 2 * hidden_size)) ||
      !product_fits(gate_count * hidden_size * 16 * std::max(input_size, 2 * hidden_size), 2 * num_layers)) {
    fail("input_size, hidden_size, num_layers: expected weights whose size in bytes fits into 64 bits, got ",
         input_size, ", ", hidden_size, ", ", num_layers);
  }
}

std::vector<LstmParameter> lstm_parameters(const LstmConfig& config) {
  config.validate();
  std::vector<LstmParameter> parameters;
  const std::int64_t gates = gate_count * config.hidden_size;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (std::int64_t direction = 0; direction < config.directions(); ++direction) {
      const std::int64_t cell = layer * config.directions() + direction;
      const std::string suffix = "_l" + std::to_string(layer) + (direction == 1 ? "_reverse" : "");
      parameters.push_back({"weight_ih" + suffix, {gates, config.layer_input_size(layer)}, cell});
      parameters.push_back({"weight_hh" + suffix, {gates, config.hidden_size}, cell});
      parameters.push_back({"bias" + suffix, {gates}, cell});
    }
  }
  return parameters;
}

}  // namespace lstmcore
