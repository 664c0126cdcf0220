// What becomes of exceptions at the border to C, also of those that no argument of a test can cause.
#include <new>
#include <stdexcept>
#include <string>

#include "c/status.hpp"
#include "check.hpp"

using lstmcore::c::elements;
using lstmcore::c::guarded;

namespace {

/// The status of a call that throws `error`, whose text is then the last one.
template <class Error>
lstmcore_status status_of(const Error& error) {
  return guarded([&] { throw error; });  // NOLINT(bugprone-std-exception-baseclass): other code throws anything
}

std::string last() { return lstmcore_last_error(); }

}  // namespace

TEST("every kind of exception") {
  CHECK_EQUAL(guarded([] {}), LSTMCORE_OK);
  CHECK_EQUAL(status_of(lstmcore::c::Failure(LSTMCORE_ERROR_SIZE, "a size")), LSTMCORE_ERROR_SIZE);
  CHECK_EQUAL(last(), "a size");
  CHECK_EQUAL(status_of(std::invalid_argument("an argument")), LSTMCORE_ERROR_ARGUMENT);
  CHECK_EQUAL(last(), "an argument");
  CHECK_EQUAL(status_of(std::domain_error("a layer")), LSTMCORE_ERROR_UNSUPPORTED);
  CHECK_EQUAL(status_of(std::bad_alloc()), LSTMCORE_ERROR_MEMORY);
  CHECK_EQUAL(last(), "out of memory");
  CHECK_EQUAL(status_of(std::length_error("vector")), LSTMCORE_ERROR_MEMORY);
  CHECK_EQUAL(status_of(std::runtime_error("no thread")), LSTMCORE_ERROR_INTERNAL);
  CHECK_EQUAL(last(), "no thread");
  CHECK_EQUAL(status_of(std::logic_error("a fault")), LSTMCORE_ERROR_INTERNAL);
  CHECK_EQUAL(status_of(42), LSTMCORE_ERROR_INTERNAL);
  CHECK_EQUAL(last(), "an exception of unknown type");
}

TEST("sizes that overflow") {
  constexpr std::int64_t large = std::int64_t{1} << 40;
  CHECK_EQUAL(elements(3, 4, 5), 60);
  CHECK_EQUAL(elements(0, large, large), 0);
  CHECK_EQUAL(elements(large, large, 0), 0);
  CHECK_THROWS(elements(large, large), "1099511627776 x 1099511627776 x 1 elements");
}

TEST("texts are cut at a whole character") {
  lstmcore::c::failed(LSTMCORE_ERROR_FILE, (std::string(1022, 'a') + "\xC3\xB6" + "b").c_str());
  CHECK_EQUAL(last(), std::string(1022, 'a'));
  lstmcore::c::failed(LSTMCORE_ERROR_FILE, (std::string(1021, 'a') + "\xC3\xB6" + "b").c_str());
  CHECK_EQUAL(last(), std::string(1021, 'a') + "\xC3\xB6");
  lstmcore::c::failed(LSTMCORE_ERROR_FILE, "");
  CHECK_EQUAL(last(), "");
}
