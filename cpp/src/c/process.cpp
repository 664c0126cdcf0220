// Versions, the instruction set and the number of threads.
#include <lstmcore/cpu.hpp>
#include <lstmcore/version.hpp>

#include "../runtime/units.hpp"
#include "status.hpp"

namespace lstmcore::c {

namespace {

/// Calls read(), which reads settings of the environment, and returns its result.
template <class Read>
decltype(auto) of_machine(Read&& read) {
  try {
    return read();
  } catch (const std::invalid_argument& error) {
    throw Failure(LSTMCORE_ERROR_MACHINE, error.what());
  }
}

}  // namespace

const char* instruction_set() {
  return of_machine([] { return isa().c_str(); });
}

void require_machine() {
  instruction_set();
  of_machine([] { check_unit_setting(); });
}

}  // namespace lstmcore::c

using lstmcore::c::guarded;

extern "C" {

int32_t lstmcore_abi_version(void) { return LSTMCORE_ABI_VERSION; }

const char* lstmcore_version(void) { return LSTMCORE_VERSION; }

const char* lstmcore_instruction_set(void) {
  const char* name = nullptr;
  guarded([&] { name = lstmcore::c::instruction_set(); });
  return name;
}

int32_t lstmcore_get_num_threads(void) {
  int32_t count = 1;
  guarded([&] { count = lstmcore::get_num_threads(); });
  return count;
}

lstmcore_status lstmcore_set_num_threads(int32_t count) {
  return guarded([&] { lstmcore::set_num_threads(count); });
}

}  // extern "C"
