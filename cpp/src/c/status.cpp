#include "status.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>

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

/// Bytes of the character at the beginning of `text`; 0 if it is none of UTF-8 (RFC 3629).
std::size_t character_size(const char* text) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  for (std::size_t at = 1; at < size; ++at) {
    if ((byte(at) & 0xC0) != 0x80) return 0;  // the end of the text, too
  }
  const bool longer_than_needed = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool no_point = (first == 0xED && byte(1) > 0x9F) || (first == 0xF4 && byte(1) > 0x8F);
  return longer_than_needed || no_point ? 0 : size;
}

/// The characters of a text, each as it is shown.
class Characters {
 public:
  explicit Characters(const char* text) : text_(text) {}
  bool done() const { return *text_ == '\0'; }
  std::string_view next() {
    constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
    const std::size_t size = character_size(text_);
    const std::string_view shown = size == 0 ? replacement : std::string_view(text_, size);
    text_ += std::max<std::size_t>(size, 1);
    return shown;
  }

 private:
  const char* text_;
};

std::size_t shown_size(const char* text) {
  std::size_t size = 0;
  for (Characters characters(text); !characters.done();) size += characters.next().size();
  return size;
}

}  // namespace

lstmcore_status failed(lstmcore_status status, const char* text) noexcept {
  constexpr std::size_t room = sizeof(last_error) - 1, beginning = room / 2;
  constexpr std::string_view gap = "...";
  std::size_t size = 0, left = shown_size(text);
  bool cut = left <= room;
  const auto append = [&size](std::string_view piece) {
    std::memcpy(last_error + size, piece.data(), piece.size());
    size += piece.size();
  };
  for (Characters characters(text); !characters.done();) {
    const std::string_view character = characters.next();
    left -= character.size();
    if (!cut && size + character.size() > beginning) {
      while (left > room - size - gap.size()) left -= characters.next().size();
      append(gap);
      cut = true;
    } else {
      append(character);
    }
  }
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
