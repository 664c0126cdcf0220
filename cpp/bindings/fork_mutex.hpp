// Mutexes that a forked child finds free, whatever other threads of its parent were doing.
#pragma once

#include <mutex>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace lstmcore::bindings {

/// The process' only mutex for `Purpose`. fork() acquires it, and parent and child release it: otherwise the child
/// could inherit a mutex that is held by a thread which exists only in the parent. Whoever holds it must not wait for
/// the GIL, nor for another such mutex. Never destroyed, because threads of other programs may outlive static objects.
template <class Purpose>
std::mutex& fork_mutex() {
  static std::mutex* const instance = [] {
    auto* const made = new std::mutex;
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork([] { fork_mutex<Purpose>().lock(); }, [] { fork_mutex<Purpose>().unlock(); },
                   [] { fork_mutex<Purpose>().unlock(); });
#endif
    return made;
  }();
  return *instance;
}

}  // namespace lstmcore::bindings
