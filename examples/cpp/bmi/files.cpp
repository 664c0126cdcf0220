#include "files.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <system_error>

namespace catchments {

namespace fs = std::filesystem;

fs::path path_of(const std::string& text) {
#if defined(__cpp_char8_t)
  return std::u8string(text.begin(), text.end());
#else
  return fs::u8path(text);
#endif
}

std::string text_of(const fs::path& path) {
  const auto text = path.u8string();  // of char8_t since C++20
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

bool finite_as_float(double value) {
  return std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max());  // false for NaN
}

std::vector<float> read_state(const std::string& path, std::size_t size) {
  std::vector<float> state(size);
  std::ifstream file(path_of(path), std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(size * sizeof(float));
  if (!file.read(reinterpret_cast<char*>(state.data()), bytes) || file.peek() != std::ifstream::traits_type::eof()) {
    throw std::runtime_error(path + ": expected a state of " + std::to_string(bytes) +
                             " bytes, that of these catchments and this model");
  }
  const auto wrong = std::find_if_not(state.begin(), state.end(),
                                      [](float value) { return finite_as_float(static_cast<double>(value)); });
  if (wrong != state.end()) {
    throw std::runtime_error(path + ": expected a state of finite numbers, got " + std::to_string(*wrong) +
                             " at number " + std::to_string(wrong - state.begin()) + " of " + std::to_string(size));
  }
  return state;
}

void write_state(const std::string& path, const std::vector<float>& state) {
  std::error_code error;
  fs::path target = path_of(path);
  if (fs::is_symlink(target, error)) target = fs::canonical(target, error);  // the link stays
  fs::path part = target;
  part += ".part";
  if (!error) {
    std::ofstream file(part, std::ios::binary);
    file.write(reinterpret_cast<const char*>(state.data()), static_cast<std::streamsize>(state.size() * sizeof(float)));
    file.close();
    if (!file) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(part, target, error);
  if (!error) return;
  std::error_code ignored;
  fs::remove(part, ignored);
  throw std::runtime_error(path + ": the state cannot be written");
}

}  // namespace catchments
