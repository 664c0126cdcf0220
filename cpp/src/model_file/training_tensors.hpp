// The tensors from which training continues.
#pragma once

#include "json.hpp"
#include "members.hpp"

namespace lstmcore {

struct TrainingTensors {
  Names slots;   ///< of the optimizer, such as "optimizer.m": one element for each parameter of the model
  Names others;  ///< of any shape: arrays of callbacks and states of layers
};

/// From the metadata's "training", null for a model without one. Throws std::runtime_error if it is malformed.
TrainingTensors training_tensors(const json::Value& training);

}  // namespace lstmcore
