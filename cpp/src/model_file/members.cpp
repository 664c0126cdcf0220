#include "members.hpp"

#include <algorithm>
#include <set>

#include "file_error.hpp"

namespace lstmcore {

using json::Value;
using Kind = json::Value::Kind;

namespace {

std::string joined(const std::set<std::string>& names) {
  std::string text;
  std::size_t count = 0;
  for (const std::string& name : names) {
    if (++count > 8) return text + ", ...";
    text += (text.empty() ? "" : ", ") + shortened(name);
  }
  return text;
}

}  // namespace

void require_exactly(const std::string& what, const Value& value, const Names& names, const Names& optional) {
  if (!value.is(Kind::object)) fail_reading(what + ": expected an object");
  std::set<std::string> missing(names.begin(), names.end()), unknown;
  for (const json::Member& member : value.object()) {
    const bool may_be = std::find(optional.begin(), optional.end(), member.name) != optional.end();
    if (missing.erase(member.name) == 0 && !may_be) unknown.insert(member.name);
  }
  if (!unknown.empty()) fail_reading(what + ": unknown " + joined(unknown));
  if (!missing.empty()) fail_reading(what + ": missing " + joined(missing));
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
