// The number of allocations of this program, and what happens if one of them fails.
#pragma once

#include <new>
#include <string>

#include "check.hpp"

/// Calls of malloc and its relatives so far, by any thread, including those of `new`. Always 0 where they cannot be
/// replaced: `allocations_are_counted` says whether they can.
long allocations();
bool allocations_are_counted();

/// Lets one allocation of this thread fail: the one after the next `count`. A negative count: none.
void fail_allocation(long count);
/// Whether that allocation is still to come.
bool allocation_will_fail();

/// Calls `body` again and again. Its first allocation fails, then its second, and so on, to the last: each time, it
/// must throw std::bad_alloc or return the same as without a failure.
template <class Body>
void check_failing_allocations(Body&& body) {
  if (!allocations_are_counted()) return;
  const auto expected = body();
  bool done = false;
  for (long count = 0; !done; ++count) {
    const check::Context context("allocation " + std::to_string(count) + " fails");
    fail_allocation(count);
    try {
      const auto found = body();
      done = allocation_will_fail();
      fail_allocation(-1);
      CHECK(found == expected);
    } catch (const std::bad_alloc&) {
      fail_allocation(-1);
    }
  }
}
