// The error of the readers of files.
#pragma once

#include <filesystem>
#include <string>

#include "../runtime/errors.hpp"

namespace lstmcore {

/// For what is wrong with a file. (`fail`, of api/check.hpp, is for arguments and raises std::invalid_argument.)
[[noreturn]] inline void fail_reading(const std::string& what) { raise<std::runtime_error>(what); }

/// A path for messages, in UTF-8 on every system and in every version of C++.
inline std::string text_of(const std::filesystem::path& path) {
  if (path.empty()) return "an empty path";
  const auto text = path.u8string();  // of char8_t since C++20
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace lstmcore
