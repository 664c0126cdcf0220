#include "json.hpp"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "../runtime/errors.hpp"
#include "../runtime/text_streams.hpp"

namespace lstmcore::json {
namespace {

constexpr int deepest = 64;

void append_utf8(std::uint32_t point, std::string& text) {
  const auto byte = [&text](std::uint32_t value) { text += static_cast<char>(static_cast<unsigned char>(value)); };
  if (point < 0x80) {
    byte(point);
  } else if (point < 0x800) {
    byte(0xC0 | (point >> 6));
    byte(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    byte(0xE0 | (point >> 12));
    byte(0x80 | ((point >> 6) & 0x3F));
    byte(0x80 | (point & 0x3F));
  } else {
    byte(0xF0 | (point >> 18));
    byte(0x80 | ((point >> 12) & 0x3F));
    byte(0x80 | ((point >> 6) & 0x3F));
    byte(0x80 | (point & 0x3F));
  }
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Value whole() {
    Value result = value(0);
    skip_space();
    if (at_ != text_.size()) fail("expected the end");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    raise<std::invalid_argument>("JSON: " + what + " at byte " + std::to_string(at_));
  }

  bool done() const { return at_ == text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  bool take(char wanted) {
    if (done() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!take(wanted)) fail(std::string("expected '") + wanted + "'");
  }
  void skip_space() {
    while (!done() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++at_;
  }
  bool take_word(const char* word) {
    const std::string wanted = word;
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    at_ += wanted.size();
    return true;
  }

  Value value(int depth) {
    if (depth > deepest) fail("nested too deeply");
    count();
    skip_space();
    const char first = peek();
    if (first == '{') return Value(object(depth));
    if (first == '[') return Value(array(depth));
    if (first == '"') return Value(string());
    if (take_word("NaN") || take_word("Infinity") || take_word("-Infinity")) fail("expected a number that is finite");
    if (first == '-' || (first >= '0' && first <= '9')) return number();
    if (take_word("true") || take_word("false")) return Value(first == 't');
    if (!take_word("null")) fail("expected a value");
    return {};
  }

  /// Counts a value or a name.
  void count() {
    if (++values_ > most_values(text_.size())) {
      fail("expected at most " + std::to_string(most_values(text_.size())) +
           " values in a text of this length, got more");
    }
  }

  /// The number of commas up to the end of the list that begins here, so that its memory is allocated once.
  std::size_t commas() const {
    std::size_t result = 0;
    int depth = 0;
    bool quoted = false;
    for (std::size_t at = at_; at < text_.size() && depth >= 0; ++at) {
      const char byte = text_[at];
      if (quoted) {
        if (byte == '\\') ++at;
        quoted = byte != '"';
        continue;
      }
      quoted = byte == '"';
      if (byte == '[' || byte == '{') ++depth;
      if (byte == ']' || byte == '}') --depth;
      if (byte == ',' && depth == 0) ++result;
    }
    return result;
  }

  template <class List>
  List reserved() const {
    List result;
    result.reserve(std::min(commas() + 1, most_values(text_.size())));
    return result;
  }

  Value::Object object(int depth) {
    expect('{');
    skip_space();
    if (take('}')) return {};
    auto result = reserved<Value::Object>();
    std::unordered_set<std::string_view> names;  // of `result`, which does not grow beyond what it reserved
    do {
      skip_space();
      if (peek() != '"') fail("expected a name in quotes");
      count();
      result.push_back({string(), {}});
      Member& member = result.back();
      if (!names.insert(member.name).second) fail("the name " + in_quotes(member.name) + " appears twice");
      skip_space();
      expect(':');
      member.value = value(depth + 1);
      skip_space();
    } while (take(','));
    expect('}');
    return result;
  }

  Value::Array array(int depth) {
    expect('[');
    skip_space();
    if (take(']')) return {};
    auto result = reserved<Value::Array>();
    do {
      result.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    expect(']');
    return result;
  }

  // ---- strings ----

  std::string string() {
    expect('"');
    std::string result;
    while (!take('"')) {
      if (done()) fail("expected the end of a string");
      const unsigned char byte = static_cast<unsigned char>(peek());
      if (byte < 0x20) fail("a control character in a string");
      if (byte == '\\') {
        escape(result);
      } else if (byte < 0x80) {
        result += text_[at_++];
      } else {
        utf8(result);
      }
    }
    return result;
  }

  void escape(std::string& result) {
    expect('\\');
    static const std::string names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    const std::size_t index = done() ? std::string::npos : names.find(peek());
    if (index != std::string::npos) {
      ++at_;
      result += meanings[index];
      return;
    }
    if (!take('u')) fail("an unknown escape");
    std::uint32_t point = four_digits();
    if (point >= 0xD800 && point < 0xDC00) {  // the first half of a pair
      if (!take('\\') || !take('u')) fail("expected the second half of a surrogate pair");
      const std::uint32_t low = four_digits();
      if (low < 0xDC00 || low > 0xDFFF) fail("expected the second half of a surrogate pair");
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point >= 0xDC00 && point < 0xE000) {
      fail("the second half of a surrogate pair stands alone");
    }
    append_utf8(point, result);
  }

  std::uint32_t four_digits() {
    static const std::string digits = "0123456789abcdef0123456789ABCDEF";
    std::uint32_t result = 0;
    for (int k = 0; k < 4; ++k) {
      const std::size_t digit = done() ? std::string::npos : digits.find(peek());
      if (digit == std::string::npos) fail("expected four hexadecimal digits");
      result = result * 16 + static_cast<std::uint32_t>(digit % 16);
      ++at_;
    }
    return result;
  }

  // One character of two to four bytes, in the shortest encoding, which is the only valid one.
  void utf8(std::string& result) {
    const auto byte_at = [this](std::size_t k) {
      return at_ + k < text_.size() ? static_cast<unsigned char>(text_[at_ + k]) : 0u;
    };
    const unsigned first = byte_at(0);
    const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    std::uint32_t point = first & (0xFFu >> (size + 1));
    for (std::size_t k = 1; k < size; ++k) {
      if ((byte_at(k) & 0xC0u) != 0x80u) fail("text that is not UTF-8");
      point = (point << 6) | (byte_at(k) & 0x3Fu);
    }
    std::string shortest;
    if (point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF)) append_utf8(point, shortest);
    if (shortest != text_.substr(at_, size)) fail("text that is not UTF-8");
    result += shortest;
    at_ += size;
  }

  // ---- numbers ----

  std::size_t digits() {
    const std::size_t start = at_;
    while (!done() && peek() >= '0' && peek() <= '9') ++at_;
    if (at_ == start) fail("expected a digit");
    return at_ - start;
  }

  Value number() {
    const std::size_t start = at_;
    take('-');
    const bool zero = peek() == '0';
    if (digits() > 1 && zero) fail("a number with a leading zero");
    bool integral = true;
    if (take('.')) {
      integral = false;
      digits();
    }
    if (take('e') || take('E')) {
      integral = false;
      if (!take('-')) take('+');
      digits();
    }
    std::istringstream stream(text_.substr(start, at_ - start));
    make_strict(stream);
    if (std::int64_t whole = 0; integral && stream >> whole) return Value(whole);
    stream.clear();
    stream.seekg(0);
    double nearest = 0;
    stream >> nearest;  // a number out of range becomes the nearest double, as in most readers
    return Value(nearest);
  }

  const std::string& text_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
};

}  // namespace

const Value* Value::find(const std::string& name) const {
  for (const Member& member : object()) {
    if (member.name == name) return &member.value;
  }
  return nullptr;
}

Value parse(const std::string& text) { return Parser(text).whole(); }

}  // namespace lstmcore::json
