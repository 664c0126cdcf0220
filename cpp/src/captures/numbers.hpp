// Numbers and lists of numbers in a capture's document, checked. Everything here raises std::runtime_error that names
// the place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../model_file/json.hpp"

namespace lstmcore::captures {

/// Largest width of a layer and largest number of layers that is read.
constexpr std::int64_t most_units = 1 << 16;

/// A number, finite as a float.
float number(const std::string& where, const json::Value& value);

/// The member as a number, or none if it is missing or null.
std::optional<double> optional_number(const json::Value& object, const char* name);

/// An integer from 1 to `most_units`.
std::int64_t count(const std::string& where, const json::Value& object, const char* name);

/// The last entry of a list such as [null, null, 16], an integer from 1 to `most_units`.
std::int64_t last_extent(const std::string& where, const json::Value& object, const char* name);

/// A list of `size` numbers.
std::vector<float> vector(const std::string& where, const json::Value& value, std::int64_t size);

/// A list of `rows` lists of `columns` numbers, row-major.
std::vector<float> matrix(const std::string& where, const json::Value& value, std::int64_t rows, std::int64_t columns);

/// The transposed matrix, (columns, rows).
std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows, std::int64_t columns);

/// The member `name` of `object`, if both are there and the member is a text; otherwise an empty one.
std::string optional_text(const json::Value* object, const char* name);

}  // namespace lstmcore::captures
