// The end of a program whose library has no exceptions.
#include "errors.hpp"

#ifdef LSTMCORE_NO_EXCEPTIONS

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace lstmcore {
namespace {

std::atomic<ErrorHandler>& handler() {
  static std::atomic<ErrorHandler> set{nullptr};
  return set;
}

}  // namespace

ErrorHandler set_error_handler(ErrorHandler function) noexcept { return handler().exchange(function); }

Rephrasing*& Rephrasing::innermost() {
  static thread_local Rephrasing* first = nullptr;
  return first;
}

void Rephrasing::report(const std::string& text) noexcept {
  if (Rephrasing* const rephrasing = innermost()) {
    innermost() = rephrasing->outer_;
    rephrasing->call_(rephrasing->function_, text);
  }
  if (const ErrorHandler function = handler().load()) function(text.c_str());
  std::fprintf(stderr, "lstmcore: %s\n", text.c_str());
  std::abort();
}

}  // namespace lstmcore

#endif
