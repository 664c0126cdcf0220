// The header in C++, beside those of C++.
#include <lstmcore/lstmcore.h>

#include <cstring>
#include <lstmcore/cpu.hpp>
#include <lstmcore/lstm.hpp>
#include <type_traits>

static_assert(std::is_same_v<decltype(lstmcore_version()), const char*>, "a C string");

int main() {
  const lstmcore_status status = lstmcore_set_num_threads(0);
  return status == LSTMCORE_ERROR_ARGUMENT && std::strstr(lstmcore_last_error(), "count") != nullptr ? 0 : 1;
}
