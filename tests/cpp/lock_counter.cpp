#include "lock_counter.hpp"

#include "realtime.hpp"

// A program's own functions take the place of the C library's, which are found behind them by their names. The
// sanitizers have replaced them already.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(LSTMCORE_REALTIME_SANITIZER)

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <ctime>

namespace {

std::atomic<long> count{0};

/// Counts, and calls the C library's function of this name. It is looked up each time: a static variable would itself
/// have a lock.
template <class Function, class... Arguments>
auto counted(const char* name, Function*, Arguments... arguments) {
  ++count;
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name))(arguments...);
}

}  // namespace

extern "C" {
int pthread_mutex_lock(pthread_mutex_t* lock) noexcept {
  return counted("pthread_mutex_lock", &pthread_mutex_lock, lock);
}
int pthread_mutex_trylock(pthread_mutex_t* lock) noexcept {
  return counted("pthread_mutex_trylock", &pthread_mutex_trylock, lock);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  return counted("pthread_rwlock_rdlock", &pthread_rwlock_rdlock, lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  return counted("pthread_rwlock_wrlock", &pthread_rwlock_wrlock, lock);
}
int pthread_spin_lock(pthread_spinlock_t* lock) noexcept {
  return counted("pthread_spin_lock", &pthread_spin_lock, lock);
}
int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* lock) {
  return counted("pthread_cond_wait", &pthread_cond_wait, condition, lock);
}
int pthread_mutex_timedlock(pthread_mutex_t* lock, const timespec* until) noexcept {
  return counted("pthread_mutex_timedlock", &pthread_mutex_timedlock, lock, until);
}
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* lock, const timespec* until) {
  return counted("pthread_cond_timedwait", &pthread_cond_timedwait, condition, lock, until);
}
int nanosleep(const timespec* time, timespec* left) { return counted("nanosleep", &nanosleep, time, left); }
int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  return counted("clock_nanosleep", &clock_nanosleep, clock, flags, time, left);
}
int sched_yield() noexcept { return counted("sched_yield", &sched_yield); }
void* mmap(void* where, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
  return counted("mmap", &mmap, where, size, protection, flags, file, offset);
}
int munmap(void* where, std::size_t size) noexcept { return counted("munmap", &munmap, where, size); }
int madvise(void* where, std::size_t size, int advice) noexcept {
  return counted("madvise", &madvise, where, size, advice);
}
int sem_wait(sem_t* semaphore) { return counted("sem_wait", &sem_wait, semaphore); }
long syscall(long number, long a, long b, long c, long d, long e, long f) noexcept {
  return counted("syscall", &syscall, number, a, b, c, d, e, f);
}
}

long locks() { return count; }
bool locks_are_counted() { return true; }

#else

long locks() { return 0; }
bool locks_are_counted() { return false; }

#endif
