#include "config.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>

namespace catchments {
namespace {

/// A text file, line by line, for errors that name the line.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path), file_(std::filesystem::u8path(path)) {
    if (!file_) throw std::runtime_error(path + ": cannot be opened");
  }
  bool next(std::string& line) {
    ++number_;
    if (!std::getline(file_, line)) return false;
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
  std::istringstream rest(line);
  for (std::string field; std::getline(rest, field, ',');) found.push_back(trimmed(field));
  return found;
}

double number(const Lines& lines, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value - value == 0)) lines.fail("expected a number, got \"" + text + "\"");
  return value;
}

std::vector<Variable> variables(const Lines& lines, const std::string& text) {
  std::vector<Variable> found;
  for (const std::string& field : fields(text)) {
    const auto open = field.find('[');
    if (open == std::string::npos || field.back() != ']') {
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
  const auto folder = std::filesystem::u8path(path).parent_path();
  const auto path_of = [&](const std::string& text) { return (folder / std::filesystem::u8path(text)).u8string(); };
  const auto positive = [&](const std::string& text) {
    const double value = number(lines, text);
    if (value <= 0) lines.fail("expected a number above 0, got " + text);
    return value;
  };
  const std::map<std::string, std::function<void(const std::string&)>> keys = {
      {"model", [&](const std::string& text) { model = path_of(text); }},
      {"attributes", [&](const std::string& text) { attributes = path_of(text); }},
      {"initial_state", [&](const std::string& text) { initial_state = path_of(text); }},
      {"final_state", [&](const std::string& text) { final_state = path_of(text); }},
      {"forcings", [&](const std::string& text) { forcings = variables(lines, text); }},
      {"outputs", [&](const std::string& text) { outputs = variables(lines, text); }},
      {"time_step", [&](const std::string& text) { time_step = positive(text); }},
      {"end_time", [&](const std::string& text) { end_time = positive(text); }},
      {"threads", [&](const std::string& text) { threads = static_cast<int>(positive(text)); }},
  };
  for (std::string line; lines.next(line);) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto equals = line.find('=');
    if (equals == std::string::npos) lines.fail("expected \"key = value\", got \"" + line + "\"");
    const std::string key = trimmed(line.substr(0, equals));
    const auto found = keys.find(key);
    if (found == keys.end()) lines.fail("unknown key \"" + key + "\"");
    found->second(trimmed(line.substr(equals + 1)));
  }
  if (model.empty() || attributes.empty() || forcings.empty() || outputs.empty()) {
    throw std::runtime_error(path + ": expected the keys model, attributes, forcings and outputs");
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
    const std::vector<std::string> found = fields(line);
    if (found.size() != header.size()) {
      lines.fail("expected " + std::to_string(header.size()) + " columns, got " + std::to_string(found.size()));
    }
    catchments.push_back(found[0]);
    longitude.push_back(number(lines, found[1]));
    latitude.push_back(number(lines, found[2]));
    for (std::size_t k = fixed; k < found.size(); ++k) values.push_back(static_cast<float>(number(lines, found[k])));
  }
  if (catchments.empty()) lines.fail("expected at least one catchment");
}

}  // namespace catchments
