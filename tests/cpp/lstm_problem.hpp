// An LSTM call with all its data, run by the engine or by the reference.
//
// x and dy hold NaN past a row's length, where a call must not read, and outputs hold NaN until they are written, so
// that a wrong read or a missing write shows.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <lstmcore/lstm.hpp>
#include <string>
#include <valarray>
#include <vector>

#include "random.hpp"
#include "reference/reference.hpp"

using Index = std::int64_t;

/// What distinguishes one call from another. `reason`: what only this one can show.
struct Shape {
  std::string reason;
  lstmcore::LstmConfig config;
  Index N = 1, steps = 1;
  std::vector<std::int64_t> lengths{};              // empty: absent
  std::vector<std::vector<std::int64_t>> resets{};  // the steps of each row; empty: absent
  bool initial_state = true;
  std::vector<std::vector<std::int64_t>> missing{};  // the steps of each row that a mask excludes; empty: absent
};

inline lstmcore::LstmConfig lstm_config(Index C, Index H, Index L = 1) {
  lstmcore::LstmConfig config;
  config.input_size = C;
  config.hidden_size = H;
  config.num_layers = L;
  return config;
}

inline lstmcore::LstmConfig bidirectional(lstmcore::LstmConfig config) {
  config.bidirectional = true;
  return config;
}

inline lstmcore::LstmConfig backwards(lstmcore::LstmConfig config) {
  config.go_backwards = true;
  return config;
}

inline lstmcore::LstmConfig with_dropout(lstmcore::LstmConfig config, double rate) {
  config.dropout = rate;
  return config;
}

template <class T>
std::vector<T> not_a_number(std::size_t count) {
  return std::vector<T>(count, std::numeric_limits<T>::quiet_NaN());
}

template <class T>
struct Problem {
  lstmcore::LstmConfig config;
  Index N = 0, steps = 0;
  std::uint64_t seed = 0;
  Index recompute = 0;
  lstmcore::Precision precision = lstmcore::Precision::fp32;  // of the engine
  std::vector<std::vector<T>> weight_ih, weight_hh, bias;     // [layer * D + direction]
  std::vector<std::vector<T>> peephole, weight_hr;            // the same, or empty
  std::vector<std::vector<T>> gain_ih, gain_hh, gain_c, bias_c;
  std::vector<T> x;                   // (N, T, C)
  std::vector<std::int64_t> lengths;  // (N) or absent
  std::valarray<bool> reset;          // (N, T) or absent
  std::valarray<bool> mask;           // (N, T) or absent
  std::vector<T> h0, c0;              // (L * D, N, H) or absent
  std::vector<T> dy, dh, dc;

  Index cells() const { return config.num_layers * config.directions(); }
  Index h_size() const { return cells() * N * config.state_size(); }
  Index c_size() const { return cells() * N * config.hidden_size; }
  Index y_size() const { return N * steps * config.output_size(); }
  Index length(Index n) const { return lengths.empty() ? steps : lengths[n]; }

  lstmcore::LstmWeights<T> weights() const {
    const Index H = config.hidden_size, S = config.state_size();
    lstmcore::LstmWeights<T> views;
    for (Index cell = 0; cell < cells(); ++cell) {
      const Index C = config.layer_input_size(cell / config.directions());
      views.push_back({{weight_ih[cell].data(), {4 * H, C}},
                       {weight_hh[cell].data(), {4 * H, S}},
                       {bias[cell].data(), {4 * H}},
                       {}});
      if (!config.bias) views.back().bias = {};
      if (config.peephole) views.back().peephole = {peephole[cell].data(), {3 * H}};
      if (config.proj_size > 0) views.back().weight_hr = {weight_hr[cell].data(), {S, H}};
      if (config.layer_norm) {
        views.back().gain_ih = {gain_ih[cell].data(), {4 * H}};
        views.back().gain_hh = {gain_hh[cell].data(), {4 * H}};
        views.back().gain_c = {gain_c[cell].data(), {H}};
        if (config.bias) views.back().bias_c = {bias_c[cell].data(), {H}};
      }
    }
    return views;
  }

  lstmcore::LstmSequence<T> sequence() const {
    lstmcore::LstmSequence<T> views;
    views.x = {x.data(), {N, steps, config.input_size}};
    if (!lengths.empty()) views.lengths = {lengths.data(), {N}};
    if (reset.size() > 0) views.reset = {&reset[0], {N, steps}};
    if (mask.size() > 0) views.mask = {&mask[0], {N, steps}};
    views.seed = seed;
    views.recompute = recompute;
    return views;
  }

  lstmcore::LstmOutputGradients<T> output_gradients() const {
    const Index H = config.hidden_size;
    lstmcore::LstmOutputGradients<T> views;
    if (!dy.empty()) views.y = {dy.data(), {N, steps, config.output_size()}};
    if (!dh.empty()) views.h = {dh.data(), {cells(), N, config.state_size()}};
    if (!dc.empty()) views.c = {dc.data(), {cells(), N, H}};
    return views;
  }
};

/// All outputs of a forward and a backward.
template <class T>
struct Result {
  std::vector<T> y, h, c;
  std::vector<T> dx, dh0, dc0;
  std::vector<std::vector<T>> dweight_ih, dweight_hh, dbias, dpeephole, dweight_hr, dgain_ih, dgain_hh, dgain_c,
      dbias_c;
};

template <class T>
Problem<T> make_problem(const Shape& shape, std::uint64_t seed = 1) {
  Problem<T> p;
  p.config = shape.config;
  p.N = shape.N;
  p.steps = shape.steps;
  p.lengths = shape.lengths;
  p.seed = 0x9E3779B97F4A7C15u + seed;  // both halves of the key are used
  const Index H = p.config.hidden_size, S = p.config.state_size(), C = p.config.input_size, Y = p.config.output_size();
  for (Index cell = 0; cell < p.cells(); ++cell) {
    const Index width = p.config.layer_input_size(cell / p.config.directions());
    // Weights for which gates are neither linear nor saturated, so that every factor of the gradient counts.
    p.weight_ih.push_back(random_values<T>(4 * H * width, seed + 10 * cell + 1, 1.5 / std::sqrt(double(width))));
    p.weight_hh.push_back(random_values<T>(4 * H * S, seed + 10 * cell + 2, 1.5 / std::sqrt(double(S))));
    p.bias.push_back(random_values<T>(4 * H, seed + 10 * cell + 3));
    if (p.config.peephole) p.peephole.push_back(random_values<T>(3 * H, seed + 10 * cell + 4));
    if (p.config.proj_size > 0) {
      p.weight_hr.push_back(random_values<T>(S * H, seed + 10 * cell + 5, 2.0 / std::sqrt(double(H))));
    }
    if (p.config.layer_norm) {
      p.gain_ih.push_back(random_values<T>(4 * H, seed + 10 * cell + 6));
      p.gain_hh.push_back(random_values<T>(4 * H, seed + 10 * cell + 7));
      p.gain_c.push_back(random_values<T>(H, seed + 10 * cell + 8));
      p.bias_c.push_back(random_values<T>(H, seed + 10 * cell + 9));
    }
  }
  p.x = random_values<T>(p.N * p.steps * C, seed + 1001);
  p.dy = random_values<T>(p.y_size(), seed + 1002);
  p.dh = random_values<T>(p.h_size(), seed + 1003);
  p.dc = random_values<T>(p.c_size(), seed + 1004);
  if (shape.initial_state) {
    p.h0 = random_values<T>(p.h_size(), seed + 1005);
    p.c0 = random_values<T>(p.c_size(), seed + 1006);
  }
  if (!shape.resets.empty()) {
    p.reset.resize(static_cast<std::size_t>(p.N * p.steps), false);
    for (Index n = 0; n < p.N; ++n) {
      for (Index t : shape.resets[n]) p.reset[n * p.steps + t] = true;
    }
  }
  if (!shape.missing.empty()) p.mask.resize(static_cast<std::size_t>(p.N * p.steps), true);
  for (Index n = 0; n < p.N && !shape.missing.empty(); ++n) {
    for (Index t : shape.missing[n]) p.mask[n * p.steps + t] = false;
  }
  for (Index n = 0; n < p.N; ++n) {
    for (Index t = 0; t < p.steps; ++t) {
      if (t < p.length(n) && (p.mask.size() == 0 || p.mask[n * p.steps + t])) continue;
      for (Index k = 0; k < C; ++k) p.x[(n * p.steps + t) * C + k] = std::numeric_limits<T>::quiet_NaN();
      for (Index k = 0; k < Y; ++k) p.dy[(n * p.steps + t) * Y + k] = std::numeric_limits<T>::quiet_NaN();
    }
  }
  return p;
}

template <class To, class From>
std::vector<To> converted(const std::vector<From>& from) {
  return std::vector<To>(from.begin(), from.end());
}

template <class To, class From>
std::vector<std::vector<To>> converted(const std::vector<std::vector<From>>& from) {
  std::vector<std::vector<To>> to;
  for (const std::vector<From>& values : from) to.push_back(converted<To>(values));
  return to;
}

template <class To, class From>
Problem<To> converted(const Problem<From>& from) {
  Problem<To> to;
  to.config = from.config;
  to.N = from.N;
  to.steps = from.steps;
  to.seed = from.seed;
  to.lengths = from.lengths;
  to.reset.resize(from.reset.size());
  to.reset = from.reset;
  to.mask.resize(from.mask.size());
  to.mask = from.mask;
  to.weight_ih = converted<To>(from.weight_ih);
  to.weight_hh = converted<To>(from.weight_hh);
  to.bias = converted<To>(from.bias);
  to.peephole = converted<To>(from.peephole);
  to.weight_hr = converted<To>(from.weight_hr);
  to.gain_ih = converted<To>(from.gain_ih);
  to.gain_hh = converted<To>(from.gain_hh);
  to.gain_c = converted<To>(from.gain_c);
  to.bias_c = converted<To>(from.bias_c);
  to.x = converted<To>(from.x);
  to.h0 = converted<To>(from.h0);
  to.c0 = converted<To>(from.c0);
  to.dy = converted<To>(from.dy);
  to.dh = converted<To>(from.dh);
  to.dc = converted<To>(from.dc);
  return to;
}

/// Memory for the results of `p`, and views of it.
template <class T>
struct Outputs {
  Result<T> result;
  lstmcore::View<T, 3> y;
  lstmcore::LstmState<T> state;
  lstmcore::LstmInputGradients<T> inputs;

  explicit Outputs(const Problem<T>& p) {
    const Index H = p.config.hidden_size, S = p.config.state_size();
    result.y = not_a_number<T>(p.y_size());
    result.h = p.h0.empty() ? std::vector<T>(p.h_size(), T(0)) : p.h0;
    result.c = p.c0.empty() ? std::vector<T>(p.c_size(), T(0)) : p.c0;
    result.dx = not_a_number<T>(p.x.size());
    result.dh0 = not_a_number<T>(p.h_size());
    result.dc0 = not_a_number<T>(p.c_size());
    y = {result.y.data(), {p.N, p.steps, p.config.output_size()}};
    state = {{result.h.data(), {p.cells(), p.N, S}}, {result.c.data(), {p.cells(), p.N, H}}};
    inputs.x = {result.dx.data(), {p.N, p.steps, p.config.input_size}};
    inputs.h = {result.dh0.data(), {p.cells(), p.N, S}};
    inputs.c = {result.dc0.data(), {p.cells(), p.N, H}};
    for (const auto& values : p.weight_ih) result.dweight_ih.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.weight_hh) result.dweight_hh.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.bias) result.dbias.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.peephole) result.dpeephole.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.weight_hr) result.dweight_hr.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.gain_ih) result.dgain_ih.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.gain_hh) result.dgain_hh.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.gain_c) result.dgain_c.push_back(not_a_number<T>(values.size()));
    for (const auto& values : p.bias_c) result.dbias_c.push_back(not_a_number<T>(values.size()));
    for (Index cell = 0; cell < p.cells(); ++cell) {
      const Index C = p.config.layer_input_size(cell / p.config.directions());
      inputs.weights.push_back({{result.dweight_ih[cell].data(), {4 * H, C}},
                                {result.dweight_hh[cell].data(), {4 * H, S}},
                                {result.dbias[cell].data(), {4 * H}},
                                {}});
      if (!p.config.bias) inputs.weights.back().bias = {};
      if (p.config.peephole) inputs.weights.back().peephole = {result.dpeephole[cell].data(), {3 * H}};
      if (p.config.proj_size > 0) inputs.weights.back().weight_hr = {result.dweight_hr[cell].data(), {S, H}};
      if (!p.config.layer_norm) continue;
      inputs.weights.back().gain_ih = {result.dgain_ih[cell].data(), {4 * H}};
      inputs.weights.back().gain_hh = {result.dgain_hh[cell].data(), {4 * H}};
      inputs.weights.back().gain_c = {result.dgain_c[cell].data(), {H}};
      if (p.config.bias) inputs.weights.back().bias_c = {result.dbias_c[cell].data(), {H}};
    }
  }
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;
};

/// An inference forward, without dropout.
template <class T>
Result<T> infer(const Problem<T>& p) {
  Outputs<T> out(p);
  lstmcore::Lstm<T>(p.config, p.weights(), p.precision).forward(p.sequence(), out.y, out.state);
  return out.result;
}

/// A training forward and its backward.
template <class T>
Result<T> train(const Problem<T>& p) {
  Outputs<T> out(p);
  const lstmcore::Lstm<T> lstm(p.config, p.weights(), p.precision);
  lstmcore::LstmTape<T> tape;
  lstm.forward(p.sequence(), out.y, out.state, tape);
  lstm.backward(tape, p.output_gradients(), out.inputs);
  return out.result;
}

template <class T>
Result<T> reference_infer(const Problem<T>& p) {
  Outputs<T> out(p);
  lstmcore::reference::lstm(p.config, p.weights(), p.sequence(), out.y, out.state);
  return out.result;
}

template <class T>
Result<T> reference_train(const Problem<T>& p) {
  Outputs<T> out(p);
  lstmcore::reference::Tape<T> tape;
  lstmcore::reference::lstm(p.config, p.weights(), p.sequence(), out.y, out.state, &tape);
  lstmcore::reference::dlstm(p.config, p.weights(), p.sequence(), tape, p.output_gradients(), out.inputs);
  return out.result;
}
