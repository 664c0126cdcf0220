// The checks of arguments of the public LSTM functions. They run before anything is written.
#pragma once

#include <cmath>
#include <lstmcore/lstm.hpp>
#include <type_traits>

#include "../sequence/caller_rows.hpp"
#include "cell_options.hpp"
#include "check.hpp"

namespace lstmcore {

template <class T, int Rank>
void require_parameter_shape(const char* name, const LstmParameter& parameter, const View<T, Rank>& view) {
  std::array<Index, static_cast<std::size_t>(Rank)> expected{};
  std::copy(parameter.shape.begin(), parameter.shape.end(), expected.begin());
  require_shape(name, view, expected);
}

/// Throws if a cell has weights that the configuration has no use for: they would be ignored silently.
template <class Element>
void require_no_others(const LstmConfig& config, const std::vector<LstmCellWeights<Element>>& cells) {
  for (const LstmCellWeights<Element>& cell : cells) {
    require(config.bias || !cell.bias, "bias: expected none in a configuration without biases, got one");
    require(config.peephole || !cell.peephole, "peephole: expected none in a configuration without peepholes, got one");
    require(config.proj_size > 0 || !cell.weight_hr,
            "weight_hr: expected none in a configuration without a projection, got one");
    require(config.layer_norm || (!cell.gain_ih && !cell.gain_hh && !cell.gain_c && !cell.bias_c),
            "gain_ih, gain_hh, gain_c, bias_c: expected none in a configuration without layer norms, got some");
    require(config.bias || !cell.bias_c, "bias_c: expected none in a configuration without biases, got one");
  }
}

/// Throws if a value that elements are compared or computed with becomes 0 or infinite in their type.
template <class T>
void check_representable(const LstmConfig& config) {
  const auto check = [](const char* name, double value) {
    const T rounded = static_cast<T>(value);
    require((value == 0.0) == (rounded == T(0)) && std::isfinite(rounded), name,
            ": expected a number that the element type of the weights can hold, got ", value);
  };
  cell_options::for_each([&](const auto& option) {
    const auto& value = config.*option.member;
    using Option = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<Option, LstmActivation>) {
      check(option.name, value.alpha);
      check(option.name, value.beta);
    } else if constexpr (std::is_same_v<Option, double>) {
      if (option.used_as_element()) check(option.name, value);
    }
  });
}

template <class T>
void check_weights(const LstmConfig& config, const std::vector<LstmParameter>& parameters,
                   const LstmWeights<T>& weights) {
  const auto cells = count(config.num_layers * config.directions());
  require(weights.size() == cells, "weights: expected ", cells, " entries (layers x directions), got ", weights.size());
  require_no_others(config, weights);
  for (const LstmParameter& parameter : parameters) {
    weights[count(parameter.cell)].visit(parameter.tensor, [&](const auto& view) {
      require_present(parameter.name.c_str(), view);
      require_parameter_shape(parameter.name.c_str(), parameter, view);
    });
  }
}

/// Throws unless the stride of the last axis is 1; an axis of one element may have any.
template <class T, int Rank>
void require_unit_stride(const char* name, const View<T, Rank>& view) {
  if (view.shape[Rank - 1] > 1 && view.stride[Rank - 1] != 1) {
    fail(name, ": expected unit stride on the last axis, got stride ", view.stride[Rank - 1]);
  }
}

template <class T>
void check_sequence(const LstmConfig& config, const LstmSequence<T>& sequence) {
  const auto& x = sequence.x;
  require_present("x", x);
  if (x.shape[2] != config.input_size) fail("x: expected shape (N, T, ", config.input_size, "), got ", shape_text(x));
  const Index batch = x.shape[0], steps = x.shape[1];
  const Index width = 16 * (config.hidden_size + 64) * config.directions() + config.input_size;
  if (!size_fits(std::array<Index, 4>{batch, steps, width, Index{sizeof(T)}})) {
    fail("x: expected sizes whose products fit into 64 bits, got ", shape_text(x));
  }
  if (sequence.lengths) {
    require_shape("lengths", sequence.lengths, {batch});
    for (Index row = 0; row < batch; ++row) {
      const Index length = sequence.lengths(row);
      require(length >= 0 && length <= steps, "lengths: expected values from 0 to ", steps, ", got ", length,
              " at row ", row);
    }
  }
  if (sequence.reset) require_shape("reset", sequence.reset, {batch, steps});
  if (sequence.mask) {
    require_shape("mask", sequence.mask, {batch, steps});
    require(!sequence.lengths, "mask: expected none alongside lengths, got both");
  }
  require(sequence.recompute >= recompute_sqrt, "recompute: expected at least 0, or recompute_sqrt, got ",
          sequence.recompute);
}

template <class T>
void check_state(const char* h_name, const char* c_name, const LstmConfig& config, Index batch, const View<T, 3>& h,
                 const View<T, 3>& c) {
  const Index cells = config.num_layers * config.directions();
  if (h) require_shape(h_name, h, {cells, batch, config.state_size()});
  if (c) require_shape(c_name, c, {cells, batch, config.hidden_size});
}

/// `what` is put in front of the arguments' names in error messages.
template <class T>
void check_gradients(const LstmConfig& config, const std::vector<LstmParameter>& parameters, const Schedule& schedule,
                     const LstmOutputGradients<T>& outputs, const LstmInputGradients<T>& inputs,
                     const std::string& what = "") {
  const auto name = [&](const char* argument) { return what + argument; };
  if (outputs.y) {
    require_shape(name("dy").c_str(), outputs.y, {schedule.rows, schedule.steps, config.output_size()});
    require_unit_stride(name("dy").c_str(), outputs.y);
  }
  check_state(name("dh").c_str(), name("dc").c_str(), config, schedule.rows, outputs.h, outputs.c);
  if (inputs.x) {
    require_shape(name("dx").c_str(), inputs.x, {schedule.rows, schedule.steps, config.input_size});
    require_unit_stride(name("dx").c_str(), inputs.x);
  }
  check_state(name("dh0").c_str(), name("dc0").c_str(), config, schedule.rows, inputs.h, inputs.c);
  if (inputs.weights.empty()) return;
  const auto cells = count(config.num_layers * config.directions());
  require(inputs.weights.size() == cells, what, "weight gradients: expected ", cells, " entries, got ",
          inputs.weights.size());
  require_no_others(config, inputs.weights);
  for (const LstmParameter& parameter : parameters) {
    inputs.weights[count(parameter.cell)].visit(parameter.tensor, [&](const auto& view) {
      if (!view || std::equal(view.shape.begin(), view.shape.end(), parameter.shape.begin(), parameter.shape.end()))
        return;
      require_parameter_shape((what + "gradient of " + parameter.name).c_str(), parameter, view);
    });
  }
}

}  // namespace lstmcore
