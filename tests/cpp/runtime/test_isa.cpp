// The choice of the instruction set. CTest runs this file once with each name in LSTMCORE_ISA, once with a wrong one
// and once without.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <lstmcore/cpu.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "runtime/isa.hpp"

namespace {

// After `sizes` numbers, every entry is a function pointer.
template <class Table>
void check_nothing_is_missing(const Table& table, std::size_t sizes) {
  void* entries[sizeof table / sizeof(void*)];
  std::memcpy(entries, &table, sizeof table);
  for (std::size_t entry = sizes; entry < sizeof table / sizeof(void*); ++entry) {
    const check::Context context("entry " + std::to_string(entry));
    CHECK(entries[entry] != nullptr);
  }
}

template <class T>
void check_no_kernel_is_missing() {
  check_nothing_is_missing(lstmcore::active_kernels<T>(), 3);
  check_nothing_is_missing(lstmcore::kernels::training_kernels<T>(), 0);
}

}  // namespace

TEST("LSTMCORE_ISA names the set in use, and a wrong name is an error") {
  const std::vector<std::string> supported = lstmcore::supported_isas();
  const char* const environment = std::getenv("LSTMCORE_ISA");
  const std::string forced = environment != nullptr ? environment : "";
  if (forced.empty()) {
    CHECK_EQUAL(lstmcore::isa(), supported.back());
  } else if (std::find(supported.begin(), supported.end(), forced) != supported.end()) {
    CHECK_EQUAL(lstmcore::isa(), forced);
  } else {
    for (int attempt = 0; attempt < 2; ++attempt) {  // the second one must not find a half-finished choice
      CHECK_THROWS(lstmcore::isa(), forced.c_str());
      CHECK_THROWS(lstmcore::active_table(), "LSTMCORE_ISA");
      CHECK_THROWS(lstmcore::isa(), supported.front().c_str());
    }
  }
}

TEST("every supported instruction set is known, in the same order, and all have a width") {
  const std::vector<std::string> known = lstmcore::known_isas(), supported = lstmcore::supported_isas();
  std::size_t found = 0;
  for (const std::string& name : known) {
    CHECK(lstmcore::vector_bytes(name) >= 4);  // a float, where there are no vectors
    if (found < supported.size() && supported[found] == name) ++found;
  }
  CHECK_EQUAL(found, supported.size());
}

TEST("the baseline is always supported, and first") { CHECK_EQUAL(lstmcore::supported_isas().front(), "baseline"); }

TEST("the tables are complete") {
  const std::vector<std::string> supported = lstmcore::supported_isas();
  const char* const forced = std::getenv("LSTMCORE_ISA");
  if (forced != nullptr && std::find(supported.begin(), supported.end(), forced) == supported.end()) return;
  check_no_kernel_is_missing<float>();
  check_no_kernel_is_missing<double>();
  CHECK(lstmcore::active_table().fingerprint != nullptr);
  const std::int64_t floats = lstmcore::active_kernels<float>().lanes,
                     doubles = lstmcore::active_kernels<double>().lanes;
  CHECK(floats == 2 * doubles || (floats == 1 && doubles == 1));  // there are processors without vectors
}

TEST("the number of threads is what was set") {
  const int before = lstmcore::get_num_threads();
  CHECK(before >= 1);
  lstmcore::set_num_threads(3);
  CHECK_EQUAL(lstmcore::get_num_threads(), 3);
  CHECK_THROWS(lstmcore::set_num_threads(0), "got 0");
  CHECK_THROWS(lstmcore::set_num_threads(-2), "got -2");
  CHECK_THROWS(lstmcore::set_num_threads(1025), "got 1025");
  CHECK_EQUAL(lstmcore::get_num_threads(), 3);
  lstmcore::set_num_threads(before);
}
