#include "training_tensors.hpp"

#include <string>

#include "file_error.hpp"

namespace lstmcore {
namespace {

using json::Value;
using Kind = json::Value::Kind;

Names optimizer_slots(const Value& training) {
  const Value& compiled = require_member("training", training, "compile", Kind::object);
  const Value& optimizer = require_member("training", compiled, "optimizer", Kind::object);
  const std::string& name = require_member("optimizer", optimizer, "class", Kind::string).string();
  const Value& config = require_member("optimizer", optimizer, "config", Kind::object);
  if (name == "Adam" || name == "AdamW") return {"optimizer.m", "optimizer.v"};
  if (name == "RMSprop") return {"optimizer.mean_square"};
  if (name != "SGD") fail_reading("optimizer: unknown class " + in_quotes(name));
  const Value* const momentum = config.find("momentum");
  if (momentum == nullptr) fail_reading("optimizer: missing momentum");
  if (momentum->integer() == 0 && momentum->real() == 0) return {};
  return {"optimizer.velocity"};
}

/// Arrays of callbacks: "callbacks.<place>.<name>".
Names callback_tensors(const Value& training) {
  Names names;
  if (training.find("callbacks") == nullptr) return names;
  std::size_t place = 0;
  for (const Value& callback : require_member("training", training, "callbacks", Kind::array).array()) {
    require_exactly("callbacks", callback, {"class", "number", "state", "tensors"});
    require_member("callbacks", callback, "class", Kind::string);
    require_member("callbacks", callback, "number", Kind::integer);
    require_member("callbacks", callback, "state", Kind::object);
    for (const Value& name : require_member("callbacks", callback, "tensors", Kind::array).array()) {
      if (!name.is(Kind::string)) fail_reading("callbacks: expected a list of strings as tensors");
      names.push_back("callbacks." + std::to_string(place) + "." + name.string());
    }
    ++place;
  }
  return names;
}

/// The states of layers after the last batch of a stateful training: "state.<layer>.h" and "state.<layer>.c".
Names state_tensors(const Value& training) {
  Names names;
  if (training.find("state") == nullptr) return names;
  for (const Value& layer : require_member("training", training, "state", Kind::array).array()) {
    if (!layer.is(Kind::string)) fail_reading("state: expected a list of strings");
    names.push_back("state." + layer.string() + ".h");
    names.push_back("state." + layer.string() + ".c");
  }
  return names;
}

}  // namespace

TrainingTensors training_tensors(const Value& training) {
  if (training.is(Kind::null)) return {};
  require_exactly("training", training, {"compile", "iterations", "epoch"}, {"callbacks", "state"});
  TrainingTensors tensors{optimizer_slots(training), callback_tensors(training)};
  for (const std::string& name : state_tensors(training)) tensors.others.push_back(name);
  return tensors;
}

}  // namespace lstmcore
