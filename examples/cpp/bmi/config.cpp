#include "config.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <locale>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "files.hpp"

namespace catchments {
namespace {

/// A text file, line by line, for errors that name the line. A byte-order mark, as editors on Windows write it, is
/// skipped.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path) {
    check_is_no_folder(path_of(path));  // which some systems open
    file_.open(path_of(path));
    if (!file_) throw std::runtime_error(path + ": cannot be opened");
  }
  bool next(std::string& line) {
    ++number_;
    if (!std::getline(file_, line)) {
      if (file_.bad()) throw std::runtime_error(path_ + ": cannot be read");
      return false;
    }
    if (number_ == 1 && line.compare(0, 3, "\xEF\xBB\xBF") == 0) line.erase(0, 3);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(path_ + ", line " + std::to_string(number_) + ": " + what);
  }

 private:
  std::string path_;
  std::ifstream file_;
  int number_ = 0;
};

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> found;
  std::size_t begin = 0;
  for (std::size_t comma = line.find(','); comma != std::string::npos; comma = line.find(',', begin)) {
    found.push_back(trimmed(line.substr(begin, comma - begin)));
    begin = comma + 1;
  }
  found.push_back(trimmed(line.substr(begin)));  // also an empty one after the last comma
  return found;
}

/// Standard libraries differ in what else they take for a number, such as hexadecimal digits and "nan".
bool is_decimal(const std::string& text) {
  std::size_t at = 0;
  const auto skip_one_of = [&](std::string_view characters) {
    const bool found = at < text.size() && characters.find(text[at]) != std::string_view::npos;
    at += found ? 1 : 0;
    return found;
  };
  const auto skip_digits = [&] {
    const std::size_t begin = at;
    at = std::min(text.find_first_not_of("0123456789", begin), text.size());
    return at - begin;
  };
  skip_one_of("+-");
  std::size_t digits = skip_digits();
  if (skip_one_of(".")) digits += skip_digits();
  if (digits == 0) return false;
  if (skip_one_of("eE")) {
    skip_one_of("+-");
    if (skip_digits() == 0) return false;
  }
  return at == text.size();
}

/// A host's locale must not change what is read. Nor must the standard library: near the limits of double some fail,
/// and others read 0 or the limit, so that whether the stream fails is not asked; a lack of memory is an exception.
double number(const Lines& lines, const std::string& text) {
  if (!is_decimal(text)) lines.fail("expected a decimal number, got \"" + text + "\"");
  std::istringstream stream(text);
  stream.exceptions(std::ios::badbit);
  stream.imbue(std::locale::classic());
  double value = 0;
  stream >> value;
  const bool is_zero = text.substr(0, text.find_first_of("eE")).find_first_of("123456789") == std::string::npos;
  if (!is_zero && !(std::fabs(value) >= 1e-300 && std::fabs(value) <= 1e300)) {
    lines.fail("expected 0 or a number from 1e-300 to 1e300, of either sign, got " + text);
  }
  return is_zero ? 0 : value;
}

double positive_number(const Lines& lines, const std::string& text) {
  const double value = number(lines, text);
  if (value <= 0) lines.fail("expected a number above 0, got " + text);
  return value;
}

int positive_whole_number(const Lines& lines, const std::string& text) {
  const double value = number(lines, text);
  if (!(value >= 1 && value <= std::numeric_limits<int>::max()) || value != std::floor(value)) {
    lines.fail("expected a whole number above 0, got " + text);
  }
  return static_cast<int>(value);
}

std::vector<Variable> variables(const Lines& lines, const std::string& text) {
  std::vector<Variable> found;
  for (const std::string& field : fields(text)) {
    const auto open = field.find('['), close = field.find(']');
    if (open == std::string::npos || close != field.size() - 1 || field.rfind('[') != open) {
      lines.fail("expected names with units, such as \"discharge [mm d-1]\", got \"" + field + "\"");
    }
    found.push_back({trimmed(field.substr(0, open)), field.substr(open + 1, field.size() - open - 2)});
    if (found.back().name.empty()) lines.fail("expected a name before the units, got \"" + field + "\"");
  }
  return found;
}

}  // namespace

Config::Config(const std::string& path) : end_time(std::numeric_limits<double>::max()) {
  Lines lines(path);
  const auto folder = path_of(path).parent_path();
  const auto beside = [&](const std::string& text) { return text_of(folder / path_of(text)); };
  const std::map<std::string, std::function<void(const std::string&)>> keys = {
      {"model", [&](const std::string& text) { model = beside(text); }},
      {"attributes", [&](const std::string& text) { attributes = beside(text); }},
      {"initial_state", [&](const std::string& text) { initial_state = beside(text); }},
      {"final_state", [&](const std::string& text) { final_state = beside(text); }},
      {"forcings", [&](const std::string& text) { forcings = variables(lines, text); }},
      {"outputs", [&](const std::string& text) { outputs = variables(lines, text); }},
      {"time_step", [&](const std::string& text) { time_step = positive_number(lines, text); }},
      {"end_time", [&](const std::string& text) { end_time = positive_number(lines, text); }},
      {"threads", [&](const std::string& text) { threads = positive_whole_number(lines, text); }},
  };
  std::set<std::string> seen;
  for (std::string line; lines.next(line);) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto equals = line.find('=');
    if (equals == std::string::npos) lines.fail("expected \"key = value\", got \"" + line + "\"");
    const std::string key = trimmed(line.substr(0, equals));
    const auto found = keys.find(key);
    if (found == keys.end()) lines.fail("unknown key \"" + key + "\"");
    if (!seen.insert(key).second) lines.fail("the key \"" + key + "\" occurs a second time");
    const std::string value = trimmed(line.substr(equals + 1));
    if (value.empty()) lines.fail("expected a value for \"" + key + "\"");
    found->second(value);
  }
  if (model.empty() || attributes.empty() || forcings.empty() || outputs.empty()) {
    throw std::runtime_error(path + ": expected the keys model, attributes, forcings and outputs");
  }
  std::set<std::string> names;
  for (const auto* list : {&forcings, &outputs}) {
    for (const Variable& variable : *list) {
      if (!names.insert(variable.name).second) {
        throw std::runtime_error(path + ": expected a name of its own for each forcing and output, got \"" +
                                 variable.name + "\" twice");
      }
    }
  }
}

Attributes::Attributes(const std::string& path) {
  Lines lines(path);
  std::string line;
  if (!lines.next(line)) lines.fail("expected a header");
  const std::vector<std::string> header = fields(line);
  constexpr std::size_t fixed = 3;  // name, longitude, latitude
  if (header.size() < fixed) lines.fail("expected at least the columns name, longitude and latitude");
  names.assign(header.begin() + fixed, header.end());
  while (lines.next(line)) {
    if (trimmed(line).empty()) continue;
    const std::vector<std::string> found = fields(line);
    if (found.size() != header.size()) {
      lines.fail("expected " + std::to_string(header.size()) + " columns, got " + std::to_string(found.size()));
    }
    catchments.push_back(found[0]);
    longitude.push_back(number(lines, found[1]));
    latitude.push_back(number(lines, found[2]));
    for (std::size_t k = fixed; k < found.size(); ++k) {
      const double value = number(lines, found[k]);
      if (!finite_as_float(value)) lines.fail("expected a number that is finite as float, got " + found[k]);
      values.push_back(static_cast<float>(value));
    }
  }
  if (catchments.empty()) lines.fail("expected at least one catchment");
}

}  // namespace catchments
