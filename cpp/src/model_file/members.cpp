#include "members.hpp"

#include <algorithm>
#include <set>

#include "file_error.hpp"

namespace lstmcore {

using json::Value;
using Kind = json::Value::Kind;

void require_exactly(const std::string& what, const Value& value, const Names& names, const Names& optional) {
  if (!value.is(Kind::object)) fail_reading(what + ": expected an object");
  std::set<std::string> missing(names.begin(), names.end()), unknown;
  for (const json::Member& member : value.object()) {
    const bool may_be = std::find(optional.begin(), optional.end(), member.name) != optional.end();
    if (missing.erase(member.name) == 0 && !may_be) unknown.insert(member.name);
  }
  const auto itself = [](const std::string& name) { return name; };
  if (!unknown.empty()) fail_reading(what + ": unknown " + listed(unknown, itself));
  if (!missing.empty()) fail_reading(what + ": missing " + listed(missing, itself));
}

const char* kind_name(Kind kind) {
  static const char* const kinds[] = {"null",     "true or false", "an integer", "a number",
                                      "a string", "a list",        "an object"};
  return kinds[static_cast<int>(kind)];
}

const Value& require_member(const std::string& what, const Value& value, const char* name, Kind kind) {
  const Value* const member = value.find(name);
  if (member == nullptr) fail_reading(what + ": missing " + name);
  if (!member->is(kind)) {
    fail_reading(what + ": expected " + kind_name(kind) + " as " + name + ", got " + kind_name(member->kind()));
  }
  return *member;
}

}  // namespace lstmcore
