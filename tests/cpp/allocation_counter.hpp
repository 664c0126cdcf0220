// How often this program has asked for memory.
#pragma once

/// Calls of malloc and its relatives so far, by any thread; what `new` asks for goes through them. Always 0 where they
/// cannot be replaced: `allocations_are_counted` says whether they can.
long allocations();
bool allocations_are_counted();
