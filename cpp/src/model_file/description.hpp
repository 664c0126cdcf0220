// The description of a layer in the metadata: {"class": ..., "name": ..., "config": {option: value, ...}}.
#pragma once

#include <lstmcore/activation.hpp>
#include <string>

#include "json.hpp"
#include "members.hpp"

namespace lstmcore {

struct LayerKind;

/// A class and the values of its options. Everything here throws std::runtime_error, which names the place of the
/// description, if a value is not what it has to be.
class Description {
 public:
  /// Checks that the class is known and that the options are exactly its own. `nested`: it is within another layer's
  /// options and has its name, if any, among its own options.
  Description(std::string place, const json::Value& value, bool nested);

  const std::string& where() const { return where_; }
  const LayerKind& kind() const { return *kind_; }
  bool is(const char* class_name) const;

  bool has(const char* option) const { return config_->find(option) != nullptr; }
  bool is_null(const char* option) const { return value(option).is(json::Value::Kind::null); }
  const json::Value& value(const char* option) const;
  const json::Value& at(const char* option, json::Value::Kind kind) const;

  bool flag(const char* option) const;
  std::int64_t integer(const char* option) const;
  /// An integer of at least 1.
  std::int64_t count(const char* option) const;
  /// A number, which JSON may write with or without a fraction.
  double number(const char* option) const;
  std::string choice(const char* option, const Names& choices) const;
  /// An activation of the cell: a name, or [name, alpha, beta].
  LstmActivation activation(const char* option) const;

  [[noreturn]] void fail(const std::string& what) const;

 private:
  double parameter(const char* option, const json::Value& value) const;

  std::string where_;
  const LayerKind* kind_;
  const json::Value* config_;
};

}  // namespace lstmcore
