// exp, sigmoid and tanh against long double, over the whole range of their arguments.
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "runtime/isa.hpp"

using lstmcore::active_kernels;
using lstmcore::kernels::Kernels;

namespace {

using Wide = long double;

Wide wide_sigmoid(Wide x) { return 1 / (1 + std::exp(-x)); }
Wide wide_tanh(Wide x) { return std::tanh(x); }
Wide wide_exp(Wide x) { return std::exp(x); }

template <class T>
struct Function {
  const char* name;
  void (*fast)(const T*, T*, Index);
  Wide (*exact)(Wide);
};

template <class T>
std::vector<Function<T>> functions() {
  const Kernels<T>& kernels = active_kernels<T>();
  return {
      {"sigmoid", kernels.sigmoid, wide_sigmoid}, {"tanh", kernels.tanh, wide_tanh}, {"exp", kernels.exp, wide_exp}};
}

// Every 4099th float of either sign, from the smallest subnormal to the largest.
std::vector<float> arguments(float) {
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 4099) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

// Doubles whose leading 32 bits run through all values in steps; the other bits are pseudo-random.
std::vector<double> arguments(double) {
  std::vector<double> values;
  std::uint64_t noise = 1;
  for (std::uint64_t high = 0; high < 0x7ff00000u; high += 4099) {
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t bits = (high << 32) | (noise >> 32);
    double value;
    std::memcpy(&value, &bits, sizeof value);
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

// Many arguments in the range where the functions change.
template <class T>
void add_dense_arguments(std::vector<T>& values) {
  const std::vector<T> around = random_values<T>(200000, 5, 25), far = random_values<T>(100000, 6, 800);
  values.insert(values.end(), around.begin(), around.end());
  values.insert(values.end(), far.begin(), far.end());
}

template <class T>
void check_accuracy(double tolerance) {
  const Wide smallest = std::numeric_limits<T>::min(), largest = std::numeric_limits<T>::max();
  std::vector<T> x = arguments(T());
  add_dense_arguments(x);
  for (const Function<T>& function : functions<T>()) {
    std::vector<T> y(x.size());
    function.fast(x.data(), y.data(), static_cast<Index>(x.size()));
    double worst = -1;
    std::size_t where = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const Wide exact = function.exact(static_cast<Wide>(x[k])), size = std::fabs(exact);
      // exp may overflow before the last half power of two: all its callers subtract a maximum first.
      if (size > largest / 2 && std::isinf(y[k])) continue;
      // A result below the smallest normal number may be anything down to zero.
      const Wide allowed_below = size < smallest ? smallest : 0;
      Wide error = std::fabs(static_cast<Wide>(y[k]) - exact) - allowed_below;
      if (size > 0) error /= size;
      if (std::isnan(error)) error = HUGE_VALL;
      if (static_cast<double>(error) > worst) {
        worst = static_cast<double>(error);
        where = k;
      }
    }
    const check::Context context(std::string(function.name) + "(" + check::text(x[where]) +
                                 ") = " + check::text(y[where]) + ", relative error " + check::text(worst));
    CHECK(worst <= tolerance);
  }
}

template <class T>
void check_special_arguments() {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T largest = std::numeric_limits<T>::max();
  const std::vector<T> x = {nan, -nan, infinity, -infinity, largest, -largest, T(0), -T(0)};
  for (const Function<T>& function : functions<T>()) {
    const check::Context context(function.name);
    std::vector<T> y(x.size());
    function.fast(x.data(), y.data(), static_cast<Index>(x.size()));
    CHECK(std::isnan(y[0]));
    CHECK(std::isnan(y[1]));
    const std::string name = function.name;
    const T at_plus = name == "exp" ? infinity : T(1);
    const T at_minus = name == "tanh" ? T(-1) : T(0);
    for (std::size_t k : {2u, 4u}) CHECK_EQUAL(y[k], at_plus);
    // sigmoid may stop at a subnormal number instead of zero.
    for (std::size_t k : {3u, 5u}) CHECK(std::fabs(y[k] - at_minus) < std::numeric_limits<T>::min());
    const T at_zero = name == "exp" ? T(1) : name == "sigmoid" ? T(0.5) : T(0);
    for (std::size_t k : {6u, 7u}) CHECK_EQUAL(y[k], at_zero);
  }
}

// An element's bits must not depend on its position in a vector or in the remainder.
template <class T>
void check_places() {
  const Index lanes = active_kernels<T>().lanes, most = 3 * lanes + 1;
  const std::vector<T> x = random_values<T>(most, 8, 4);
  for (const Function<T>& function : functions<T>()) {
    const check::Context context(function.name);
    std::vector<T> whole(x.size()), single(x.size());
    function.fast(x.data(), whole.data(), most);
    for (Index k = 0; k < most; ++k) function.fast(x.data() + k, single.data() + k, 1);
    CHECK_SAME_BITS(single, whole);
    for (Index n = 0; n <= most; ++n) {
      std::vector<T> y = not_a_number<T>(x.size()), expected = y;
      function.fast(x.data(), y.data(), n);
      std::copy(whole.begin(), whole.begin() + n, expected.begin());
      CHECK_SAME_BITS(y, expected);
    }
  }
}

}  // namespace

TEST("relative error in float") { check_accuracy<float>(4e-7); }
TEST("relative error in double") { check_accuracy<double>(2 * DBL_EPSILON); }
TEST("NaN, infinities, zeros and the largest numbers") {
  check_special_arguments<float>();
  check_special_arguments<double>();
}
TEST("the same bits at every position, and nothing written past the end") {
  check_places<float>();
  check_places<double>();
}
