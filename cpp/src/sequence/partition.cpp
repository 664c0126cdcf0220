#include "partition.hpp"

#include <algorithm>

#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"

namespace lstmcore {
namespace {

double weight_count(const CellShape& shape) {
  return static_cast<double>(shape.gates_width() * (shape.state + shape.input));
}

}  // namespace

Partition choose_partition(const CellShape& shape, const Schedule& schedule, int directions, int threads,
                           Index unit_granularity, Index tile_rows) {
  const int share = std::max(1, threads / directions);
  if (share == 1) return {1, false, threads, 0};
  const Index units = (shape.blocks() + unit_granularity - 1) / unit_granularity;
  const double weights = weight_count(shape);
  const Index full_tile = shape.arithmetic ? std::max(tile_rows, shape.arithmetic.unit->row_multiple) : tile_rows;
  const bool rows_suffice = schedule.rows >= share * full_tile;
  const double step = 2 * weights * static_cast<double>(schedule.rows);
  const auto longest_meeting = static_cast<std::int64_t>(step / policy::flops_per_meeting_nanosecond);
  const bool units_suffice =
      units >= share && step > policy::flops_per_meeting && meeting_nanoseconds() <= longest_meeting;
  if (units_suffice && !crowded() &&
      (!rows_suffice || shape.arithmetic.weight_bytes() * weights > policy::private_cache_bytes)) {
    return {share, true, threads, longest_meeting};
  }
  return {static_cast<int>(std::max<Index>(1, std::min<Index>(share, schedule.rows))), false, threads, 0};
}

std::vector<Index> deal_rows(const Schedule& schedule, int parts, int part) {
  std::vector<Index> rows;
  rows.reserve(static_cast<std::size_t>(schedule.rows / parts + 1));
  if (schedule.ragged()) {
    // Rows of falling length are dealt in turn, so that all shares get shorter at the same pace.
    for (Index row = part; row < schedule.rows; row += parts) rows.push_back(row);
  } else {
    // Neighbours stay together, so that one core writes what lies side by side in memory.
    const Range range = split(schedule.rows, parts, part);
    for (Index row = range.begin; row < range.end; ++row) rows.push_back(row);
  }
  return rows;
}

Part make_part(const CellShape& shape, const Schedule& schedule, std::size_t direction, Partition partition, int share,
               Index unit_granularity) {
  Part part;
  part.direction = direction;
  part.call = InterruptWatch::of_thread();
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

bool looks_often(const CellShape& shape) {
  return weight_count(shape) > static_cast<double>(policy::weights_to_look_often);
}

double walk_work(const CellShape& shape, const Schedule& schedule, Range steps, Index depth) {
  const double weights = static_cast<double>(shape.gates_width() * depth);
  const bool waits_for_weights = shape.arithmetic.weight_bytes() * weights > policy::private_cache_bytes / 2;
  const double least_rows = waits_for_weights ? policy::rows_of_weight_traffic : 1;
  return 2 * weights *
         std::max(static_cast<double>(schedule.work(steps.begin, steps.end)),
                  least_rows * static_cast<double>(steps.size()));
}

Index input_chunk(Index rows, Index longest) {
  if (rows >= policy::rows_to_fuse) return 1;
  return std::max<Index>(1, std::min(longest, policy::input_product_rows / std::max<Index>(1, rows)));
}

template <class T>
int wavefront_threads(const CellShape& shape, const Schedule& schedule, Range steps, Index layers) {
  const double work = walk_work(shape, schedule, steps, shape.input + shape.state);
  const int threads = std::min(threads_for(work * static_cast<double>(layers)), static_cast<int>(layers));
  const Partition of_layer = choose_partition(shape, schedule, 1, threads, 1, active_kernels<T>().tile_rows);
  const bool fits = weight_count(shape) * static_cast<double>(sizeof(T)) < policy::wavefront_weight_bytes;
  const bool whole = of_layer.parts == 1 || (of_layer.split_units && fits);
  return whole && steps.size() > policy::wavefront_steps && !crowded() ? threads : 1;
}

BackwardTeam choose_backward_team(const CellShape& shape, const Schedule& schedule, Range steps, int directions,
                                  Index unit_granularity, Index tile_rows) {
  const double walk = walk_work(shape, schedule, steps, shape.state) * directions;
  const double rows = static_cast<double>(schedule.work(steps.begin, steps.end)) * directions;
  // dx, and dW for x and for h.
  const double products = 2 * rows * static_cast<double>(shape.gates_width() * (2 * shape.input + shape.state));
  const int most = threads_for(walk + products);
  // Not more than `most`, whatever other calls have found out about the cores in between.
  const int walkers = std::min(most, threads_for(walk));
  const Partition partition = choose_partition(shape, schedule, directions, walkers, unit_granularity, tile_rows);
  const int walks = partition.parts * directions;
  if (walks >= most) return {most, partition};
  // Threads beyond those that walk would follow with the products, phase by phase: only if that takes long enough. With
  // less work, two threads took 1.2 times as long as one (30 x 32 x 8 x 16).
  const int useful = crowded() ? 1 : std::min(most, threads_for(std::min(walk, products)));
  return {std::max(partition.split_units ? walks : 1, useful), partition};
}

Index range_rows(const CellShape& shape, Index rows, Index itemsize, bool idle_threads) {
  const Index least_rows = shape.normed ? policy::least_normed_range_rows : policy::least_range_rows;
  const Index row_bytes = (shape.gradients_width() + 2 * shape.padded() + shape.input) * itemsize;
  const Index cached_rows = std::max(least_rows, policy::range_bytes / row_bytes);
  if (!idle_threads) return cached_rows;
  return std::min(cached_rows, std::max(policy::least_overlapped_rows, rows / policy::overlapped_ranges));
}

int row_groups(const CellShape& shape, Index rows, Index row_multiple) {
  const Index least_rows = std::max(policy::least_rows_per_group, row_multiple);
  const Index weights = shape.gates_width() * (shape.input + shape.state);
  Index groups = 1;
  while (2 * groups <= policy::most_row_groups && 2 * groups * least_rows <= rows &&
         2 * groups * weights <= policy::most_group_sums) {
    groups *= 2;
  }
  return static_cast<int>(groups);
}

template int wavefront_threads<float>(const CellShape&, const Schedule&, Range, Index);
template int wavefront_threads<double>(const CellShape&, const Schedule&, Range, Index);

}  // namespace lstmcore
