// How the work on a layer is shared among threads: small work stays on the caller's thread, every row is walked once,
// and what fixes the order of sums does not depend on the number of threads.
#include <algorithm>
#include <vector>

#include "check.hpp"
#include "runtime/policy.hpp"
#include "runtime/threads.hpp"
#include "sequence/partition.hpp"
#include "thread_count.hpp"

namespace {

using namespace lstmcore;

constexpr Index lanes = 8, tile_rows = 6;

CellShape shape_of(Index input, Index hidden) { return {input, hidden, hidden, lanes}; }

Schedule schedule_of(const std::vector<Index>& lengths, Index steps) {
  return {static_cast<Index>(lengths.size()), steps,
          View<const Index, 1>(lengths.data(), {static_cast<Index>(lengths.size())}), View<const bool, 2>()};
}

Schedule even_schedule(Index rows, Index steps) {
  return schedule_of(std::vector<Index>(static_cast<std::size_t>(rows), steps), steps);
}

Partition partition_of(const CellShape& shape, const Schedule& schedule, int directions, int threads) {
  return choose_partition(shape, schedule, directions, threads, 1, tile_rows);
}

}  // namespace

TEST("every thread gets enough work") {
  const ThreadCount four(4);
  const double share = policy::flops_per_thread;
  CHECK_EQUAL(threads_for(0), 1);
  CHECK_EQUAL(threads_for(1.99 * share), 1);
  CHECK_EQUAL(threads_for(2.01 * share), std::min(2, get_num_threads()));
  CHECK_EQUAL(threads_for(1000 * share), get_num_threads());
}

TEST("rows are split where they fill tiles, hidden units where rows are few or weights large") {
  const CellShape small = shape_of(32, 128), large = shape_of(512, 1024);
  const Partition rows = partition_of(small, even_schedule(4 * tile_rows, 10), 1, 4);
  CHECK_EQUAL(rows.parts, 4);
  CHECK(!rows.split_units);
  CHECK(partition_of(small, even_schedule(1, 10), 1, 4).split_units);
  CHECK(partition_of(large, even_schedule(4 * tile_rows, 10), 1, 4).split_units);
  // Too little work for a meeting after every step: one part for each row, at most.
  const Partition tiny = partition_of(shape_of(1, 4 * lanes), even_schedule(2, 10), 1, 4);
  CHECK_EQUAL(tiny.parts, 2);
  CHECK(!tiny.split_units);
  // Two directions share the threads.
  CHECK_EQUAL(partition_of(small, even_schedule(4 * tile_rows, 10), 2, 4).parts, 2);
  CHECK_EQUAL(partition_of(small, even_schedule(4 * tile_rows, 10), 2, 1).parts, 1);
}

TEST("the parts of a walk cover every row and every block of hidden units once") {
  const CellShape shape = shape_of(16, 9 * lanes);
  for (const Schedule& schedule : {even_schedule(13, 4), schedule_of({4, 1, 3, 0, 2, 4, 4, 1, 2, 3, 1, 0, 4}, 4)}) {
    for (int parts = 1; parts <= 4; ++parts) {
      const check::Context context(std::to_string(parts) + " parts");
      std::vector<Index> rows;
      Index blocks = 0;
      for (int share = 0; share < parts; ++share) {
        const Part own = make_part(shape, schedule, 0, {parts, false, parts}, share, 1);
        CHECK(std::is_sorted(own.rows.begin(), own.rows.end()));
        CHECK_EQUAL(own.blocks.size(), shape.blocks());
        rows.insert(rows.end(), own.rows.begin(), own.rows.end());
        const Part split_units = make_part(shape, schedule, 0, {parts, true, parts}, share, 1);
        CHECK_EQUAL(static_cast<Index>(split_units.rows.size()), schedule.rows);
        CHECK_EQUAL(split_units.blocks.begin, blocks);
        blocks = split_units.blocks.end;
      }
      CHECK_EQUAL(blocks, shape.blocks());
      std::sort(rows.begin(), rows.end());
      CHECK(std::equal(rows.begin(), rows.end(), schedule.iota.begin()));
      CHECK_EQUAL(static_cast<Index>(rows.size()), schedule.rows);
    }
  }
}

TEST("parts of a backward that meet have a thread each") {
  int meeting = 0;
  for (int threads = 1; threads <= 9; ++threads) {
    const ThreadCount limit(threads);
    for (Index input : {1, 30, 256, 1000}) {
      for (Index hidden : {16, 100, 256, 700}) {
        const CellShape shape = shape_of(input, hidden);
        for (Index rows : {1, 2, 5, 30}) {
          for (Index steps : {1, 2, 40}) {
            const Schedule schedule = even_schedule(rows, steps);
            for (int directions : {1, 2}) {
              for (Index granularity : {1, 4}) {
                const BackwardTeam team =
                    choose_backward_team(shape, schedule, {0, steps}, directions, granularity, tile_rows);
                CHECK(team.threads >= 1 && team.threads <= threads);
                if (!team.partition.split_units) continue;
                ++meeting;
                CHECK(team.partition.parts * directions <= team.threads);
              }
            }
          }
        }
      }
    }
  }
  CHECK(meeting > 100);
}

TEST("each half of the rows consists of two quarters, so that a thread sums the rows that it walks") {
  for (const Schedule& schedule : {even_schedule(16, 3), schedule_of({3, 1, 2, 3, 1, 2, 3, 1}, 3)}) {
    for (int share = 0; share < 2; ++share) {
      std::vector<Index> halves;
      for (int quarter = 0; quarter < 4; ++quarter) {
        if ((schedule.ragged() ? quarter % 2 : quarter / 2) != share) continue;
        const std::vector<Index> own = deal_rows(schedule, 4, quarter);
        halves.insert(halves.end(), own.begin(), own.end());
      }
      std::sort(halves.begin(), halves.end());
      CHECK(halves == deal_rows(schedule, 2, share));
    }
  }
}

TEST("with few rows, one product computes the input part of several steps") {
  CHECK_EQUAL(input_chunk(policy::rows_to_fuse, 1000), Index{1});
  CHECK_EQUAL(input_chunk(1, 1000), policy::input_product_rows);
  CHECK_EQUAL(input_chunk(5, 1000), policy::input_product_rows / 5);
  CHECK_EQUAL(input_chunk(1, 7), Index{7});
  CHECK_EQUAL(input_chunk(0, 0), Index{1});
}

TEST("a range of the backward fills a cache, and leaves some work to threads without a part in the walk") {
  const CellShape narrow = shape_of(2, lanes), wide = shape_of(1024, 4096);
  CellShape normed = wide;
  normed.normed = true;
  CHECK(range_rows(narrow, 100000, sizeof(float), false) > policy::least_range_rows);
  CHECK_EQUAL(range_rows(wide, 100000, sizeof(float), false), policy::least_range_rows);
  CHECK_EQUAL(range_rows(normed, 100000, sizeof(float), false), policy::least_normed_range_rows);
  CHECK_EQUAL(range_rows(wide, 600, sizeof(float), true), Index{600} / policy::overlapped_ranges);
  CHECK_EQUAL(range_rows(wide, 60, sizeof(float), true), policy::least_overlapped_rows);
}

TEST("row groups, which are summed separately, do not depend on the number of threads") {
  const CellShape shape = shape_of(16, 32);
  for (const int threads : {1, 4}) {
    const ThreadCount count(threads);
    CHECK_EQUAL(row_groups(shape, 1, 1), 1);
    CHECK_EQUAL(row_groups(shape, 16, 1), 2);
    CHECK_EQUAL(row_groups(shape, 100, 1), 4);
    CHECK_EQUAL(row_groups(shape, 100, 32), 2);
    CHECK_EQUAL(row_groups(shape_of(512, 1024), 100, 1), 1);
  }
}
