// A small strict JSON reader (RFC 8259) for the metadata of model files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lstmcore::json {

struct Member;

/// One value. Only the member that belongs to `kind` has a meaning.
struct Value {
  enum class Kind { null, boolean, integer, real, string, array, object };

  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;  ///< a number without fraction or exponent that fits into 64 bits
  double real = 0;           ///< every other number
  std::string string;        ///< UTF-8
  std::vector<Value> array;
  std::vector<Member> object;  ///< in the order of the text

  bool is(Kind other) const { return kind == other; }
  /// Returns the member with this name, or null if this is not an object or lacks it.
  const Value* find(const std::string& name) const;
};

struct Member {
  std::string name;
  Value value;
};

/// Reads exactly one value. Throws std::invalid_argument, which names the error and its byte, for bad syntax, for a
/// name that an object has twice, for text that is not UTF-8, and for values nested more than 64 deep.
Value parse(const std::string& text);

}  // namespace lstmcore::json
