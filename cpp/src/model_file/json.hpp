// A small strict JSON reader (RFC 8259): what the metadata of a model file needs, and no more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lstmcore::json {

struct Member;

/// One value. Only the field that `kind` names means anything.
struct Value {
  enum class Kind { null, boolean, integer, real, string, array, object };

  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;  ///< a number without fraction and exponent that fits
  double real = 0;           ///< every other number
  std::string string;        ///< UTF-8
  std::vector<Value> array;
  std::vector<Member> object;  ///< in the order of the text

  bool is(Kind other) const { return kind == other; }
  /// The member of this name, or null if this is no object or has none.
  const Value* find(const std::string& name) const;
};

struct Member {
  std::string name;
  Value value;
};

/// Reads exactly one value. Throws std::invalid_argument that says what is wrong at which byte: besides bad syntax also
/// a name that an object holds twice, text that is no UTF-8, and nesting deeper than any model file's.
Value parse(const std::string& text);

}  // namespace lstmcore::json
