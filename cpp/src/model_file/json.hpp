// A small strict JSON reader (RFC 8259) for the metadata of model files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace lstmcore::json {

struct Member;

/// One value: 16 bytes, and what a text or a list holds, so that a file of short numbers does not take many times its
/// size. Can be moved, not copied.
class Value {
 public:
  enum class Kind { null, boolean, integer, real, string, array, object };  ///< in the order of `Content`
  using Array = std::vector<Value>;
  using Object = std::vector<Member>;  ///< in the order of the text

  Value() = default;
  explicit Value(bool value) : content_(value) {}
  /// A number without fraction or exponent that fits into 64 bits.
  explicit Value(std::int64_t value) : content_(value) {}
  /// Every other number.
  explicit Value(double value) : content_(value) {}
  /// UTF-8.
  explicit Value(std::string value) : content_(std::make_unique<std::string>(std::move(value))) {}
  explicit Value(Array value) : content_(std::make_unique<Array>(std::move(value))) {}
  explicit Value(Object value);

  Kind kind() const { return static_cast<Kind>(content_.index()); }
  bool is(Kind other) const { return kind() == other; }

  // Of the value of another kind: false, 0 or nothing.
  bool boolean() const { return number<bool>(); }
  std::int64_t integer() const { return number<std::int64_t>(); }
  double real() const { return number<double>(); }
  const std::string& string() const { return list<std::string>(); }
  const Array& array() const { return list<Array>(); }
  const Object& object() const { return list<Object>(); }

  /// Returns the member with this name, or null if this is not an object or lacks it.
  const Value* find(const std::string& name) const;

 private:
  using Content = std::variant<std::monostate, bool, std::int64_t, double, std::unique_ptr<std::string>,
                               std::unique_ptr<Array>, std::unique_ptr<Object>>;

  template <class T>
  T number() const {
    const T* const found = std::get_if<T>(&content_);
    return found == nullptr ? T{} : *found;
  }
  template <class T>
  const T& list() const {
    static const T none;
    const auto* const found = std::get_if<std::unique_ptr<T>>(&content_);
    return found == nullptr ? none : **found;
  }

  Content content_;
};

struct Member {
  std::string name;
  Value value;
};

inline Value::Value(Object value) : content_(std::make_unique<Object>(std::move(value))) {}

/// Reads exactly one value. Throws std::invalid_argument, which names the error and its byte, for bad syntax, for a
/// name that an object has twice, for text that is not UTF-8, for values nested more than 64 deep, and for more of them
/// than `most_values`.
Value parse(const std::string& text);

/// How many values, names of members included, a text of so many bytes may have: as many as the longest vocabulary
/// needs, and few enough that all of them take less than four times the text and 64 MiB.
constexpr std::size_t most_values(std::size_t bytes) { return 1'000'000 + bytes / 12; }

}  // namespace lstmcore::json
