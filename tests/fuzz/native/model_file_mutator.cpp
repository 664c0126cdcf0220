// Changes model files in ways that get past the first checks: words and numbers of the JSON in the header are
// exchanged, objects copied and removed; then the length of the header and the checksum are made right again.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "input_file.hpp"
#include "model_file/safetensors.hpp"
#include "model_file/tensors.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

constexpr std::size_t length_bytes = 8;

using Random = std::mt19937;
using Range = std::pair<std::size_t, std::size_t>;  // begin and end in a text

std::size_t below(Random& random, std::size_t count) { return count == 0 ? 0 : random() % count; }

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

bool in_word(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) != 0 || std::strchr("_.+-", letter) != nullptr;
}

/// Numbers, names and the words true, false and null.
std::vector<Range> words(const std::string& text) {
  std::vector<Range> found;
  for (std::size_t begin = 0; begin < text.size();) {
    if (!in_word(text[begin]) || text[begin] == '\0') {
      ++begin;
      continue;
    }
    std::size_t end = begin;
    while (end < text.size() && text[end] != '\0' && in_word(text[end])) ++end;
    found.emplace_back(begin, end);
    begin = end;
  }
  return found;
}

/// Objects and lists; brackets in texts may disturb this, which does no harm.
std::vector<Range> groups(const std::string& text) {
  std::vector<Range> found;
  std::vector<std::size_t> open;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '{' || text[at] == '[') open.push_back(at);
    if ((text[at] == '}' || text[at] == ']') && !open.empty()) {
      found.emplace_back(open.back(), at + 1);
      open.pop_back();
    }
  }
  return found;
}

const std::vector<std::string>& tokens() {
  static const std::vector<std::string> list = {"0",
                                                "1",
                                                "2",
                                                "-1",
                                                "3",
                                                "64",
                                                "1000000",
                                                "2147483648",
                                                "4294967296",
                                                "9223372036854775807",
                                                "9223372036854775808",
                                                "-9223372036854775808",
                                                "1e308",
                                                "1e999",
                                                "-0.0",
                                                "0.5",
                                                "1e-5",
                                                "true",
                                                "false",
                                                "null",
                                                "[]",
                                                "{}",
                                                "\\\"\\\"",
                                                "\\\"tanh\\\"",
                                                "\\\"Dense\\\"",
                                                "\\\"LSTM\\\"",
                                                "[0]",
                                                "[[[[]]]]",
                                                "\\u0000",
                                                "float64",
                                                "F64",
                                                "I8",
                                                "F32",
                                                "sqrt"};
  return list;
}

void change_word(std::string& text, Random& random) {
  const std::vector<Range> found = words(text);
  if (found.empty()) return;
  const auto [begin, end] = found[below(random, found.size())];
  const auto [from, to] = found[below(random, found.size())];
  const std::string other = text.substr(from, to - from);
  const bool own = random() % 2 == 0;
  text.replace(begin, end - begin, own ? other : tokens()[below(random, tokens().size())]);
}

void change_group(std::string& text, Random& random) {
  const std::vector<Range> found = groups(text);
  if (found.empty()) return;
  const auto [begin, end] = found[below(random, found.size())];
  const auto [from, to] = found[below(random, found.size())];
  const std::string own = text.substr(begin, end - begin), other = text.substr(from, to - from);
  switch (random() % 4) {
    case 0:
      text.replace(begin, end - begin, other);
      break;
    case 1:
      text.insert(end, "," + own);
      break;
    case 2:
      text.erase(begin, std::min(end + 1, text.size()) - begin);
      break;
    default:
      text.replace(begin, end - begin, "[" + own + "]");
  }
}

void change_bytes(std::string& text, Random& random, std::size_t max_size) {
  const std::size_t size = text.size(), room = std::min(max_size, size + 64);
  text.resize(std::max<std::size_t>(room, 1));
  if (size == 0) {
    text[0] = static_cast<char>(random());
    text.resize(1);
    return;
  }
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(&text[0]), size, text.size()));
}

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
        change_bytes(parts.header, random, max_size);
        break;
      case 1:
        change_bytes(parts.data, random, max_size);
        break;
      case 2:
      case 3:
        change_group(parts.header, random);
        break;
      default:
        change_word(parts.header, random);
    }
  }
  if (random() % 16 != 0) repair(parts);
  const std::string bytes = joined(parts);
  if (bytes.size() > max_size) return size;
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(data));
  return bytes.size();
}
