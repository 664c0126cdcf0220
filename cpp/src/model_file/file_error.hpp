// The error of the readers of files.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include "../runtime/errors.hpp"

namespace lstmcore {

/// For what is wrong with a file. (`fail`, of api/check.hpp, is for arguments and raises std::invalid_argument.)
[[noreturn]] inline void fail_reading(const std::string& what) { raise<std::runtime_error>(what); }

/// Raises the error unless `path` names a file, or nothing. Opening a pipe waits for a program that writes to it.
inline void check_is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::filesystem::file_status found = std::filesystem::status(path, ignored);
  if (std::filesystem::is_directory(found)) fail_reading("cannot be read, since it is a folder");
  if (std::filesystem::exists(found) && !std::filesystem::is_regular_file(found)) {
    fail_reading("cannot be read, since it is a pipe, a socket or a device, not a file");
  }
}

/// A path for messages, in UTF-8 on every system and in every version of C++.
inline std::string text_of(const std::filesystem::path& path) {
  if (path.empty()) return "an empty path";
  const auto text = path.u8string();  // of char8_t since C++20
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace lstmcore
