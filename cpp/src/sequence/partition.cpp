#include "walk.hpp"

namespace lstmcore {
namespace {

/// About what one core keeps to itself. Weights beyond it come from a shared cache or memory at every step, and are
/// better read once by the core that owns their hidden units than by all.
constexpr double private_cache_bytes = 1.5e6;

}  // namespace

Partition choose_partition(const CellShape& shape, const Schedule& schedule, int directions, int threads,
                           Index unit_granularity, Index tile_rows) {
  const int share = std::max(1, threads / directions);
  if (share == 1) return {1, false, threads};
  const Index units = (shape.blocks() + unit_granularity - 1) / unit_granularity;
  const double weight_bytes = 4.0 * static_cast<double>(shape.gates_width() * (shape.hidden + shape.input));
  const bool rows_suffice = schedule.rows >= share * tile_rows;
  const bool units_suffice = units >= share;
  if (units_suffice && (!rows_suffice || weight_bytes > private_cache_bytes)) return {share, true, threads};
  const int by_rows = static_cast<int>(std::min<Index>(share, schedule.rows));
  return {std::max(1, by_rows), false, threads};
}

}  // namespace lstmcore
