// What becomes of exceptions at the border to C, also of those that no argument of a test can cause.
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "c/status.hpp"
#include "c/structs.hpp"
#include "check.hpp"

using lstmcore::c::elements;
using lstmcore::c::give;
using lstmcore::c::guarded;

namespace {

/// The status of a call that throws `error`, whose text is then the last one.
template <class Error>
lstmcore_status status_of(const Error& error) {
  return guarded([&] { throw error; });  // NOLINT(bugprone-std-exception-baseclass): other code throws anything
}

std::string last() { return lstmcore_last_error(); }

/// A struct whose last member the first header did not have.
struct Grown {
  std::size_t struct_size;
  std::int64_t first, second;
};
constexpr std::size_t first_grown_size = LSTMCORE_SIZE_TO(Grown, first);

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

TEST("texts that are too long lose whole characters in the middle") {
  const auto a = [](std::size_t count) { return std::string(count, 'a'); };
  const std::string o = "\xC3\xB6";
  std::string many, fewer;
  for (int k = 0; k < 300; ++k) many += o;
  for (int k = 0; k < 255; ++k) fewer += o;
  const std::pair<std::string, std::string> texts[] = {{"", ""},
                                                       {a(1021) + o, a(1021) + o},
                                                       {a(1022) + o, a(511) + "..." + a(507) + o},
                                                       {a(1023) + "b", a(511) + "..." + a(508) + "b"},
                                                       {a(510) + many, a(510) + "..." + fewer},
                                                       {a(9999) + "\xFF", a(511) + "..." + a(506) + "\xEF\xBF\xBD"}};
  for (const auto& [text, stored] : texts) {
    lstmcore::c::failed(LSTMCORE_ERROR_FILE, text.c_str());
    CHECK_EQUAL(last(), stored);
  }
}

TEST("texts are UTF-8, whatever a path has") {
  const auto stored = [](const std::string& text) {
    lstmcore::c::failed(LSTMCORE_ERROR_FILE, text.c_str());
    return std::string(lstmcore_last_error());
  };
  for (const char* const text : {"a\x7F", "\xC2\x80\xDF\xBF", "\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF",
                                 "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"}) {
    CHECK_EQUAL(stored(text), text);
  }
  const std::string mark = "\xEF\xBF\xBD";
  CHECK_EQUAL(stored("a\xFF"
                     "b"),
              "a" + mark + "b");
  for (const char* const two : {"\xC0\x80", "\xC1\xBF", "\xC3\xC3", "\xF5\x80", "\x80\x80", "\xE2\x82"}) {
    CHECK_EQUAL(stored(two), mark + mark);
  }
  for (const char* const three : {"\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF", "\xF4\x90\x80"}) {
    CHECK_EQUAL(stored(three), mark + mark + mark);
  }
  CHECK_EQUAL(stored(std::string(1020, 'a') + "\xFF"), std::string(1020, 'a') + mark);
}

TEST("structs of an older, the same and a newer header than the library's") {
  struct Newer {
    Grown known;
    std::int64_t later;
  };
  for (const std::size_t size : {first_grown_size, sizeof(Grown), sizeof(Newer)}) {
    Newer to{{size, 7, 7}, 7};
    give(to.known, {0, 1, 2}, first_grown_size);
    CHECK_EQUAL(to.known.struct_size, size);
    CHECK_EQUAL(to.known.first, 1);
    CHECK_EQUAL(to.known.second, size == first_grown_size ? 7 : 2);
    CHECK_EQUAL(to.later, size == sizeof(Newer) ? 0 : 7);
  }
  for (const std::size_t size : {std::size_t{0}, first_grown_size - 1, lstmcore::c::most_struct_size + 1}) {
    Grown to{size, 7, 7};
    CHECK_THROWS(give(to, {0, 1, 2}, first_grown_size), "struct_size to be at least 16 and at most 4096, got");
    CHECK_EQUAL(to.first, 7);
  }
}

#if UINTPTR_MAX == UINT64_MAX
TEST("the sizes of the first header stay accepted") {
  CHECK_EQUAL(lstmcore::c::first_model_info_size, std::size_t{56});
  CHECK_EQUAL(lstmcore::c::first_layer_info_size, std::size_t{40});
}
#endif
