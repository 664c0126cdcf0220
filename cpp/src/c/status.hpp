// How exceptions become the status of a call, and the text of the last error.
#pragma once

#include <lstmcore/lstmcore.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace lstmcore::c {

/// An error whose status is known where it is found.
class Failure : public std::runtime_error {
 public:
  Failure(lstmcore_status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  lstmcore_status status() const { return status_; }

 private:
  lstmcore_status status_;
};

/// Stores the text of the thread's last error, with U+FFFD for every byte that is not UTF-8, such as a path may have;
/// returns `status`. What does not fit is left out in the middle, since a path comes first and what is wrong last.
lstmcore_status failed(lstmcore_status status, const char* text) noexcept;

/// The same for the exception that is being handled, with the status of its type.
lstmcore_status failed_by_exception() noexcept;

/// Runs `body`; what it throws becomes the result.
template <class Body>
lstmcore_status guarded(Body&& body) noexcept {
  try {
    body();
    return LSTMCORE_OK;
  } catch (...) {
    return failed_by_exception();
  }
}

/// The instruction set in use. Throws with LSTMCORE_ERROR_MACHINE if there is none.
const char* instruction_set();

/// Throws with LSTMCORE_ERROR_MACHINE if an environment variable asks for what this machine or the library lacks, so
/// that a model which is loaded later is not blamed for it.
void require_machine();

[[noreturn]] inline void refuse(const std::string& text) { throw Failure(LSTMCORE_ERROR_ARGUMENT, text); }

template <class T>
T& required(T* pointer, const char* name) {
  if (pointer == nullptr) refuse(std::string(name) + ": expected a pointer, got NULL");
  return *pointer;
}

/// Throws unless `value` is from `least` to `most`.
void require_in(const char* name, std::int64_t value, std::int64_t least, std::int64_t most);

/// The product of sizes that are at least 0. Throws if it is more than an array of 8-byte elements can have.
std::int64_t elements(std::int64_t first, std::int64_t second, std::int64_t third = 1);

/// Throws unless an array of `size` elements has exactly the `expected` ones; NULL is allowed if that is 0.
template <class T>
void require_array(const char* name, const T* data, std::size_t size, std::int64_t expected, const char* shape) {
  if (size != static_cast<std::size_t>(expected)) {
    throw Failure(LSTMCORE_ERROR_SIZE, std::string(name) + ": expected " + std::to_string(expected) + " elements, " +
                                           shape + ", got " + std::to_string(size));
  }
  if (expected > 0) required(data, name);
}

}  // namespace lstmcore::c
