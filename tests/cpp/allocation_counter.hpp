// The number of allocations of this program.
#pragma once

/// Calls of malloc and its relatives so far, by any thread, including those of `new`. Always 0 where they cannot be
/// replaced: `allocations_are_counted` says whether they can.
long allocations();
bool allocations_are_counted();
