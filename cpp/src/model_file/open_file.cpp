#include "open_file.hpp"

#include <cerrno>
#include <system_error>

#include "file_error.hpp"

namespace lstmcore {
namespace {

/// `error`: errno. Streams do not say why they fail, but the functions of the system below them set it.
[[noreturn]] void fail_unreadable(int error) {
  if (error == ENOMEM) raise_out_of_memory();
  fail_reading("cannot be read" + (error != 0 ? ": " + std::generic_category().message(error) : std::string()));
}

void check_is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::filesystem::file_status found = std::filesystem::status(path, ignored);
  if (std::filesystem::is_directory(found)) fail_reading("cannot be read, since it is a folder");
  if (std::filesystem::exists(found) && !std::filesystem::is_regular_file(found)) {
    fail_reading("cannot be read, since it is a pipe, a socket or a device, not a file");
  }
}

}  // namespace

OpenFile open_file(const std::filesystem::path& path) {
  check_is_file(path);
  errno = 0;
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = stream ? static_cast<std::streamoff>(stream.tellg()) : -1;
  if (size < 0) fail_unreadable(errno);
  stream.seekg(0);
  return {std::move(stream), static_cast<std::uint64_t>(size)};
}

void read_bytes(std::istream& stream, char* bytes, std::uint64_t count) {
  errno = 0;
  if (!stream.read(bytes, static_cast<std::streamsize>(count))) fail_unreadable(errno);
}

std::string text_of(const std::filesystem::path& path) {
  if (path.empty()) return "an empty path";
  const auto text = path.u8string();  // of char8_t since C++20
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace lstmcore
