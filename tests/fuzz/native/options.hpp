// The sanitizers' options for all targets; included once by each.
#pragma once

// memory_rule.hpp has the rule. An allocation as large as all of its room ends the program before it is made, and what
// the rule does not see, such as stacks, is limited as a whole.
extern "C" const char* __asan_default_options() {
  return "max_allocation_size_mb=64:allocator_may_return_null=0:hard_rss_limit_mb=1500:detect_leaks=1";
}
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }
