// Errors leave the library through the functions of this file: as exceptions or, in a library built with
// LSTMCORE_EXCEPTIONS=OFF, through the program's error handler, after which the program ends.
#pragma once

#include <exception>
#include <functional>
#include <lstmcore/errors.hpp>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace lstmcore {

#ifdef LSTMCORE_NO_EXCEPTIONS

/// The functions that want to add to the text of an error before it is reported, innermost first. They are what
/// handlers of exceptions would be; each is used at most once.
class Rephrasing {
 public:
  template <class Rephrase>
  explicit Rephrasing(Rephrase& rephrase)
      : call_([](void* function, const std::string& text) { (*static_cast<Rephrase*>(function))(text); }),
        function_(&rephrase),
        outer_(std::exchange(innermost(), this)) {}
  ~Rephrasing() { innermost() = outer_; }
  Rephrasing(const Rephrasing&) = delete;
  Rephrasing& operator=(const Rephrasing&) = delete;

  /// Calls all of them, each of which raises the error again, and ends the program.
  [[noreturn]] static void report(const std::string& text) noexcept;

 private:
  static Rephrasing*& innermost();

  void (*call_)(void*, const std::string&);
  void* function_;
  Rephrasing* outer_;
};

template <class Error>
[[noreturn]] void raise(const std::string& text) {
  Rephrasing::report(text);
}

[[noreturn]] inline void raise_out_of_memory() { Rephrasing::report("out of memory"); }

/// Calls body(). An error of type Error becomes the one that `rephrase`, called with its text, raises.
template <class Error, class Body, class Rephrase>
decltype(auto) rephrased(Body&& body, Rephrase&& rephrase) {
  const Rephrasing scope(rephrase);
  return body();
}

/// Returns whether body() ends without an error. Without exceptions, an error in it ends the program.
template <class Body>
bool succeeds(Body&& body) {
  body();
  return true;
}

/// Returns the exception that ends body(), or null. Without exceptions, an error in it ends the program.
template <class Body>
std::exception_ptr error_of(Body&& body) {
  body();
  return nullptr;
}

#else

template <class Error>
[[noreturn]] void raise(const std::string& text) {
  throw Error(text);
}

[[noreturn]] inline void raise_out_of_memory() { throw std::bad_alloc(); }

template <class Error, class Body, class Rephrase>
decltype(auto) rephrased(Body&& body, Rephrase&& rephrase) {
  try {
    return body();
  } catch (const Error& error) {
    rephrase(std::string(error.what()));
    throw;
  }
}

template <class Body>
bool succeeds(Body&& body) {
  try {
    body();
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

template <class Body>
std::exception_ptr error_of(Body&& body) {
  try {
    body();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

#endif

/// A text of a file or a caller as a message shows it: without its end, if it is long.
inline std::string shortened(const std::string& text) {
  constexpr std::size_t longest = 100;
  if (text.size() <= longest) return text;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // not within a character of UTF-8
  return text.substr(0, end) + "...";
}

/// The same in quotes.
inline std::string in_quotes(const std::string& text) { return "\"" + shortened(text) + "\""; }

/// Names of a file or a caller as a message lists them: the first of them, if there are many. `name_of`: a member of
/// the items, or a function, that is their name.
template <class Items, class NameOf>
std::string listed(const Items& items, NameOf&& name_of) {
  constexpr std::size_t most = 8;
  std::string text;
  std::size_t count = 0;
  for (const auto& item : items) {
    if (count == most) return text + ", ...";
    text += (count == 0 ? "" : ", ") + shortened(std::invoke(name_of, item));
    ++count;
  }
  return text;
}

}  // namespace lstmcore
