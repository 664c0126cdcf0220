#include "json_text.hpp"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <utility>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace fuzz::json_text {
namespace {

/// Values that are worth trying in any text.
const std::vector<std::string> values = {"0",
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
                                         "[0]",
                                         "[[[[]]]]",
                                         "\\u0000"};

using Range = std::pair<std::size_t, std::size_t>;  // begin and end in a text

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

}  // namespace

void change_word(std::string& text, const std::vector<std::string>& tokens, Random& random) {
  const std::vector<Range> found = words(text);
  if (found.empty()) return;
  const auto [begin, end] = found[below(random, found.size())];
  const auto [from, to] = found[below(random, found.size())];
  const std::string other = text.substr(from, to - from);
  const std::size_t kind = below(random, 4), chosen = below(random, values.size() + tokens.size());
  const std::string& value = chosen < values.size() ? values[chosen] : tokens[chosen - values.size()];
  text.replace(begin, end - begin, kind < 2 ? other : value);
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

}  // namespace fuzz::json_text
