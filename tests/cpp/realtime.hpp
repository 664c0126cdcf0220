// What a thread with a deadline does: nothing in it may ask for memory, take a lock or wait.
#pragma once

#include <utility>

#if defined(__has_feature)
#if __has_feature(realtime_sanitizer)
#define LSTMCORE_REALTIME_SANITIZER
#define LSTMCORE_NONBLOCKING [[clang::nonblocking]]
#endif
#endif
#ifndef LSTMCORE_NONBLOCKING
#define LSTMCORE_NONBLOCKING
#endif

/// Calls body() as such a thread. In tests that are built with clang's realtime sanitizer (make sanitize-realtime), the
/// program ends at the first call in it that may block; in others, allocation_counter.hpp and lock_counter.hpp count.
template <class Body>
void in_realtime(Body&& body) noexcept LSTMCORE_NONBLOCKING {
  std::forward<Body>(body)();
}
