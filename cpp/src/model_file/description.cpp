#include "description.hpp"

#include <algorithm>
#include <lstmcore/lstm.hpp>
#include <utility>

#include "../runtime/errors.hpp"
#include "file_error.hpp"
#include "layer_kind.hpp"

namespace lstmcore {

using json::Value;
using Kind = json::Value::Kind;

namespace {

Names joined_names(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

}  // namespace

Description::Description(std::string place, const Value& value, bool nested) : where_(std::move(place)) {
  require_exactly(where_, value, nested ? Names{"class", "config"} : Names{"class", "name", "config"});
  const std::string& class_name = require_member(where_, value, "class", Kind::string).string();
  kind_ = &layer_kind(class_name, where_);
  where_ += " (" + class_name + ")";
  config_ = &require_member(where_, value, "config", Kind::object);
  require_exactly(where_, *config_, nested ? joined_names(kind_->options, {"name"}) : kind_->options,
                  joined_names(kind_->optional, {"trainable"}));
  if (has("trainable")) flag("trainable");  // of training only
}

void Description::fail(const std::string& what) const { fail_reading(where_ + ": " + what); }

bool Description::is(const char* class_name) const { return class_name == std::string(kind_->class_name); }

const Value& Description::value(const char* option) const {
  const Value* const found = config_->find(option);
  if (found == nullptr) fail(std::string("missing ") + option);
  return *found;
}

const Value& Description::at(const char* option, Kind kind) const {
  return require_member(where_, *config_, option, kind);
}

bool Description::flag(const char* option) const { return at(option, Kind::boolean).boolean(); }

std::int64_t Description::integer(const char* option) const { return at(option, Kind::integer).integer(); }

std::int64_t Description::count(const char* option) const {
  const std::int64_t value = integer(option);
  if (value < 1) fail(std::string("expected ") + option + " of at least 1, got " + std::to_string(value));
  return value;
}

double Description::number(const char* option) const {
  const Value& found = value(option);
  return found.is(Kind::integer) ? static_cast<double>(found.integer()) : at(option, Kind::real).real();
}

std::string Description::choice(const char* option, const Names& choices) const {
  const std::string& value = at(option, Kind::string).string();
  if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
    fail(std::string("unknown ") + option + " " + in_quotes(value));
  }
  return value;
}

LstmActivation Description::activation(const char* option) const {
  const Value& found = value(option);
  const auto named = [&](const std::string& name) {
    return rephrased<std::invalid_argument>([&] { return lstm_activation(name, option); },
                                            [this](const std::string& text) { fail(text); });
  };
  if (found.is(Kind::string)) return named(found.string());
  if (found.is(Kind::array) && found.array().size() == 3 && found.array()[0].is(Kind::string)) {
    LstmActivation activation = named(found.array()[0].string());
    activation.alpha = parameter(option, found.array()[1]);
    activation.beta = parameter(option, found.array()[2]);
    return activation;
  }
  fail(std::string("expected ") + option + " to be a name or [name, alpha, beta]");
}

double Description::parameter(const char* option, const Value& value) const {
  if (value.is(Kind::integer)) return static_cast<double>(value.integer());
  if (!value.is(Kind::real)) fail(std::string("expected ") + option + " to be a name or [name, alpha, beta]");
  return value.real();
}

}  // namespace lstmcore
