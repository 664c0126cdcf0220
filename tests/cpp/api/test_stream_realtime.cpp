// A step of a stream asks for no memory, takes no lock and does not wait: sizes, layers, and every pair of variants in
// every precision.
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "allocation_counter.hpp"
#include "check.hpp"
#include "lock_counter.hpp"
#include "lstm_problem.hpp"
#include "lstm_variants.hpp"
#include "precision_settings.hpp"
#include "realtime.hpp"
#ifdef LSTMCORE_REALTIME_SANITIZER
#include <sys/wait.h>
#include <unistd.h>
#endif

using lstmcore::Lstm;
using lstmcore::LstmStream;

namespace {

/// What a few steps and resets ask for and take; the first step may make the emulated unit's tiles.
template <class T>
void check_steps(const lstmcore::LstmConfig& config, Index rows, lstmcore::Precision precision) {
  Problem<T> p = make_problem<T>({"", config, rows, 1});
  LstmStream<T> stream(Lstm<T>(p.config, p.weights(), precision), rows);
  std::vector<T> y(static_cast<std::size_t>(p.y_size()));
  stream.step(p.x.data(), y.data());
  const long memory = allocations(), taken = locks();
  in_realtime([&] {
    for (int t = 0; t < 4; ++t) stream.step(p.x.data(), y.data());
    p.x[0] = std::numeric_limits<T>::infinity();  // no product of low precision
    stream.step(p.x.data(), y.data());
    stream.reset();
    stream.reset(rows - 1);
  });
  CHECK_EQUAL(allocations() - memory, 0);
  CHECK_EQUAL(locks() - taken, 0);
}

template <class T>
void check_variants(Index H) {
  for (const Variant& variant : variants()) {
    const check::Context context(variant.name + ", H " + std::to_string(H));
    check_steps<T>(variant.of(lstm_config(3, H, 2)), 1, lstmcore::Precision::fp32);
  }
}

/// Two variants in one cell, each before the other: where both set an option, the later one counts.
template <class T>
void check_pairs(const std::vector<Variant>& variants, Index H, lstmcore::Precision precision) {
  for (const Variant& one : variants) {
    for (const Variant& other : variants) {
      if (one.name == other.name) continue;
      const check::Context context(one.name + " and " + other.name);
      check_steps<T>(other.of(one.of(lstm_config(3, H, 2))), 2, precision);
    }
  }
}

/// Without those that only name an activation.
std::vector<Variant> option_variants() {
  std::vector<Variant> some;
  for (const Variant& variant : variants()) {
    if (variant.name.find(" for the ") == std::string::npos) some.push_back(variant);
  }
  return some;
}

template <class T>
void check_sizes() {
  for (const Index layers : {1, 2, 3}) {
    for (const Index H : {1, 8, 12, 20, 40, 64, 130}) {
      for (const Index rows : {1, 2, 7}) {
        const check::Context context("L " + std::to_string(layers) + ", H " + std::to_string(H) + ", N " +
                                     std::to_string(rows));
        check_steps<T>(lstm_config(1, H, layers), rows, lstmcore::Precision::fp32);
      }
    }
  }
}

}  // namespace

TEST("the counters count") {
  const long memory = allocations(), taken = locks();
  std::mutex mutex;
  {
    const std::lock_guard<std::mutex> guard(mutex);
  }
  const std::vector<double> some(100);
  if (allocations_are_counted()) CHECK(allocations() > memory);
  if (locks_are_counted()) CHECK(locks() > taken);
}
#ifdef LSTMCORE_REALTIME_SANITIZER
/// Whether a process that calls body() is ended by the sanitizer.
template <class Body>
bool is_ended(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    in_realtime(body);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

TEST("the sanitizer ends programs that allocate or lock") {
  std::mutex mutex;
  CHECK(is_ended([] {
    void* volatile block = ::operator new(100);  // volatile: clang leaves out allocations that nothing uses
    ::operator delete(block);
  }));
  CHECK(is_ended([&] { const std::lock_guard<std::mutex> guard(mutex); }));
  CHECK(!is_ended([] {}));
}
#endif
TEST("sizes, layers and rows") {
  check_sizes<float>();
  check_sizes<double>();
}
TEST("variants of the cell") {
  check_variants<float>(20);
  check_variants<double>(9);
}
TEST("pairs of variants") {
  check_pairs<float>(variants(), 9, lstmcore::Precision::fp32);
  check_pairs<double>(option_variants(), 5, lstmcore::Precision::fp32);
}
TEST("pairs of variants in every precision") {
  for (const Setting& setting : settings()) {
    const Emulation emulation(setting.emulated);
    check_pairs<float>(option_variants(), 12, setting.precision);
  }
}
TEST("precisions") {
  for (const Setting& setting : settings()) {
    const Emulation emulation(setting.emulated);
    for (const Index H : {8, 40, 72}) {
      for (const Index rows : {1, 3}) {
        const check::Context context("H " + std::to_string(H) + ", N " + std::to_string(rows));
        check_steps<float>(lstm_config(5, H, 2), rows, setting.precision);
      }
    }
  }
}
