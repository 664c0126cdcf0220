// How often this program has taken a lock.
#pragma once

/// Calls so far, by any thread, of the functions by which a program takes a lock or sleeps for one: those of mutexes,
/// read-write locks, spin locks, condition variables and semaphores, and `syscall`, through which libstdc++ calls
/// futex; and of others that a thread with a deadline must not call: to sleep, to let another thread run, and to change
/// how memory is mapped. Always 0 where they cannot be replaced: `locks_are_counted` says whether they can. libgomp
/// enters the kernel by instructions of its own, which nothing can intercept.
long locks();
bool locks_are_counted();
