// The variants of the cell, alone and together.
#pragma once

#include <functional>

#include "lstm_problem.hpp"

struct Variant {
  std::string name;
  std::function<void(lstmcore::LstmConfig&)> set;

  lstmcore::LstmConfig of(lstmcore::LstmConfig config) const {
    set(config);
    return config;
  }
};

/// Whether a training forward draws random masks, which depend on a row's place in the batch.
inline bool has_random_masks(const lstmcore::LstmConfig& config) {
  return config.dropout > 0 || config.input_dropout > 0 || config.recurrent_dropout > 0 || config.weight_dropout > 0 ||
         config.zoneout_h > 0 || config.zoneout_c > 0;
}

/// Factor by which the tolerances of a cell are larger: gates above 1 let errors grow from step to step.
inline double growth(const lstmcore::LstmConfig& config) {
  using lstmcore::LstmFunction;
  const LstmFunction gate = config.gate_activation.function;
  const bool bounded =
      gate == LstmFunction::sigmoid || gate == LstmFunction::tanh || gate == LstmFunction::hard_sigmoid;
  const double products = config.proj_size > 0 ? 2.0 : 1.0;  // one after the other, at every step
  // Division by a small standard deviation amplifies rounding.
  const double norms = config.layer_norm ? 3.0 : 1.0;
  return bounded ? products * norms : 10.0;
}

/// Whether gradients are those of the functions that the cheaper activations approximate, within 5e-5 of their own.
inline bool has_fast_activations(const lstmcore::LstmConfig& config) {
  using lstmcore::LstmFunction;
  const auto is_fast = [](const lstmcore::LstmActivation& activation) {
    return activation.function == LstmFunction::fast_sigmoid || activation.function == LstmFunction::fast_tanh;
  };
  return is_fast(config.gate_activation) || is_fast(config.cell_activation) || is_fast(config.output_activation);
}

inline std::vector<Variant> variants() {
  using Config = lstmcore::LstmConfig;
  using Function = lstmcore::LstmFunction;
  std::vector<Variant> all = {
      {"no bias", [](Config& c) { c.bias = false; }},
      {"peephole", [](Config& c) { c.peephole = true; }},
      {"projection", [](Config& c) { c.proj_size = (c.hidden_size + 1) / 2; }},
      {"projection to one, bound, peephole",
       [](Config& c) {
         c.proj_size = 1;
         c.proj_clip = 0.3;
         c.peephole = true;
       }},
      {"projection to all, zoneout of c, dropout of weights and input",
       [](Config& c) {
         c.proj_size = c.hidden_size;
         c.zoneout_c = c.weight_dropout = c.input_dropout = c.dropout = 0.25;
       }},
      {"projection, zoneout of h and c, recurrent dropout, bound",
       [](Config& c) {
         c.proj_size = (c.hidden_size + 1) / 2;
         c.zoneout_h = c.zoneout_c = c.recurrent_dropout = 0.25;
         c.proj_clip = 0.5;
       }},
      // A larger epsilon, since two or three units may have a small spread of c, which would amplify all rounding.
      {"layer norms",
       [](Config& c) {
         c.layer_norm = true;
         c.layer_norm_epsilon = 0.05;
       }},
      {"layer norms, no bias",
       [](Config& c) {
         c.layer_norm = true;
         c.layer_norm_epsilon = 0.05;
         c.bias = false;
       }},
      {"layer norms, coupled gates, peephole, zoneout, recurrent dropout",
       [](Config& c) {
         c.layer_norm = c.coupled_gates = c.peephole = true;
         c.zoneout_h = c.zoneout_c = c.recurrent_dropout = 0.3;
         c.layer_norm_epsilon = 0.1;
       }},
      {"layer norms, projection, bounds, dropout of weights",
       [](Config& c) {
         c.layer_norm = true;
         c.layer_norm_epsilon = 0.05;
         c.proj_size = (c.hidden_size + 1) / 2;
         c.cell_clip = 0.8;
         c.gate_clip = 1.5;
         c.output_clip = 0.6;
         c.weight_dropout = c.dropout = 0.25;
       }},
      {"coupled gates", [](Config& c) { c.coupled_gates = true; }},
      {"bound of c", [](Config& c) { c.cell_clip = 0.4; }},
      {"bound of the activations", [](Config& c) { c.gate_clip = 0.6; }},
      {"bound of the output's activation", [](Config& c) { c.output_clip = 0.3; }},
      {"zoneout of h", [](Config& c) { c.zoneout_h = 0.3; }},
      {"zoneout of c", [](Config& c) { c.zoneout_c = 0.4; }},
      {"recurrent dropout", [](Config& c) { c.recurrent_dropout = 0.4; }},
      {"dropout of the recurrent weights", [](Config& c) { c.weight_dropout = 0.4; }},
      {"input dropout", [](Config& c) { c.input_dropout = 0.4; }},
      {"peephole, zoneout of h and c, both bounds",
       [](Config& c) {
         c.peephole = true;
         c.zoneout_h = c.zoneout_c = 0.3;
         c.cell_clip = 0.5;
         c.gate_clip = 0.8;
       }},
      {"the cheaper activations",
       [](Config& c) {
         c.gate_activation = {Function::fast_sigmoid};
         c.cell_activation = c.output_activation = {Function::fast_tanh};
       }},
      {"everything",
       [](Config& c) {
         c.peephole = c.coupled_gates = true;
         c.zoneout_h = 0.2;
         c.zoneout_c = 0.1;
         c.cell_clip = 0.7;
         c.gate_clip = 1.1;
         c.output_clip = 0.5;
         c.dropout = c.input_dropout = c.recurrent_dropout = c.weight_dropout = 0.25;
         c.gate_activation = {Function::hard_sigmoid, 0.2, 0.5};
         c.cell_activation = {Function::softsign};
         c.output_activation = {Function::elu, 0.7};
       }},
  };
  const std::vector<std::pair<std::string, lstmcore::LstmActivation>> functions = {
      {"sigmoid", {Function::sigmoid}},
      {"tanh", {Function::tanh}},
      {"relu", {Function::relu}},
      {"leaky relu", {Function::leaky_relu, 0.1}},
      {"elu", {Function::elu, 0.8}},
      {"hard sigmoid", {Function::hard_sigmoid, 0.3, 0.4}},
      {"softsign", {Function::softsign}},
      {"softplus", {Function::softplus}},
      {"affine", {Function::affine, 0.4, 0.3}},
      {"scaled tanh", {Function::scaled_tanh, 1.3, 0.6}},
      {"thresholded relu", {Function::thresholded_relu, 0.2}},
      {"linear", {Function::linear}},
      {"fast sigmoid", {Function::fast_sigmoid}},
      {"fast tanh", {Function::fast_tanh}},
  };
  for (const auto& [name, function] : functions) {
    const lstmcore::LstmActivation activation = function;
    // Gates above 1 let errors grow from step to step; a bound of c limits them.
    all.push_back({name + " for the gates", [=](Config& c) {
                     c.gate_activation = activation;
                     c.cell_clip = 1.0;
                   }});
    all.push_back({name + " for the cell", [=](Config& c) { c.cell_activation = activation; }});
    all.push_back({name + " for the output", [=](Config& c) { c.output_activation = activation; }});
  }
  return all;
}
