#include "status.hpp"

#include <cstring>
#include <limits>

namespace lstmcore::c {
namespace {

// Without a destructor, so that a failing call allocates nothing at a thread's end either.
thread_local char last_error[1024];

struct Named {
  lstmcore_status status;
  const char* name;
};

constexpr Named names[] = {
    {LSTMCORE_OK, "LSTMCORE_OK"},
    {LSTMCORE_ERROR_ARGUMENT, "LSTMCORE_ERROR_ARGUMENT"},
    {LSTMCORE_ERROR_SIZE, "LSTMCORE_ERROR_SIZE"},
    {LSTMCORE_ERROR_FILE, "LSTMCORE_ERROR_FILE"},
    {LSTMCORE_ERROR_UNSUPPORTED, "LSTMCORE_ERROR_UNSUPPORTED"},
    {LSTMCORE_ERROR_MACHINE, "LSTMCORE_ERROR_MACHINE"},
    {LSTMCORE_ERROR_MEMORY, "LSTMCORE_ERROR_MEMORY"},
    {LSTMCORE_ERROR_INTERNAL, "LSTMCORE_ERROR_INTERNAL"},
};

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }  // in UTF-8

}  // namespace

lstmcore_status failed(lstmcore_status status, const char* text) noexcept {
  std::size_t size = std::strlen(text);
  if (size >= sizeof(last_error)) {
    size = sizeof(last_error) - 1;
    while (size > 0 && continues_character(text[size])) --size;
  }
  std::memcpy(last_error, text, size);
  last_error[size] = '\0';
  return status;
}

lstmcore_status failed_by_exception() noexcept {
  try {
    throw;
  } catch (const Failure& error) {
    return failed(error.status(), error.what());
  } catch (const std::domain_error& error) {  // of the room inference: a model that cannot run
    return failed(LSTMCORE_ERROR_UNSUPPORTED, error.what());
  } catch (const std::invalid_argument& error) {
    return failed(LSTMCORE_ERROR_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return failed(LSTMCORE_ERROR_MEMORY, "out of memory");
  } catch (const std::length_error&) {  // of a container that would be larger than the address space
    return failed(LSTMCORE_ERROR_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(LSTMCORE_ERROR_INTERNAL, error.what());
  } catch (...) {
    return failed(LSTMCORE_ERROR_INTERNAL, "an exception of unknown type");
  }
}

void require_in(const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  const std::string range = most == std::numeric_limits<std::int64_t>::max()
                                ? "at least " + std::to_string(least)
                                : std::to_string(least) + " to " + std::to_string(most);
  refuse(std::string(name) + ": expected " + range + ", got " + std::to_string(value));
}

std::int64_t elements(std::int64_t first, std::int64_t second, std::int64_t third) {
  constexpr std::int64_t most = std::numeric_limits<std::ptrdiff_t>::max() / 8;
  if (first == 0 || second == 0 || third == 0) return 0;
  std::int64_t product = 1;
  for (const std::int64_t size : {first, second, third}) {
    if (product > most / size) {
      throw Failure(LSTMCORE_ERROR_MEMORY, "out of memory: an array of " + std::to_string(first) + " x " +
                                               std::to_string(second) + " x " + std::to_string(third) +
                                               " elements is larger than the address space");
    }
    product *= size;
  }
  return product;
}

}  // namespace lstmcore::c

using lstmcore::c::last_error;
using lstmcore::c::names;

extern "C" {

const char* lstmcore_last_error(void) { return last_error; }

const char* lstmcore_status_name(lstmcore_status status) {
  for (const auto& named : names) {
    if (named.status == status) return named.name;
  }
  return "unknown status";
}

}  // extern "C"
