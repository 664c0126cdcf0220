// A strict reader of safetensors files: eight bytes of header length, a JSON header, the tensors' bytes.
//
// It is our own so that C++ programs load models without another library. Little of the format is needed, and every
// check can name what is wrong.
#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <map>
#include <string>
#include <vector>

namespace lstmcore::safetensors {

struct Tensor {
  std::string dtype;  ///< "F32", "F64" or "I8"
  std::vector<std::int64_t> shape;
  std::size_t begin = 0, end = 0;  ///< of its bytes in `File::data`: row-major, little-endian
};

struct File {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Tensor> tensors;
  std::vector<unsigned char> data;
};

/// Throws std::runtime_error if the file cannot be read, if its length contradicts its header, if the header is
/// malformed, if tensors overlap, leave gaps or lie outside the file, or if a tensor has a different number of bytes
/// than its shape and type need. Only F32, F64 and I8 are known.
File read(const std::filesystem::path& path);
/// The same for `size` bytes of a stream.
File read(std::istream& stream, std::uint64_t size);

/// "(2, 3)"; one axis is "(2,)".
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace lstmcore::safetensors
