// Numbers and lists of numbers in a capture's document, checked. Everything here raises std::runtime_error that names
// the place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../model_file/json.hpp"

namespace lstmcore::captures {

using json::Value;
using Kind = Value::Kind;

/// Largest width of a layer and largest number of layers that is read.
constexpr std::int64_t most_units = 1 << 16;

/// A number, finite as a float.
float number(const std::string& where, const Value& value);

/// The member as a number, or none if it is missing or null.
std::optional<double> optional_number(const Value& object, const char* name);

/// The same for a note about the capture, without which it plays just the same: a number, also one that an exporter
/// wrote as a text, finite as a float. Anything else counts as missing, so that no note makes a capture unplayable.
std::optional<double> noted_number(const Value& object, const char* name);

/// The same for a number of samples a second, which is above 0.
std::optional<double> noted_rate(const Value& object, const char* name);

/// A switch: 0 or 1, of any kind of number, or a truth value.
bool is_on(const std::string& where, const Value& value);

/// An integer from 1 to `most_units`.
std::int64_t count(const std::string& where, const Value& object, const char* name);

/// The last entry of a list such as [null, null, 16], an integer from 1 to `most_units`.
std::int64_t last_extent(const std::string& where, const Value& object, const char* name);

/// A list of `size` numbers.
std::vector<float> vector(const std::string& where, const Value& value, std::int64_t size);

/// A list of `rows` lists of `columns` numbers, row-major.
std::vector<float> matrix(const std::string& where, const Value& value, std::int64_t rows, std::int64_t columns);

/// The transposed matrix, (columns, rows).
std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows, std::int64_t columns);

/// The member as a text, or an empty one if it is missing or null. Throws if it is anything else.
std::string optional_text(const std::string& where, const Value& object, const char* name);

/// The name of the device in "metadata", or an empty one. What else stands there is of no consequence.
std::string name_of(const Value& document);

}  // namespace lstmcore::captures
