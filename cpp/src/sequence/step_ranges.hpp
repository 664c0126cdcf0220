// How the backward of a layer is cut into ranges of steps.
#pragma once

#include "row_set.hpp"

namespace lstmcore {

/// Cuts `steps` into such ranges for the rows of `set`, the last one first, at the ends of the blocks of `group` where
/// that is possible. `idle_threads`: some threads have no part in the walk and follow it with the products.
std::vector<Range> cut_steps(const CellShape& shape, const RowSet& set, const RowSet& group, Range steps,
                             Index itemsize, bool idle_threads);

/// Whether each thread walks rows of its own, in one direction, and computes their products as well. Then nothing that
/// one core writes is read by another before the groups' sums are added up.
bool walks_own_rows(Index directions, Index groups, const Partition& partition, int threads);

/// Elements that the backward of a layer takes for its ranges of steps, for this many valid steps in a batch of `rows`.
template <class T>
Index range_elements(const CellShape& shape, Index directions, Index rows, Index valid_steps, Index groups,
                     int threads);

}  // namespace lstmcore
