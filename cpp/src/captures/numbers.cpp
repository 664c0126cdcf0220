#include "numbers.hpp"

#include <cmath>
#include <limits>
#include <sstream>

#include "../model_file/file_error.hpp"
#include "../model_file/members.hpp"
#include "../runtime/text_streams.hpp"

namespace lstmcore::captures {

namespace {

bool is_number(const Value& value) { return value.is(Kind::integer) || value.is(Kind::real); }

double as_double(const Value& value) {
  return value.is(Kind::integer) ? static_cast<double>(value.integer()) : value.real();
}

/// In a few characters, whatever the host's locale.
std::string short_text(const Value& number) {
  std::ostringstream text;
  make_strict(text);
  if (number.is(Kind::integer)) {
    text << number.integer();
  } else {
    text << number.real();
  }
  return text.str();
}

bool fits_float(double value) { return std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max()); }

std::int64_t checked_count(const std::string& where, const Value& value) {
  if (!value.is(Kind::integer) || value.integer() < 1 || value.integer() > most_units) {
    fail_reading(where + ": expected an integer from 1 to " + std::to_string(most_units) + ", got " +
                 (is_number(value) ? short_text(value) : kind_name(value.kind())));
  }
  return value.integer();
}

std::optional<double> number_in(const std::string& text) {
  std::istringstream stream(text);
  make_strict(stream);
  double value = 0;
  if (!(stream >> value)) return std::nullopt;
  stream >> std::ws;
  if (!stream.eof()) return std::nullopt;
  return value;
}

void check_list(const std::string& where, const Value& value, std::int64_t size, const char* what) {
  if (!value.is(Kind::array)) {
    fail_reading(where + ": expected a list of " + std::to_string(size) + " " + what + ", got " +
                 kind_name(value.kind()));
  }
  const auto found = static_cast<std::int64_t>(value.array().size());
  if (found != size) {
    fail_reading(where + ": expected " + std::to_string(size) + " " + what + ", got " + std::to_string(found));
  }
}

}  // namespace

float number(const std::string& where, const Value& value) {
  if (!is_number(value)) fail_reading(where + ": expected a number, got " + kind_name(value.kind()));
  const double wide = as_double(value);
  if (!fits_float(wide)) {
    fail_reading(where + ": expected a number that a float can hold, got one above 3.4e38");
  }
  return static_cast<float>(wide);
}

std::optional<double> optional_number(const Value& object, const char* name) {
  const Value* const value = object.find(name);
  if (value == nullptr || value->is(Kind::null)) return std::nullopt;
  if (!is_number(*value)) fail_reading(std::string(name) + ": expected a number, got " + kind_name(value->kind()));
  return as_double(*value);
}

std::optional<double> noted_number(const Value& object, const char* name) {
  const Value* const value = object.find(name);
  if (value == nullptr) return std::nullopt;
  std::optional<double> number;
  if (is_number(*value)) number = as_double(*value);
  if (value->is(Kind::string)) number = number_in(value->string());
  return number && fits_float(*number) ? number : std::nullopt;
}

std::optional<double> noted_rate(const Value& object, const char* name) {
  const std::optional<double> rate = noted_number(object, name);
  return rate && *rate > 0 ? rate : std::nullopt;
}

bool is_on(const std::string& where, const Value& value) {
  if (value.is(Kind::boolean)) return value.boolean();
  if (!is_number(value)) fail_reading(where + ": expected 0 or 1, got " + kind_name(value.kind()));
  const double number = as_double(value);
  if (number != 0 && number != 1) fail_reading(where + ": expected 0 or 1, got " + short_text(value));
  return number == 1;
}

std::int64_t count(const std::string& where, const Value& object, const char* name) {
  const Value* const value = object.find(name);
  if (value == nullptr) fail_reading(where + ": missing " + name);
  return checked_count(where + ": " + name, *value);
}

std::int64_t last_extent(const std::string& where, const Value& object, const char* name) {
  const Value& shape = require_member(where, object, name, Kind::array);
  if (shape.array().empty()) fail_reading(where + ": expected a size at the end of " + name);
  return checked_count(where + ": last entry of " + name, shape.array().back());
}

std::vector<float> vector(const std::string& where, const Value& value, std::int64_t size) {
  check_list(where, value, size, "numbers");
  std::vector<float> values;
  values.reserve(value.array().size());
  for (const Value& entry : value.array()) {
    values.push_back(number(where + ": number " + std::to_string(values.size()), entry));
  }
  return values;
}

std::vector<float> matrix(const std::string& where, const Value& value, std::int64_t rows, std::int64_t columns) {
  check_list(where, value, rows, "rows");
  std::vector<float> values;
  std::int64_t row = 0;
  for (const Value& entry : value.array()) {
    const std::vector<float> found = vector(where + ": row " + std::to_string(row++), entry, columns);
    values.insert(values.end(), found.begin(), found.end());
  }
  return values;
}

std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
  std::vector<float> result;
  result.reserve(values.size());
  for (std::int64_t column = 0; column < columns; ++column) {
    for (std::int64_t row = 0; row < rows; ++row) {
      result.push_back(values[static_cast<std::size_t>(row * columns + column)]);
    }
  }
  return result;
}

std::string optional_text(const std::string& where, const Value& object, const char* name) {
  const Value* const value = object.find(name);
  if (value == nullptr || value->is(Kind::null)) return {};
  return require_member(where, object, name, Kind::string).string();
}

std::string name_of(const Value& document) {
  const Value* const metadata = document.find("metadata");
  const Value* const name = metadata == nullptr ? nullptr : metadata->find("name");
  return name != nullptr && name->is(Kind::string) ? name->string() : std::string();
}

}  // namespace lstmcore::captures
