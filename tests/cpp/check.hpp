// A small test kit: TEST("name") { ... } registers a test; the CHECK macros record failures and continue.
//
//   CHECK(condition)                            CHECK_EQUAL(actual, expected)
//   CHECK_CLOSE(actual, expected, relative)     |actual - expected| <= relative * |expected|; NaN is never close
//   CHECK_ARRAYS_CLOSE(actual, expected, relative)   containers; relative to the largest entry of `expected`
//   CHECK_SAME_BITS(actual, expected)           containers of trivial elements, compared byte by byte
//   CHECK_THROWS(expression, "substring")       throws a std::exception whose message contains the substring
//
// A `check::Context` on the stack adds its text to every failure, to say which iteration of a loop failed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace check {

struct Case {
  const char* name;
  const char* file;
  void (*run)();
};

struct Registry {
  std::vector<Case> cases;
  std::vector<std::string> contexts;
  int failures = 0;  // of the current test
};

inline Registry& registry() {
  static Registry instance;
  return instance;
}

struct Registration {
  Registration(const char* name, const char* file, void (*run)()) { registry().cases.push_back({name, file, run}); }
};

class Context {
 public:
  explicit Context(std::string text) { registry().contexts.push_back(std::move(text)); }
  ~Context() { registry().contexts.pop_back(); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

inline void fail(const char* file, int line, const std::string& message) {
  constexpr int most_printed = 20;
  const int count = ++registry().failures;
  if (count > most_printed) return;
  std::string where;
  for (const std::string& context : registry().contexts) where += " [" + context + "]";
  std::fprintf(stderr, "%s:%d:%s %s\n", file, line, where.c_str(), message.c_str());
  if (count == most_printed) std::fprintf(stderr, "%s: further failures of this test are not printed\n", file);
}

template <class Value>
std::string text(const Value& value) {
  std::ostringstream stream;
  stream.precision(17);
  stream << std::boolalpha << value;
  return stream.str();
}

inline void condition(const char* file, int line, bool holds, const char* expression) {
  if (!holds) fail(file, line, std::string("CHECK(") + expression + ") does not hold");
}

template <class Actual, class Expected>
void equal(const char* file, int line, const Actual& actual, const Expected& expected, const char* expression) {
  if (!(actual == expected)) {
    fail(file, line, std::string(expression) + " is " + text(actual) + ", expected " + text(expected));
  }
}

template <class Actual, class Expected>
void close(const char* file, int line, Actual actual, Expected expected, double relative, const char* expression) {
  using Wide = long double;
  const Wide a = static_cast<Wide>(actual), e = static_cast<Wide>(expected);
  if (a == e) return;
  const Wide difference = std::fabs(a - e);
  if (difference <= static_cast<Wide>(relative) * std::fabs(e) && std::isfinite(e)) return;
  fail(file, line,
       std::string(expression) + " is " + text(a) + ", expected " + text(e) + ", relative error " +
           text(static_cast<double>(difference / std::fabs(e))) + " > " + text(relative));
}

template <class Actual, class Expected>
void arrays_close(const char* file, int line, const Actual& actual, const Expected& expected, double relative,
                  const char* expression) {
  if (actual.size() != expected.size()) {
    return fail(
        file, line,
        std::string(expression) + " has " + text(actual.size()) + " entries, expected " + text(expected.size()));
  }
  double largest = 0, worst = -1;
  std::size_t where = 0;
  for (std::size_t k = 0; k < expected.size(); ++k) {
    largest = std::fmax(largest, std::fabs(static_cast<double>(expected[k])));
    double difference = std::fabs(static_cast<double>(actual[k]) - static_cast<double>(expected[k]));
    if (std::isnan(difference)) difference = HUGE_VAL;
    if (difference > worst) {
      worst = difference;
      where = k;
    }
  }
  if (expected.size() == 0 || worst <= relative * largest) return;
  fail(file, line,
       std::string(expression) + " entry " + text(where) + " is " + text(actual[where]) + ", expected " +
           text(expected[where]) + "; error relative to the largest entry " + text(worst / largest) + " > " +
           text(relative));
}

template <class Actual, class Expected>
void same_bits(const char* file, int line, const Actual& actual, const Expected& expected, const char* expression) {
  static_assert(sizeof(*actual.data()) == sizeof(*expected.data()), "elements of the same size");
  if (actual.size() != expected.size()) {
    return fail(
        file, line,
        std::string(expression) + " has " + text(actual.size()) + " entries, expected " + text(expected.size()));
  }
  for (std::size_t k = 0; k < expected.size(); ++k) {
    if (std::memcmp(actual.data() + k, expected.data() + k, sizeof(*actual.data())) != 0) {
      return fail(file, line,
                  std::string(expression) + " entry " + text(k) + " of " + text(expected.size()) + " is " +
                      text(actual[k]) + ", expected the bits of " + text(expected[k]));
    }
  }
}

template <class Expression>
void throws(const char* file, int line, Expression&& expression, const char* substring, const char* source) {
  try {
    expression();
  } catch (const std::exception& error) {
    if (std::string(error.what()).find(substring) == std::string::npos) {
      fail(file, line,
           std::string(source) + " throws '" + error.what() + "', which does not contain '" + substring + "'");
    }
    return;
  }
  fail(file, line, std::string(source) + " does not throw");
}

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)
#define TEST(name)                                                                                                   \
  static void CHECK_JOIN(test_at_line_, __LINE__)();                                                                 \
  static const check::Registration CHECK_JOIN(registration_at_line_, __LINE__)(name, __FILE__,                       \
                                                                               CHECK_JOIN(test_at_line_, __LINE__)); \
  static void CHECK_JOIN(test_at_line_, __LINE__)()

#define CHECK(...) check::condition(__FILE__, __LINE__, static_cast<bool>(__VA_ARGS__), #__VA_ARGS__)
#define CHECK_EQUAL(actual, expected) check::equal(__FILE__, __LINE__, actual, expected, #actual)
#define CHECK_CLOSE(actual, expected, relative) check::close(__FILE__, __LINE__, actual, expected, relative, #actual)
#define CHECK_ARRAYS_CLOSE(actual, expected, relative) \
  check::arrays_close(__FILE__, __LINE__, actual, expected, relative, #actual)
#define CHECK_SAME_BITS(actual, expected) check::same_bits(__FILE__, __LINE__, actual, expected, #actual)
#define CHECK_THROWS(expression, substring) \
  check::throws(__FILE__, __LINE__, [&] { static_cast<void>(expression); }, substring, #expression)
