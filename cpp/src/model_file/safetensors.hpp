// A strict reader of safetensors files: eight bytes of header length, a JSON header, the tensors' bytes.
//
// Our own, because a model must load in C++ with nothing but this library, because little is needed of the format, and
// because each check of it can then name what is wrong.
#pragma once

#include <cstdint>
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

/// Throws std::runtime_error if the file cannot be read, is truncated or longer than it says, if its header is no
/// proper one, if tensors overlap, leave holes or lie outside, or if a tensor's bytes are not those of its shape and
/// type. Only F32, F64 and I8 are known.
File read(const std::string& path);

/// "(2, 3)"; one axis is "(2,)".
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace lstmcore::safetensors
