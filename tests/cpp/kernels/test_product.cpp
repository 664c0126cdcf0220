// The matrix product kernels against loops. Every element is one running sum over k in rising order, so the bits are
// known: those of multiply-adds, fused where the instruction set has them.
#include <cmath>
#include <lstmcore/cpu.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "packing/pack.hpp"
#include "runtime/isa.hpp"

using lstmcore::active_kernels;
using lstmcore::kernels::Kernels;

namespace {

template <class T>
bool is_fused() {
  const T one_plus = T(1) + std::numeric_limits<T>::epsilon();
  const T one_minus = T(1) - std::numeric_limits<T>::epsilon();
  const T* a = &one_plus;
  T sum = 0, *out = &sum;
  const std::vector<T> panel(static_cast<std::size_t>(active_kernels<T>().lanes), one_minus),
      start(panel.size(), T(-1));
  active_kernels<T>().product({1, 1, 1, &a, panel.data(), &out, start.data(), false, 0, 1});
  return sum != 0;  // (1 + e)(1 - e) - 1 is -e^2 if the product is not rounded
}

template <class T>
T multiply_add(T a, T b, T sum, bool fused) {
  if (fused) return std::fma(a, b, sum);
  const volatile T product = a * b;
  return product + sum;
}

enum class Start { zero, bias, accumulate, add };

// A row-major product with NaN around the elements that may be written.
template <class T>
struct Case {
  Index rows, depth, columns, stride;
  Start start;
  std::vector<T> a, b, bias, panels, out;

  Case(Index row_count, Index k_count, Index column_count, Start how)
      : rows(row_count), depth(k_count), columns(column_count), stride(column_count + 3), start(how) {
    const auto layout = active_kernels<T>().layout();
    a = random_values<T>(rows * depth, 1);
    b = random_values<T>(depth * columns, 2);
    bias = random_values<T>(layout.elements(1, columns), 3);
    panels.resize(static_cast<std::size_t>(layout.elements(depth, columns)));
    lstmcore::pack_panels(b.data(), columns, Index{1}, depth, columns, layout, panels.data());
    out = not_a_number<T>(static_cast<std::size_t>(rows * stride));
    if (start == Start::accumulate || start == Start::add) {
      const std::vector<T> before = random_values<T>(rows * columns, 4);
      for (Index r = 0; r < rows; ++r) {
        for (Index c = 0; c < columns; ++c) out[r * stride + c] = before[r * columns + c];
      }
    }
  }

  Index panel_count() const {
    const Index full = lstmcore::kernels::panel_vectors * active_kernels<T>().lanes;
    return (columns + full - 1) / full;
  }

  std::vector<T> expected(bool fused) const {
    std::vector<T> values = out;
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < columns; ++c) {
        T sum = start == Start::bias ? bias[c] : start == Start::accumulate ? values[r * stride + c] : T(0);
        for (Index k = 0; k < depth; ++k) sum = multiply_add(a[r * depth + k], b[k * columns + c], sum, fused);
        values[r * stride + c] = start == Start::add ? values[r * stride + c] + sum : sum;
      }
    }
    return values;
  }

  void run(Index panel_begin, Index panel_end) {
    std::vector<const T*> a_rows;
    std::vector<T*> out_rows;
    for (Index r = 0; r < rows; ++r) {
      a_rows.push_back(a.data() + r * depth);
      out_rows.push_back(out.data() + r * stride);
    }
    active_kernels<T>().product({rows, depth, columns, a_rows.data(), panels.data(), out_rows.data(),
                                 start == Start::bias ? bias.data() : nullptr, start == Start::accumulate, panel_begin,
                                 panel_end});
  }

  void run_transposed(Index panel_begin, Index panel_end, Index row_begin, Index row_end) {
    // The left factor as it is stored: `depth` rows of `rows` columns.
    std::vector<T> transposed(a.size());
    std::vector<const T*> rows_of_transposed;
    for (Index k = 0; k < depth; ++k) {
      for (Index r = 0; r < rows; ++r) transposed[k * rows + r] = a[r * depth + k];
      rows_of_transposed.push_back(transposed.data() + k * rows);
    }
    active_kernels<T>().transposed_product({row_begin, row_end, depth, columns, rows_of_transposed.data(),
                                            panels.data(), out.data(), stride, start == Start::accumulate, panel_begin,
                                            panel_end, start == Start::add});
  }
};

// Below, at and above a vector, a panel of four vectors, and several panels, which few rows compute together.
std::vector<Index> column_counts(Index lanes) {
  return {1,         lanes - 1,     lanes,         lanes + 1,  2 * lanes,  3 * lanes - 1,
          4 * lanes, 4 * lanes + 1, 8 * lanes - 1, 12 * lanes, 16 * lanes, 22 * lanes + 1};
}

template <class Body>
void for_each_shape(Index lanes, Body&& body) {
  // Rows up to 20: every remainder of every tile height (2 to 12), before and after a full tile.
  for (Index rows = 1; rows <= 20; ++rows) {
    for (Index columns : column_counts(lanes)) {
      if (columns < 1) continue;
      for (Index depth : {Index{1}, Index{7}}) {
        const check::Context context("rows " + std::to_string(rows) + ", columns " + std::to_string(columns) +
                                     ", depth " + std::to_string(depth));
        body(rows, depth, columns);
      }
    }
  }
}

template <class T>
void check_product() {
  const bool fused = is_fused<T>();
  for_each_shape(active_kernels<T>().lanes, [fused](Index rows, Index depth, Index columns) {
    for (Start start : {Start::zero, Start::bias, Start::accumulate}) {
      Case<T> whole(rows, depth, columns, start);
      const std::vector<T> expected = whole.expected(fused);
      whole.run(0, whole.panel_count());
      CHECK_SAME_BITS(whole.out, expected);

      Case<T> divided(rows, depth, columns, start);
      for (Index panel = divided.panel_count() - 1; panel >= 0; --panel) divided.run(panel, panel + 1);
      CHECK_SAME_BITS(divided.out, expected);
    }
  });
}

template <class T>
void check_transposed_product() {
  const bool fused = is_fused<T>();
  for_each_shape(active_kernels<T>().lanes, [fused](Index rows, Index depth, Index columns) {
    for (Start start : {Start::zero, Start::accumulate, Start::add}) {
      Case<T> whole(rows, depth, columns, start);
      const std::vector<T> expected = whole.expected(fused);
      whole.run_transposed(0, whole.panel_count(), 0, rows);
      CHECK_SAME_BITS(whole.out, expected);

      Case<T> divided(rows, depth, columns, start);
      const Index half = (rows + 1) / 2;
      for (Index panel = 0; panel < divided.panel_count(); ++panel) {
        divided.run_transposed(panel, panel + 1, half, rows);
        divided.run_transposed(panel, panel + 1, 0, half);
      }
      CHECK_SAME_BITS(divided.out, expected);
    }
  });
}

template <class T>
void check_empty_depth() {
  for (Start start : {Start::zero, Start::bias, Start::accumulate}) {
    Case<T> empty(3, 0, 5, start);
    const std::vector<T> expected = empty.expected(false);
    empty.run(0, empty.panel_count());
    CHECK_SAME_BITS(empty.out, expected);
  }
}

}  // namespace

TEST("fused multiply-adds are used exactly where the instruction set has them") {
  CHECK_EQUAL(is_fused<float>(), is_fused<double>());
#if defined(__x86_64__) || defined(_M_X64)
  CHECK_EQUAL(is_fused<float>(), lstmcore::isa() != "baseline");
#elif defined(__aarch64__)
  CHECK(is_fused<float>());
#endif
}

TEST("product, float") { check_product<float>(); }
TEST("product, double") { check_product<double>(); }
TEST("transposed product, float") { check_transposed_product<float>(); }
TEST("transposed product, double") { check_transposed_product<double>(); }
TEST("a product of depth 0 is its start") {
  check_empty_depth<float>();
  check_empty_depth<double>();
}

TEST("transpose") {
  const Kernels<float>& kernels = active_kernels<float>();
  const Index most = 2 * kernels.lanes + 1;
  for (Index rows = 0; rows <= most; ++rows) {
    for (Index columns = 0; columns <= most; ++columns) {
      const Index from_stride = columns + 3, to_stride = rows + 5;
      const std::vector<float> from = random_values<float>(rows * from_stride, 1);
      std::vector<float> to(static_cast<std::size_t>(columns * to_stride), -1.0f), expected = to;
      for (Index column = 0; column < columns; ++column) {
        for (Index row = 0; row < rows; ++row) expected[column * to_stride + row] = from[row * from_stride + column];
      }
      kernels.transpose(from.data(), from_stride, rows, columns, to.data(), to_stride);
      CHECK_SAME_BITS(to, expected);
    }
  }
}
