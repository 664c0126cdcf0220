#include "input_file.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#else
#include <filesystem>
#include <fstream>
#endif

#include <cstdlib>

namespace fuzz {
namespace {

#if defined(__linux__)

const std::string& write_file(const std::uint8_t* data, std::size_t size) {
  static const int handle = memfd_create("fuzz_input", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(handle);
  const bool empty = handle >= 0 && ftruncate(handle, 0) == 0;
  if (!empty || pwrite(handle, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  return path;
}

#else

const std::string& write_file(const std::uint8_t* data, std::size_t size) {
  static const std::string path = (std::filesystem::temp_directory_path() / "fuzz_input").string();
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  return path;
}

#endif

}  // namespace

const std::string& file_with(const std::uint8_t* data, std::size_t size) { return write_file(data, size); }

}  // namespace fuzz
