// Members of the JSON objects in a model file's metadata: those that an object must and may have, and their kinds.
#pragma once

#include <string>
#include <vector>

#include "json.hpp"

namespace lstmcore {

using Names = std::vector<std::string>;

/// A kind for messages, such as "a list".
const char* kind_name(json::Value::Kind kind);

/// Throws std::runtime_error unless `value` is an object that has all of `names`, and besides only some of `optional`.
/// `what` names the object in the message.
void require_exactly(const std::string& what, const json::Value& value, const Names& names, const Names& optional = {});

/// Returns the member `name`. Throws std::runtime_error if the object lacks it or if it is of another kind.
const json::Value& require_member(const std::string& what, const json::Value& value, const char* name,
                                  json::Value::Kind kind);

}  // namespace lstmcore
