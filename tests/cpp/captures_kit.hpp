// Small captures with random weights, written in each format, and a slow loop that plays them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "random.hpp"

/// A stack of LSTMs of the same width and one linear output, in double.
struct CaptureMaker {
  std::int64_t inputs = 1, units = 5, layers = 1;
  bool skip = false, first_state = false;
  double input_gain = 1, output_gain = 1;

  std::vector<float> random(std::int64_t count, std::uint64_t what, std::int64_t layer, double scale = 0.8) const {
    return random_values<float>(count, 100 * static_cast<std::uint64_t>(layer) + what, scale);
  }
  std::int64_t width(std::int64_t layer) const { return layer == 0 ? inputs : units; }
  // (4H, C), (4H, H), (4H), (H), (H), row-major, gates i, f, g, o.
  std::vector<float> ih(std::int64_t layer) const { return random(4 * units * width(layer), 1, layer); }
  std::vector<float> hh(std::int64_t layer) const { return random(4 * units * units, 2, layer); }
  std::vector<float> bias(std::int64_t layer) const { return random(4 * units, 3, layer); }
  std::vector<float> h(std::int64_t layer) const { return random(units, 4, layer, first_state ? 0.8 : 0); }
  std::vector<float> c(std::int64_t layer) const { return random(units, 5, layer, first_state ? 0.8 : 0); }
  std::vector<float> head() const { return random(units, 6, 0); }
  float head_bias() const { return random(1, 7, 0)[0]; }

  /// Plays x, with the controls at these values, by the equations.
  std::vector<double> played(const std::vector<float>& x, const std::vector<float>& controls = {}) const {
    std::vector<std::vector<double>> h_now, c_now;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const std::vector<float> h0 = h(layer), c0 = c(layer);
      h_now.emplace_back(h0.begin(), h0.end());
      c_now.emplace_back(c0.begin(), c0.end());
    }
    std::vector<double> y;
    for (const float sample : x) {
      std::vector<double> values = {input_gain * static_cast<double>(sample)};
      values.insert(values.end(), controls.begin(), controls.end());
      const double dry = values[0];
      for (std::int64_t layer = 0; layer < layers; ++layer) {
        const auto at = static_cast<std::size_t>(layer);
        step(layer, values, h_now[at], c_now[at]);
        values = h_now[at];
      }
      double out = static_cast<double>(head_bias()) + (skip ? dry : 0.0);
      const std::vector<float> weights = head();
      for (std::size_t unit = 0; unit < values.size(); ++unit) out += values[unit] * static_cast<double>(weights[unit]);
      y.push_back(output_gain * out);
    }
    return y;
  }

  void step(std::int64_t layer, const std::vector<double>& x, std::vector<double>& h_now,
            std::vector<double>& c_now) const {
    const std::vector<float> w = ih(layer), u = hh(layer), b = bias(layer);
    const auto sum = [&](std::int64_t row) {
      double total = static_cast<double>(b[static_cast<std::size_t>(row)]);
      for (std::size_t k = 0; k < x.size(); ++k)
        total += x[k] * static_cast<double>(w[static_cast<std::size_t>(row) * x.size() + k]);
      for (std::size_t k = 0; k < h_now.size(); ++k) {
        total += h_now[k] * static_cast<double>(u[static_cast<std::size_t>(row) * h_now.size() + k]);
      }
      return total;
    };
    const auto sigmoid = [](double value) { return 1 / (1 + std::exp(-value)); };
    std::vector<double> h_next = h_now;
    for (std::int64_t unit = 0; unit < units; ++unit) {
      double& cell = c_now[static_cast<std::size_t>(unit)];
      cell = sigmoid(sum(units + unit)) * cell + sigmoid(sum(unit)) * std::tanh(sum(2 * units + unit));
      h_next[static_cast<std::size_t>(unit)] = sigmoid(sum(3 * units + unit)) * std::tanh(cell);
    }
    h_now = h_next;
  }

  // ---- the formats ----

  static std::string text(float value) {
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.9g", static_cast<double>(value));
    return buffer;
  }
  static std::string list(const std::vector<float>& values) {
    std::string result;
    for (const float value : values) result += (result.empty() ? "" : ", ") + text(value);
    return "[" + result + "]";
  }
  /// A list of `rows` rows; transposed, of the columns.
  static std::string matrix(const std::vector<float>& values, std::int64_t rows, bool transposed = false) {
    const auto columns = static_cast<std::int64_t>(values.size()) / rows;
    std::string result;
    for (std::int64_t i = 0; i < (transposed ? columns : rows); ++i) {
      std::vector<float> row;
      for (std::int64_t k = 0; k < (transposed ? rows : columns); ++k) {
        row.push_back(values[static_cast<std::size_t>(transposed ? k * columns + i : i * columns + k)]);
      }
      result += (result.empty() ? "" : ", ") + list(row);
    }
    return "[" + result + "]";
  }

  std::string nam() const {
    std::vector<float> all;
    const auto add = [&](const std::vector<float>& values) { all.insert(all.end(), values.begin(), values.end()); };
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const std::vector<float> w = ih(layer), u = hh(layer);
      for (std::int64_t row = 0; row < 4 * units; ++row) {
        add({w.begin() + row * width(layer), w.begin() + (row + 1) * width(layer)});
        add({u.begin() + row * units, u.begin() + (row + 1) * units});
      }
      add(bias(layer));
      add(h(layer));
      add(c(layer));
    }
    add(head());
    add({head_bias()});
    return R"({"version": "0.5.4", "metadata": {"name": "Verst\u00e4rker", "loudness": -17.5, "input_level_dbu": 18.3,)"
           R"( "output_level_dbu": null}, "architecture": "LSTM", "config": {"input_size": 1, "hidden_size": )" +
           std::to_string(units) + ", \"num_layers\": " + std::to_string(layers) + "}, \"weights\": " + list(all) +
           ", \"sample_rate\": 48000}";
  }

  std::string rtneural() const {
    std::string text_of_layers;
    const std::string shape = "\"shape\": [null, null, " + std::to_string(units) + "]";
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      text_of_layers += R"({"type": "lstm", "activation": "", )" + shape + ", \"weights\": [" +
                        matrix(ih(layer), 4 * units, true) + ", " + matrix(hh(layer), 4 * units, true) + ", " +
                        list(bias(layer)) + "]}, ";
    }
    text_of_layers += R"({"type": "dense", "activation": "", "shape": [null, null, 1], "weights": [)" +
                      matrix(head(), 1, true) + ", " + list({head_bias()}) + "]}";
    return "{\"in_shape\": [null, null, " + std::to_string(inputs) + "], \"in_skip\": " + (skip ? "1" : "0") +
           ", \"in_gain\": " + decibels(input_gain) + ", \"out_gain\": " + decibels(output_gain) +
           R"(, "metadata": {"name": "box", "samplerate": 44100.0}, "layers": [)" + text_of_layers + "]}";
  }
  static std::string decibels(double gain) { return std::to_string(20 * std::log10(gain)); }

  std::string tensors() const {
    std::string result;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const std::string end = "_l" + std::to_string(layer) + "\": ";
      result += "\"rec.weight_ih" + end + matrix(ih(layer), 4 * units) + ", \"rec.weight_hh" + end +
                matrix(hh(layer), 4 * units) + ", \"rec.bias_ih" + end + list(bias(layer)) + ", \"rec.bias_hh" + end +
                list(std::vector<float>(static_cast<std::size_t>(4 * units))) + ", ";
    }
    return result + "\"lin.weight\": " + matrix(head(), 1) + ", \"lin.bias\": " + list({head_bias()});
  }

  std::string state_dict() const {
    return R"({"model_data": {"model": "SimpleRNN", "unit_type": "LSTM", "input_size": )" + std::to_string(inputs) +
           ", \"hidden_size\": " + std::to_string(units) + ", \"num_layers\": " + std::to_string(layers) +
           ", \"output_size\": 1, \"skip\": " + (skip ? "1" : "0") + ", \"bias_fl\": true}, \"state_dict\": {" +
           tensors() + "}}";
  }
};
