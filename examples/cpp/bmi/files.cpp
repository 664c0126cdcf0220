#include "files.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <locale>
#include <sstream>
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

std::string text_of(double value) {
  std::ostringstream text;
  text.exceptions(std::ios::badbit);  // a lack of memory
  text.imbue(std::locale::classic());
  text.precision(15);
  text << value;
  return text.str();
}

bool finite_as_float(double value) {
  return std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max());  // false for NaN
}

void check_is_no_folder(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw std::runtime_error(text_of(path) + ": expected a file, got a folder");
}

namespace {

/// To open a pipe is to wait for another program, and a device is not to be replaced.
void check_is_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status found = fs::status(path, error);
  if (!error && fs::exists(found) && !fs::is_regular_file(found)) {
    throw std::runtime_error(text_of(path) + ": expected a file, got a folder, a pipe, a socket or a device");
  }
}

bool written(const fs::path& path, const std::vector<float>& state) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(state.data()), static_cast<std::streamsize>(state.size() * sizeof(float)));
  file.close();
  return !file.fail();
}

}  // namespace

std::vector<float> read_state(const std::string& path, std::size_t size) {
  check_is_file(path_of(path));
  std::vector<float> state(size);
  std::ifstream file(path_of(path), std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  const auto bytes = static_cast<std::streamsize>(size * sizeof(float));
  const bool whole =
      file.read(reinterpret_cast<char*>(state.data()), bytes) && file.peek() == std::ifstream::traits_type::eof();
  if (file.bad()) throw std::runtime_error(path + ": cannot be read");
  if (!whole) {
    throw std::runtime_error(path + ": expected a state of " + std::to_string(bytes) +
                             " bytes, that of these catchments and this model");
  }
  const auto wrong = std::find_if_not(state.begin(), state.end(),
                                      [](float value) { return finite_as_float(static_cast<double>(value)); });
  if (wrong != state.end()) {
    throw std::runtime_error(path + ": expected a state of finite numbers, got " +
                             text_of(static_cast<double>(*wrong)) + " at number " +
                             std::to_string(wrong - state.begin()) + " of " + std::to_string(size));
  }
  return state;
}

namespace {

/// Where a state is written, and the name that it has until then.
struct Places {
  fs::path target, part;
};

[[noreturn]] void refuse_to_write(const std::string& path) {
  throw std::runtime_error(path + ": the state cannot be written");
}

Places places_of(const std::string& path) {
  std::error_code error, ignored;
  fs::path target = path_of(path);
  check_is_file(target);
  // The link stays. That there is no file yet is an error to is_symlink on some systems, but not here.
  if (fs::is_symlink(target, ignored)) target = fs::canonical(target, error);
  if (error) refuse_to_write(path);
  fs::path part = target;
  part += ".part";
  check_is_file(part);
  return {target, part};
}

}  // namespace

void check_can_be_written(const std::string& path) {
  const fs::path part = places_of(path).part;
  std::error_code ignored;
  const bool was_there = fs::exists(part, ignored);
  const bool opens = std::ofstream(part, std::ios::binary | std::ios::app).is_open();
  if (!was_there) fs::remove(part, ignored);
  if (!opens) refuse_to_write(path);
}

void write_state(const std::string& path, const std::vector<float>& state) {
  const Places places = places_of(path);
  std::error_code error, ignored;
  if (written(places.part, state)) {
    fs::rename(places.part, places.target, error);
    if (!error) return;
  }
  fs::remove(places.part, ignored);
  refuse_to_write(path);
}

}  // namespace catchments
