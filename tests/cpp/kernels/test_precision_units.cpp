// Products of a lower precision: floats are split into bfloat16 terms or quantized to int8, and the units that multiply
// them are checked bit for bit against scalar loops over what one instruction does.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <lstmcore/cpu.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lanes.hpp"
#include "lstm_problem.hpp"
#include "packing/lowp_panels.hpp"
#include "packing/pack.hpp"
#include "reference/matrix_unit.hpp"
#include "runtime/isa.hpp"
#include "runtime/units.hpp"

namespace {

using lstmcore::Arithmetic;
using lstmcore::Precision;
using lstmcore::kernels::LowpFactors;
using lstmcore::kernels::LowpKernels;
using lstmcore::kernels::LowpProduct;
using lstmcore::kernels::PackedGroup;
using lstmcore::kernels::ProductUnit;

const LowpKernels& lowp() { return lstmcore::active_table().lowp; }
Index lanes() { return lstmcore::active_kernels<float>().lanes; }

float float_of(PackedGroup bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Element k of a row of packed groups: of bfloat16, two in a group, and of int8, four in a group.
float half_of(const PackedGroup* row, Index k) { return float_of((row[k / 2] >> (16 * (k % 2))) << 16); }
int byte_of(const PackedGroup* row, Index k, PackedGroup flip = 0) {
  return static_cast<std::int8_t>((row[k / 4] ^ flip) >> (8 * (k % 4)));
}

// Numbers with exponents in [least, most], some of them powers of two or zeros.
std::vector<float> spread_values(Index count, std::uint64_t seed, int least, int most) {
  std::mt19937_64 generator(seed);
  std::vector<float> values = random_values<float>(count, seed + 1);
  for (float& value : values) {
    const int exponent = least + static_cast<int>(generator() % static_cast<std::uint64_t>(most - least + 1));
    const std::uint64_t kind = generator() % 16;
    const float digits = kind == 0 ? 0.0f : kind == 1 ? 1.0f : 1.0f + std::fabs(value);
    value = std::copysign(std::ldexp(digits, exponent), value);
  }
  return values;
}

constexpr PackedGroup garbage = 0xA5A5A5A5u;

// ---- splitting ------------------------------------------------------------------------------------------------------

double joined(const PackedGroup* row, Index groups, int terms, Index k) {
  double sum = 0;
  for (int term = 0; term < terms; ++term) sum += half_of(row + term * groups, k);
  return sum;
}

void check_joined(double sum, float value, int terms) {
  // The third term cannot hold less than the smallest bfloat16, 2^-133.
  const double step = 0x1p-133, error = std::fabs(sum - value);
  const double relative = terms >= 3 ? 0 : terms == 2 ? 0x1p-16 : 0x1p-8;
  const double least = std::fabs(value) < 0x1p-110 ? step / 2 : 0;
  if (!(error <= std::max(relative * std::fabs(value), least))) {
    check::fail(__FILE__, __LINE__, check::text(value) + " was split into " + check::text(sum));
  }
}

void check_split(const std::vector<float>& values, int terms) {
  const auto depth = static_cast<Index>(values.size());
  for (const Index groups : {(depth + 1) / 2, (depth + 31) / 32 * 16}) {
    std::vector<PackedGroup> row(static_cast<std::size_t>(terms * groups + 1), garbage);
    CHECK(lowp().split_row(values.data(), depth, terms, groups, row.data()));
    CHECK_EQUAL(row.back(), garbage);
    for (Index k = 0; k < 2 * groups; ++k) {
      check_joined(joined(row.data(), groups, terms, k), k < depth ? values[k] : 0.0f, terms);
    }
    for (int term = 0; term < terms; ++term) {
      for (Index k = depth; k < 2 * groups; ++k) CHECK_EQUAL(half_of(row.data() + term * groups, k), 0.0f);
    }

    // The same numbers as columns 3.. of a panel: column c holds them rotated by c.
    const Index real = lanes() + 1, width = 2 * lanes(), first = 3;
    std::vector<std::vector<float>> matrix;
    std::vector<const float*> rows;
    for (Index k = 0; k < depth; ++k) {
      matrix.emplace_back(static_cast<std::size_t>(first + real), std::numeric_limits<float>::quiet_NaN());
      for (Index c = 0; c < real; ++c) matrix.back()[first + c] = values[(k + c) % depth];
    }
    for (const auto& own : matrix) rows.push_back(own.data());
    std::vector<PackedGroup> panel(static_cast<std::size_t>(terms * groups * width + 1), garbage), expected = panel;
    CHECK(lowp().split_panel(rows.data(), depth, first, real, width, terms, groups, panel.data()));
    std::fill(expected.begin(), expected.end() - 1, PackedGroup{0});
    for (Index c = 0; c < real; ++c) {
      std::vector<float> column;
      for (Index k = 0; k < depth; ++k) column.push_back(values[(k + c) % depth]);
      lowp().split_row(column.data(), depth, terms, groups, row.data());
      for (Index group = 0; group < terms * groups; ++group) expected[group * width + c] = row[group];
    }
    CHECK_SAME_BITS(panel, expected);
  }
}

// Values that cannot be split: infinite, NaN, or larger than 2^55.
std::vector<float> unsplittable_values() {
  const float infinity = std::numeric_limits<float>::infinity();
  return {infinity,
          -infinity,
          std::numeric_limits<float>::quiet_NaN(),
          std::numeric_limits<float>::max(),
          float_of(0x5B000001u),
          3.4e38f,
          -3.4e38f};
}

// ---- units ----------------------------------------------------------------------------------------------------------

enum class Start { zero, bias, accumulate, add };

struct Factors {
  lstmcore::LowpPanels right;
  lstmcore::LowpRows left;
  LowpFactors views{};

  Factors(const Arithmetic& arithmetic, Index rows, Index depth, Index columns, std::uint64_t seed, int least) {
    const std::vector<float> a = spread_values(rows * depth, seed, least, 3);
    const std::vector<float> b = spread_values(depth * columns, seed + 10, least, 3);
    const auto layout = lstmcore::active_kernels<float>().layout();
    std::vector<float> panels(static_cast<std::size_t>(layout.elements(depth, columns)));
    lstmcore::pack_panels(b.data(), columns, Index{1}, depth, columns, layout, panels.data());
    right.prepare(arithmetic, depth, columns, layout);
    CHECK(right.fill(panels.data(), 0, right.panels()));
    left.prepare(arithmetic, rows, depth);
    for (Index row = 0; row < rows; ++row) left.set(row, a.data() + row * depth);
    CHECK(!left.any_unsplit(rows));
    views = right.factors();
    left.add_to(views);
  }

  PackedGroup a(Index row, int term, Index group) const {
    return views.a[row * views.a_stride + term * views.groups + group];
  }
  PackedGroup b(Index column, int term, Index group) const {
    const Index panel = column / right.panel_width();
    return right.panel(panel)[(term * views.groups + group) * right.width(panel) + column % right.panel_width()];
  }
};

// Which term of the left factor is multiplied by which of the right one. Repeated here, so that a change of the
// library's table is noticed.
const std::vector<std::vector<std::pair<int, int>>> term_orders = {
    {{0, 0}}, {{0, 1}, {0, 0}, {1, 0}}, {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};

// One element of a product as the instructions of a unit compute it, in the order of the unit's loops.
float matrix_sum(const Factors& f, Index row, Index column, int terms, float sum) {
  using namespace lstmcore::reference;
  float total = 0;
  for (Index first = 0; first < f.views.groups; first += 16) {
    if (terms > 1 && first > 0 && first % lstmcore::kernels::summed_groups == 0) {
      total = first == lstmcore::kernels::summed_groups ? sum : total + sum;
      sum = 0;
    }
    for (const auto& [left, right] : term_orders.at(static_cast<std::size_t>(terms - 1))) {
      float even = 0, odd = 0;
      for (Index group = first; group < first + 16; ++group) {
        const PackedGroup a = f.a(row, left, group), b = f.b(column, right, group);
        even =
            multiply_add_bf16(static_cast<std::uint16_t>(a & 0xFFFFu), static_cast<std::uint16_t>(b & 0xFFFFu), even);
        odd = multiply_add_bf16(static_cast<std::uint16_t>(a >> 16), static_cast<std::uint16_t>(b >> 16), odd);
      }
      sum = add_flushed(sum, add_flushed(even, odd));
    }
  }
  return terms > 1 && f.views.groups > lstmcore::kernels::summed_groups ? total + sum : sum;
}

using Bf16Dot = float (*)(PackedGroup a, PackedGroup b, float sum);

float vector_sum(Bf16Dot dot, const Factors& f, Index row, Index column, int terms, float sum) {
  for (Index group = 0; group < f.views.groups; ++group) {
    for (const auto& [left, right] : term_orders.at(static_cast<std::size_t>(terms - 1))) {
      sum = dot(f.a(row, left, group), f.b(column, right, group), sum);
    }
  }
  return sum;
}

float int8_sum(const Factors& f, Index row, Index column, PackedGroup flip, float before) {
  std::int64_t exact = 0;
  std::int32_t unsigned_sum = f.views.start != nullptr ? f.views.start[column] : 0;
  for (Index group = 0; group < f.views.groups; ++group) {
    const PackedGroup a = f.a(row, 0, group), b = f.b(column, 0, group);
    for (int k = 0; k < 4; ++k) exact += byte_of(&a, k, flip) * byte_of(&b, k);
    unsigned_sum = lstmcore::reference::dot_unsigned_int8(a, b, unsigned_sum);
  }
  if (flip != 0) CHECK_EQUAL(unsigned_sum, exact);  // `start` cancels the 128 that is added to the left factor
  const float scale = f.views.a_scale[row] * f.views.scale[column];
  const volatile float product = static_cast<float>(exact) * scale;
  return before + product;
}

// Calls sum(factors, row, column, before) for every element and pair of factors.
template <class Sum>
void check_unit_case(const Arithmetic& arithmetic, Index rows, Index depth, Index columns, Start start, int count,
                     int least, Sum&& sum) {
  const ProductUnit& unit = *arithmetic.unit;
  const Index stride = columns + 3, padded = (columns / 64 + 1) * 64;
  std::vector<Factors> factors;
  factors.reserve(2);
  for (int index = 0; index < count; ++index) {
    factors.emplace_back(arithmetic, rows, index == 0 ? depth : depth % 40 + 3, columns, 100 + index, least);
  }
  const std::vector<float> before = spread_values(rows * columns, 7, least, 3);
  const std::vector<float> bias = spread_values(padded, 8, least, 3);
  std::vector<float> out = not_a_number<float>(static_cast<std::size_t>(rows * stride)), expected = out;
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      const float old = before[r * columns + c];
      float value = start == Start::bias ? bias[c] : start == Start::accumulate ? old : 0.0f;
      if (start == Start::accumulate || start == Start::add) out[r * stride + c] = old;
      for (const Factors& own : factors) value = sum(own, r, c, value);
      expected[r * stride + c] = start == Start::add ? old + value : value;
    }
  }
  std::vector<float*> out_rows;
  std::vector<float> by_panels = out;
  const auto run = [&](std::vector<float>& to, Index panel_begin, Index panel_end) {
    LowpProduct p{};
    p.rows = rows;
    p.columns = columns;
    p.panel_width = 4 * lanes();
    p.terms = arithmetic.terms;
    p.count = count;
    for (int index = 0; index < count; ++index) p.factors[index] = factors[static_cast<std::size_t>(index)].views;
    out_rows.clear();
    for (Index r = 0; r < rows; ++r) out_rows.push_back(to.data() + r * stride);
    p.out = out_rows.data();
    p.bias = start == Start::bias ? bias.data() : nullptr;
    p.accumulate = start == Start::accumulate;
    p.add = start == Start::add;
    p.panel_begin = panel_begin;
    p.panel_end = panel_end;
    unit.product(p);
  };
  const lstmcore::UnitSession session(arithmetic);
  const Index panels = factors[0].right.panels();
  run(out, 0, panels);
  CHECK_SAME_BITS(out, expected);
  for (Index panel = panels - 1; panel >= 0; --panel) run(by_panels, panel, panel + 1);
  CHECK_SAME_BITS(by_panels, expected);
}

// Where a test would take minutes, as on an emulated processor, every fifth number of rows: 1, 6, ... 36, which leaves
// every remainder that a tile of six rows can.
#if defined(LSTMCORE_EMULATED)
constexpr Index row_step = 5;
#else
constexpr Index row_step = 1;
#endif

// Every number of rows up to 40 with every number of columns; depths, starts and exponents take turns.
template <class Sum>
void check_unit(const Arithmetic& arithmetic, Sum&& sum) {
  const check::Context unit(std::string(arithmetic.unit->name) + ", " + std::to_string(arithmetic.terms) + " terms");
  const Index V = lanes(), narrow = below_a_vector(V);
  const std::vector<Index> depths = {1, 2, 31, 32, 33, 100, 7, 260, 3, 2, 64, 32, 1, 34, 5, 1100};
  int turn = 0;
  for (Index rows = 1; rows <= 40; rows += row_step) {
    for (const Index columns : {Index{1}, narrow, 15 + rows % 3, 2 * V + 1, 4 * V, 8 * V + 3, 17 * V + 2}) {
      const Index depth = depths[static_cast<std::size_t>(turn) % depths.size()];
      // int8 units have no Start::add: their sums are scaled at the end of each product.
      const auto start = static_cast<Start>(turn % (arithmetic.quantized() ? 3 : 4));
      const int count = 1 + turn / 2 % 2;
      const int least = turn % 5 == 0 ? -75 : -6;  // products of the smallest ones would be subnormal
      const check::Context context("rows " + std::to_string(rows) + ", columns " + std::to_string(columns) +
                                   ", depth " + std::to_string(depth) + ", start " +
                                   std::to_string(static_cast<int>(start)) + ", " + std::to_string(count) +
                                   " products, exponents from " + std::to_string(least));
      check_unit_case(arithmetic, rows, depth, columns, start, count, least, sum);
      turn += 1 + (columns == narrow ? 1 : 0);
    }
  }
}

bool can_emulate_tiles() {
  const bool can = panels_fill_tiles(lanes());
  if (!can) std::printf("skipped: vectors here are too short for a matrix unit\n");
  return can;
}

void check_bf16_matrix_unit(const ProductUnit& unit) {
  for (int terms = 1; terms <= lstmcore::kernels::most_terms; ++terms) {
    check_unit({&unit, terms}, [terms](const Factors& f, Index row, Index column, float before) {
      return matrix_sum(f, row, column, terms, before);
    });
  }
}

void check_int8_unit(const ProductUnit& unit) {
  check_unit({&unit, 1}, [&unit](const Factors& f, Index row, Index column, float before) {
    return int8_sum(f, row, column, unit.flip, before);
  });
}

}  // namespace

TEST("three terms represent the float exactly, one and two are close") {
  for (int terms = 1; terms <= lstmcore::kernels::most_terms; ++terms) {
    const check::Context context(std::to_string(terms) + " terms");
    check_split(spread_values(1001, 1, -126, 54), terms);
    check_split(spread_values(64, 2, -149, -100), terms);
    check_split(random_values<float>(31, 3), terms);
    check_split({0.0f, -0.0f, 1.0f, -1.0f, 0x1p55f, float_of(0x5AFFFFFFu), -float_of(0x5AFFFFFFu)}, terms);
    // Digits that are all ones round up to a power of two; ties go to even.
    check_split({float_of(0x3FFFFFFFu), float_of(0x3F808000u), float_of(0x3F818000u), float_of(0x3F808080u)}, terms);
    check_split({2.5f}, terms);
  }
  const float tie = float_of(0x3F808000u), odd_tie = float_of(0x3F818000u);
  for (const auto& [value, nearest] : {std::pair<float, float>{tie, 1.0f}, {odd_tie, float_of(0x3F820000u)}}) {
    PackedGroup group = garbage;
    CHECK(lowp().split_row(&value, 1, 1, 1, &group));
    CHECK_EQUAL(half_of(&group, 0), nearest);
  }
}

TEST("a row that cannot be split is reported and holds zeros") {
  for (const float value : unsplittable_values()) {
    const check::Context context(check::text(value));
    for (int terms = 1; terms <= lstmcore::kernels::most_terms; ++terms) {
      for (const Index where : {0, 5, 8}) {
        std::vector<float> values = random_values<float>(9, 1);
        values[where] = value;
        std::vector<PackedGroup> row(static_cast<std::size_t>(16 * terms), garbage);
        CHECK(!lowp().split_row(values.data(), 9, terms, 16, row.data()));
        CHECK_SAME_BITS(row, std::vector<PackedGroup>(row.size(), 0));
        std::vector<const float*> rows;
        for (const float& own : values) rows.push_back(&own);
        const Index width = lanes();
        std::vector<PackedGroup> panel(static_cast<std::size_t>(5 * terms * width));
        CHECK(!lowp().split_panel(rows.data(), 9, 0, 1, width, terms, 5, panel.data()));
      }
    }
  }
}

TEST("quantized rows") {
  for (const PackedGroup flip : {0u, 0x80808080u}) {
    for (const double size : {1.0, 1e-30, 3e16}) {
      for (const Index depth : {1, 2, 3, 4, 5, 64, 101}) {
        const check::Context context("size " + check::text(size) + ", depth " + std::to_string(depth));
        const std::vector<float> values = random_values<float>(depth, 3, size);
        const Index groups = (depth + 3) / 4 + 2;
        std::vector<PackedGroup> row(static_cast<std::size_t>(groups + 1), garbage), again = row;
        std::int32_t start = -1, negative = 0;
        const float scale = lowp().quantize_row(values.data(), depth, groups, flip, row.data(), &start);
        CHECK_EQUAL(row.back(), garbage);
        float largest = 0;
        for (const float value : values) largest = std::max(largest, std::fabs(value));
        CHECK(scale * 127.0 >= largest);
        CHECK(scale * 127.0 <= largest * (1 + 0x1p-14));
        std::vector<float> rounded_values;
        for (Index k = 0; k < depth; ++k) {
          const int byte = byte_of(row.data(), k, flip);
          CHECK(byte >= -127);
          negative += std::max(-byte, 0);
          // Half a step, and the rounding of the inverse and of the product: about 2^-24 of 127 steps.
          CHECK(std::fabs(static_cast<double>(byte) * scale - values[k]) <= (0.5 + 0x1p-15) * scale);
          rounded_values.push_back(static_cast<float>(byte) * scale);
          CHECK_EQUAL(static_cast<double>(rounded_values.back()), static_cast<double>(byte) * scale);
        }
        CHECK_EQUAL(start, negative);
        for (Index k = depth; k < 4 * groups; ++k) CHECK_EQUAL(byte_of(row.data(), k, flip), 0);
        CHECK_EQUAL(lowp().quantize_row(rounded_values.data(), depth, groups, flip, again.data(), nullptr), scale);
        CHECK_SAME_BITS(again, row);
      }
    }
  }
}

// Sums of two products that an instruction adds in 16 bits must fit: the largest numbers with all pairs of signs.
TEST("products of the largest bytes are exact") {
  const Arithmetic arithmetic = lstmcore::arithmetic_for(Precision::int8, 128);
  const Index depth = 37, columns = 2 * lanes(), signs = 4;
  const auto sign = [](Index which, Index k) { return (which >> (k % 2)) % 2 == 0 ? 1.0f : -1.0f; };
  const auto layout = lstmcore::active_kernels<float>().layout();
  std::vector<float> b, panels(static_cast<std::size_t>(layout.elements(depth, columns)));
  for (Index k = 0; k < depth; ++k) {
    for (Index c = 0; c < columns; ++c) b.push_back(sign(c % signs, k));
  }
  lstmcore::pack_panels(b.data(), columns, Index{1}, depth, columns, layout, panels.data());
  lstmcore::LowpPanels right;
  right.prepare(arithmetic, depth, columns, layout);
  CHECK(right.fill(panels.data(), 0, right.panels()));
  lstmcore::LowpRows left;
  left.prepare(arithmetic, signs, depth);
  std::vector<float> out(static_cast<std::size_t>(signs * columns)), expected;
  std::vector<float*> out_rows;
  const float scale =
      lstmcore::active_table().lowp.quantize_row(b.data(), 1, 1, 0, std::vector<PackedGroup>(1).data(), nullptr);
  for (Index row = 0; row < signs; ++row) {
    std::vector<float> a;
    for (Index k = 0; k < depth; ++k) a.push_back(sign(row, k));
    left.set(row, a.data());
    out_rows.push_back(out.data() + row * columns);
    for (Index c = 0; c < columns; ++c) {
      float sum = 0;
      for (Index k = 0; k < depth; ++k) sum += 127.0f * 127.0f * a[static_cast<std::size_t>(k)] * sign(c % signs, k);
      expected.push_back(sum * (scale * scale));
    }
  }
  LowpProduct p{};
  p.rows = signs;
  p.columns = columns;
  p.panel_width = right.panel_width();
  p.terms = p.count = 1;
  p.factors[0] = right.factors();
  left.add_to(p.factors[0]);
  p.out = out_rows.data();
  p.panel_end = right.panels();
  const lstmcore::UnitSession session(arithmetic);
  arithmetic.unit->product(p);
  CHECK_SAME_BITS(out, expected);
}

TEST("a row that cannot be quantized is reported") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const PackedGroup flip : {0u, 0x80808080u}) {
    for (const float value : {infinity, -infinity, nan, 3.4e38f, 3.7e16f}) {
      std::vector<float> values = random_values<float>(7, 1);
      values[4] = value;
      std::vector<PackedGroup> row(3, garbage);
      CHECK(lowp().quantize_row(values.data(), 7, 3, flip, row.data(), nullptr) < 0);
      CHECK_SAME_BITS(row, std::vector<PackedGroup>(3, flip));
    }
    for (const float value : {0.0f, -0.0f, 1e-45f, 1e-38f, -1e-36f}) {  // the scale's inverse would be infinite
      const std::vector<float> values(7, value);
      std::vector<PackedGroup> row(3, garbage);
      CHECK_EQUAL(lowp().quantize_row(values.data(), 7, 3, flip, row.data(), nullptr), 0.0f);
      CHECK_SAME_BITS(row, std::vector<PackedGroup>(3, flip));
    }
  }
}

TEST("quantized panels") {
  const Index depth = 10, first = 2, real = lanes() + 1, width = 2 * lanes(), groups = 4;
  std::vector<std::vector<float>> matrix;
  std::vector<const float*> rows;
  for (Index k = 0; k < depth; ++k) {
    matrix.push_back(random_values<float>(first + real, 50 + k));
    for (Index c = 0; c < real; ++c) matrix.back()[first + c] *= std::ldexp(1.0f, static_cast<int>(c));
    matrix.back()[first] = 1e-40f;  // a tiny column
  }
  for (const auto& own : matrix) rows.push_back(own.data());
  for (const bool unsigned_left : {false, true}) {
    std::vector<PackedGroup> panel(static_cast<std::size_t>(groups * width), garbage), expected(panel.size(), 0);
    std::vector<float> scale(static_cast<std::size_t>(width), -1.0f), expected_scale(scale.size(), 0.0f);
    std::vector<std::int32_t> start(scale.size(), -1), expected_start(scale.size(), 0);
    CHECK(lowp().quantize_panel(rows.data(), depth, first, real, width, groups, unsigned_left, panel.data(),
                                scale.data(), start.data()));
    for (Index c = 0; c < real; ++c) {
      std::vector<float> column;
      std::vector<PackedGroup> row(static_cast<std::size_t>(groups));
      for (Index k = 0; k < depth; ++k) column.push_back(matrix[k][first + c]);
      expected_scale[c] = lowp().quantize_row(column.data(), depth, groups, 0, row.data(), nullptr);
      for (Index group = 0; group < groups; ++group) expected[group * width + c] = row[group];
      for (Index k = 0; k < depth && unsigned_left; ++k) expected_start[c] -= 128 * byte_of(row.data(), k);
    }
    CHECK_SAME_BITS(panel, expected);
    CHECK_SAME_BITS(scale, expected_scale);
    CHECK_SAME_BITS(start, expected_start);
    const Index last = first + real - 1;
    const float finite = matrix[5][last];
    matrix[5][last] = std::numeric_limits<float>::infinity();
    CHECK(!lowp().quantize_panel(rows.data(), depth, first, real, width, groups, unsigned_left, panel.data(),
                                 scale.data(), start.data()));
    matrix[5][last] = finite;
  }
}

TEST("the emulated matrix unit, terms of bfloat16") {
  if (!can_emulate_tiles()) return;
  const long before = lstmcore::reference::matrix_unit_violations();
  check_bf16_matrix_unit(lstmcore::reference::emulated_matrix_unit(false));
  CHECK_EQUAL(lstmcore::reference::matrix_unit_violations(), before);
}

TEST("the emulated matrix unit, int8") {
  if (can_emulate_tiles()) check_int8_unit(lstmcore::reference::emulated_matrix_unit(true));
}

TEST("the emulation counts the use of tiles that were not configured") {
  if (!can_emulate_tiles()) return;
  const Arithmetic arithmetic{&lstmcore::reference::emulated_matrix_unit(false), 1};
  const Factors factors(arithmetic, 1, 1, 1, 1, -1);
  float sum = 0, *out = &sum;
  LowpProduct p{1, 1, 4 * lanes(), 1, 1, {factors.views, {}}, &out, nullptr, false, 0, 1, false};
  const long before = lstmcore::reference::matrix_unit_violations();
  {
    const lstmcore::UnitSession session(arithmetic);
    arithmetic.unit->product(p);
  }
  CHECK_EQUAL(lstmcore::reference::matrix_unit_violations(), before);
  arithmetic.unit->product(p);
  CHECK(lstmcore::reference::matrix_unit_violations() > before);
}

TEST("this machine's matrix unit") {
  const ProductUnit* const bf16 = lstmcore::machine_matrix_unit(false);
  const ProductUnit* const int8 = lstmcore::machine_matrix_unit(true);
  CHECK_EQUAL(bf16 == nullptr, int8 == nullptr);
  if (bf16 == nullptr) {
    std::printf("skipped: no matrix unit here\n");
    return;
  }
  check_bf16_matrix_unit(*bf16);
  check_int8_unit(*int8);
}

TEST("sums of the emulation that are rounded to odd") {
  const auto bits = [](float value) {
    PackedGroup group;
    std::memcpy(&group, &value, sizeof group);
    return group;
  };
  const auto pair = [&bits](float even, float odd) { return bits(even) >> 16 | (bits(odd) & 0xFFFF0000u); };
  const auto dot = [&](float even, float odd, float sum) {
    return lstmcore::reference::dot_bf16_to_odd(pair(even, odd), pair(1.0f, 1.0f), sum);
  };
  CHECK_EQUAL(dot(1.5f, 2.0f, -0.25f), 3.25f);
  CHECK_EQUAL(dot(1.0f, 0x1p-30f, 0.0f), 1 + 0x1p-23f);             // the products are added first
  CHECK_EQUAL(dot(1.0f, -0x1p-30f, 0.0f), 1 - 0x1p-24f);            // odd already
  CHECK_EQUAL(dot(-1.0f, -0x1p-30f, 0.0f), -1 - 0x1p-23f);          // away from zero
  CHECK_EQUAL(dot(0x1p-30f, 0.0f, 1 + 0x1p-23f), 1 + 0x1p-23f);     // toward zero
  CHECK_EQUAL(dot(0x1p-24f, 0x1p-25f, 1.0f), 1 + 0x1p-23f);         // a nearest that is odd stays
  CHECK_EQUAL(dot(0x1p-23f, 0x1p-24f, 1.0f), 1 + 0x1p-23f);         // a nearest beyond it does not
  CHECK_EQUAL(dot(0x1p-100f, 0.0f, 0x1p100f), 0x1p100f + 0x1p77f);  // digits that double cannot hold either
  CHECK_EQUAL(dot(0x1p-126f, -0x1.8p-127f, 0.0f), 0x1p-126f);       // subnormal factors, and results
  CHECK_EQUAL(dot(0x1.8p-126f, -0x1p-126f, 0.0f), 0.0f);
}

TEST("dot products of bfloat16 pairs") {
  const Arithmetic arithmetic = lstmcore::arithmetic_for(Precision::bf16, 1);
  if (!arithmetic || arithmetic.unit->group_multiple != 1) {
    std::printf("skipped: no vector unit for bfloat16 here\n");
    return;
  }
  std::printf("bfloat16 by %s\n", arithmetic.unit->name);
  const bool arm = std::string(arithmetic.unit->name) == "neon_bf16";
  const Bf16Dot dot = arm ? lstmcore::reference::dot_bf16_to_odd : lstmcore::reference::dot_bf16;
  for (int terms = 1; terms <= lstmcore::kernels::most_terms; ++terms) {
    check_unit({arithmetic.unit, terms}, [dot, terms](const Factors& f, Index row, Index column, float before) {
      return vector_sum(dot, f, row, column, terms, before);
    });
  }
}

TEST("dot products of int8") {
  check_int8_unit(lowp().int8);
  const Arithmetic best = lstmcore::arithmetic_for(Precision::int8, 1);
  CHECK(best.quantized());
  std::printf("int8 by %s\n", best.unit->name);
  check_int8_unit(*best.unit);
}
