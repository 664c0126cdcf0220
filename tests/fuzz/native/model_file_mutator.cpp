// Changes model files in ways that get past the first checks: words and numbers of the JSON in the header are
// exchanged, objects copied and removed; then the length of the header and the checksum are made right again.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "input_file.hpp"
#include "json_text.hpp"
#include "model_file/safetensors.hpp"
#include "model_file/tensors.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

constexpr std::size_t length_bytes = 8;

using fuzz::below;
using fuzz::Random;
namespace json_text = fuzz::json_text;

struct Parts {
  std::string header, data;
};

Parts split(const std::uint8_t* bytes, std::size_t size) {
  std::uint64_t length = 0;
  for (std::size_t k = length_bytes; k-- > 0;) length = length << 8 | bytes[k];
  const std::size_t rest = size - length_bytes;
  const std::size_t header = static_cast<std::size_t>(std::min<std::uint64_t>(length, rest));
  const char* const text = reinterpret_cast<const char*>(bytes) + length_bytes;
  return {std::string(text, header), std::string(text + header, rest - header)};
}

std::string joined(const Parts& parts) {
  std::string bytes(length_bytes, '\0');
  for (std::size_t k = 0; k < length_bytes; ++k)
    bytes[k] = static_cast<char>(static_cast<std::uint64_t>(parts.header.size()) >> (8 * k) & 0xFF);
  return bytes + parts.header + parts.data;
}

// ---- the header ----

/// Its metadata are a text that holds JSON, so that quotes are escaped.
const std::vector<std::string> tokens = {"\\\"\\\"", "\\\"tanh\\\"", "\\\"Dense\\\"", "\\\"LSTM\\\"", "float64",
                                         "F64",      "I8",           "F32",           "sqrt"};

// ---- the checksum ----

/// Writes the right checksum into the header, if the reader gets as far as that.
void repair(Parts& parts) {
  const std::string bytes = joined(parts);
  const std::string key = "checksum\\\": ";
  const std::size_t found = parts.header.find(key);
  if (found == std::string::npos) return;
  try {
    const std::string path = fuzz::file_with(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    const std::uint32_t sum = lstmcore::checksum(lstmcore::safetensors::read(path));
    const std::size_t begin = found + key.size();
    std::size_t end = begin;
    while (end < parts.header.size() && std::isdigit(static_cast<unsigned char>(parts.header[end])) != 0) ++end;
    parts.header.replace(begin, end - begin, std::to_string(sum));
  } catch (const std::runtime_error&) {
    return;
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  if (size < length_bytes || random() % 16 == 0) return LLVMFuzzerMutate(data, size, max_size);
  Parts parts = split(data, size);
  for (std::size_t count = 1 + below(random, 3); count > 0; --count) {
    switch (random() % 8) {
      case 0:
        json_text::change_bytes(parts.header, random, max_size);
        break;
      case 1:
        json_text::change_bytes(parts.data, random, max_size);
        break;
      case 2:
      case 3:
        json_text::change_group(parts.header, random);
        break;
      default:
        json_text::change_word(parts.header, tokens, random);
    }
  }
  if (random() % 16 != 0) repair(parts);
  const std::string bytes = joined(parts);
  if (bytes.size() > max_size) return size;
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(data));
  return bytes.size();
}
