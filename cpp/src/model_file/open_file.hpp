// Files to read from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace lstmcore {

struct OpenFile {
  std::ifstream stream;
  std::uint64_t size;  ///< bytes
};

/// Opens a file, at its beginning. Throws std::runtime_error with the system's reason if it cannot be read, or if it is
/// a pipe, a socket or a device: opening a pipe waits for a program that writes to it.
OpenFile open_file(const std::filesystem::path& path);

/// Reads the next `count` bytes, or throws.
void read_bytes(std::istream& stream, char* bytes, std::uint64_t count);

/// A path for messages, in UTF-8 on every system and in every version of C++.
std::string text_of(const std::filesystem::path& path);

}  // namespace lstmcore
