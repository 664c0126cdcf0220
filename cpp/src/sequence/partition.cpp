#include "walk.hpp"

namespace lstmcore {
namespace {

/// About the size of a core's own cache. Weights beyond it come from a shared cache or memory at every step, and are
/// better read once by the core that owns their hidden units than by all.
constexpr double private_cache_bytes = 1.5e6;

/// Floating-point operations of one step below which meeting after it would cost more than sharing it gains.
constexpr double flops_per_meeting = 4e4;

}  // namespace

Partition choose_partition(const CellShape& shape, const Schedule& schedule, int directions, int threads,
                           Index unit_granularity, Index tile_rows) {
  const int share = std::max(1, threads / directions);
  if (share == 1) return {1, false, threads};
  const Index units = (shape.blocks() + unit_granularity - 1) / unit_granularity;
  const double weights = static_cast<double>(shape.gates_width() * (shape.state + shape.input));
  const Index full_tile = shape.arithmetic ? std::max(tile_rows, shape.arithmetic.unit->row_multiple) : tile_rows;
  const bool rows_suffice = schedule.rows >= share * full_tile;
  const bool units_suffice = units >= share && 2 * weights * static_cast<double>(schedule.rows) > flops_per_meeting;
  if (units_suffice && (!rows_suffice || shape.arithmetic.weight_bytes() * weights > private_cache_bytes))
    return {share, true, threads};
  return {static_cast<int>(std::max<Index>(1, std::min<Index>(share, schedule.rows))), false, threads};
}

std::vector<Index> deal_rows(const Schedule& schedule, int parts, int part) {
  std::vector<Index> rows;
  rows.reserve(static_cast<std::size_t>(schedule.rows / parts + 1));
  if (schedule.ragged()) {
    // Rows by falling length are dealt in turn, so that the shares shrink together.
    for (Index row = part; row < schedule.rows; row += parts) rows.push_back(row);
  } else {
    // Neighbours stay together: what lies side by side is then written by one core.
    const Range range = split(schedule.rows, parts, part);
    for (Index row = range.begin; row < range.end; ++row) rows.push_back(row);
  }
  return rows;
}

Part make_part(const CellShape& shape, const Schedule& schedule, std::size_t direction, Partition partition, int share,
               Index unit_granularity) {
  Part part;
  part.direction = direction;
  part.blocks = {0, shape.blocks()};
  if (partition.split_units) {
    part.rows.assign(schedule.iota.begin(), schedule.iota.begin() + static_cast<std::ptrdiff_t>(schedule.rows));
    part.blocks = split(shape.blocks(), partition.parts, share, unit_granularity);
    part.share = share;
    part.shares = partition.parts;
    return part;
  }
  part.rows = deal_rows(schedule, partition.parts, share);
  return part;
}

double walk_work(const CellShape& shape, const Schedule& schedule, Range steps, Index depth) {
  const double weights = static_cast<double>(shape.gates_width() * depth);
  // With few rows a step takes as long as its weights take to arrive: about as long as this many rows' arithmetic.
  const double rows_of_traffic = shape.arithmetic.weight_bytes() * weights > private_cache_bytes / 2 ? 6 : 1;
  return 2 * weights *
         std::max(static_cast<double>(schedule.work(steps.begin, steps.end)),
                  rows_of_traffic * static_cast<double>(steps.size()));
}

}  // namespace lstmcore
