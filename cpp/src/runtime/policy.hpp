// The constants by which the engine decides how threads share work and which memory is reused.
//
// None of them says what is computed, only how. Most of them may be changed freely, because results have the same bits
// for every partition. Those of the last section fix the order of sums: changing them changes the bits of gradients,
// as would the depth of a block of such sums (kernels::most_transposed_depth). Formulas that combine them with the
// sizes of a layer are in sequence/partition.cpp.
//
// Shapes next to a measurement are batch x steps x features x hidden units.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lstmcore::policy {

// ---- teams of threads -----------------------------------------------------------------------------------------------

/// The least work of a thread in a team, about 15 microseconds. With less, starting and ending the team would take a
/// noticeable part of the time, and on a machine that others use too a thread would often wait longer for its partner
/// to be scheduled than sharing saves.
constexpr double flops_per_thread = 1.5e6;

/// The most threads that a caller may ask for. Some OpenMP runtimes end the process if the system refuses them a
/// thread.
constexpr int most_threads = 1024;

/// How long an idle thread of the pool spins for the next team before it sleeps. If the team before came later than
/// that, it sleeps at once: the processor belongs to whatever the program does between calls. With 200
/// microseconds, training with few rows took 0.97 to 1.00 of the time, and an ONNX Runtime session that takes turns
/// with the engine 1.22 of its time alone instead of 1.06.
constexpr std::int64_t longest_idle_spin_nanoseconds = 50'000;

/// How long the program's end waits for a thread of the pool that is at work.
constexpr std::int64_t longest_ending_nanoseconds = 100'000'000;

/// How long tasks that will wait for each other wait for the last of them to begin. A sleeping thread takes 50
/// microseconds to begin; one that takes longer than this is not being run.
constexpr std::int64_t longest_gathering_nanoseconds = 2'000'000;
/// The same for tests in which threads share the work however busy the machine is.
constexpr std::int64_t longest_forced_gathering_nanoseconds = 500'000'000;
/// Tasks that gather, but only after the first has slept for this long, have found the machine crowded: threads of the
/// pool begin within the time that it spins before. Calls of 0.2 ms took 2 to 9 times as long as on one thread beside
/// one busy process, since each of them waited for a time slice.
constexpr std::int64_t late_gathering_nanoseconds = 100'000;

/// Shortest time between two checks whether an OpenMP runtime has been loaded, as `import torch` does. A check that
/// finds none takes about a microsecond.
constexpr std::int64_t host_look_nanoseconds = 50'000'000;

/// How often a long call asks its caller whether to go on, and how many of its steps at most it computes before it
/// looks at the clock again: a look takes 20 to 50 ns, a step of the smallest LSTM 100.
constexpr std::int64_t asking_nanoseconds = 50'000'000;
constexpr int longest_look_stride = 64;
/// After an answer that took long, the next question comes after this many times as long: in Python, another thread
/// may hold the interpreter's lock for 5 ms. For a user who presses Ctrl-C, it comes after at most `most_asking` times
/// the usual time.
constexpr std::int64_t asking_share = 200, most_asking = 10;
/// The work of a piece of a call that does not walk over time, as in `cost`, about 20 microseconds: between two pieces
/// it may look at the clock.
constexpr double flops_per_look = 2e6;
/// A walk whose layer has more weights than this also looks between the steps whose input parts are one product: 96
/// such steps of one row may take seconds.
constexpr std::int64_t weights_to_look_often = 1 << 20;

/// How many times a thread at a barrier checks for the others before it goes to sleep. The checks take about as long as
/// falling asleep and waking up, 50 to 200 microseconds. The work between two meetings lasts microseconds.
constexpr int spins_before_sleep = 4000;

/// How long it sleeps at most before it checks again.
constexpr std::int64_t longest_sleep_nanoseconds = 200'000;

// A thread that waits for one that is not scheduled loses a time slice, some milliseconds, at every meeting. Two
// threads on few rows took 19 to 54 times as long as one while other processes kept the cores busy.

/// A walk whose threads meet at every step continues on one thread once its threads have slept at the barrier for this
/// many nanoseconds and for more than this share of the time since the walk began. Two threads that wait for half of
/// the time are no faster than one; shorter waits come from interrupts and do not add up to the share.
constexpr std::int64_t late_nanoseconds = 300'000;
constexpr double late_share = 0.3;

/// How long the cores then count as crowded: calls that would meet at every step stay on one thread. The time doubles
/// whenever the next try fails as well.
constexpr std::int64_t first_crowded_nanoseconds = 5'000'000;
/// The same where teams run on other threads than the engine's own. On an OpenMP runtime a try in vain costs some 25
/// ms, because threads spin for 10 ms at the end of a team and after it. With 5 ms, two threads took 1.5 to 1.75 times
/// as long as one beside two busy processes (1 x 2000 x 128 x 128), and 2.2 to 2.4 times the processor time; with 200
/// ms 1.1 and 1.15. On an executor with a queue, the processor time was 1.32 times that of one thread with 5 ms.
constexpr std::int64_t first_crowded_elsewhere_nanoseconds = 200'000'000;
constexpr std::int64_t longest_crowded_nanoseconds = 1'000'000'000;

/// The least work of a team while the cores are crowded, about ten milliseconds: a team may wait a time slice for each
/// of its threads to begin.
constexpr double crowded_flops = 1e9;

/// The cost of one element where the work is not a product, as the floating-point operations of a product that would
/// take as long. Most of this time is spent waiting for memory.
namespace cost {
constexpr double zeroed = 0.5;            ///< a run of zeros
constexpr double scattered = 1;           ///< written to its row of a larger array
constexpr double gathered = 2;            ///< read from its row of a larger array
constexpr double summed = 4;              ///< added to a row that stays in a cache
constexpr double visited = 10;            ///< read or written once, with little arithmetic
constexpr double masked = 16;             ///< dropout inside an LSTM
constexpr double packed = 16;             ///< moved into a panel of an LSTM's weights
constexpr double factor_packed = 20;      ///< moved into a panel of another product's right factor
constexpr double activated = 20;          ///< an activation, its derivative, or a squared error
constexpr double normalized = 30;         ///< a layer norm
constexpr double norm_backward = 50;      ///< its backward
constexpr double dropped = 40;            ///< dropout of a flat array
constexpr double optimized = 50;          ///< an optimizer's step: several streams from and to memory
constexpr double cross_entropy = 50;      ///< a logit: an exponential, its share of a sum, and a gradient
constexpr double alignment = 3000;        ///< a step of CTC at a position: 7 exponentials, 2 logarithms
constexpr double attention_backward = 3;  ///< forwards of attention that its backward costs
}  // namespace cost

// ---- the walk of a layer through time -------------------------------------------------------------------------------

/// About the size of the cache that a core does not share. Larger weights come from a shared cache or from memory at
/// every step: it is better if only the core that owns their hidden units reads them than if every core does.
constexpr double private_cache_bytes = 1.5e6;

/// With fewer operations in a step, meeting after it would cost more than sharing it saves, however close the cores.
constexpr double flops_per_meeting = 4e4;
/// The same for each nanosecond that a meeting without work takes. In a walk it takes 2.7 times as long, because h
/// moves from core to core as well, and one thread computes about 150 operations in a nanosecond. A meeting without
/// work takes 70 ns between cores that share a cache and 300 between others, and the host of a virtual machine moves it
/// from one to the other: two threads took 54 or 118 microseconds where one takes 75 (100 x 1 x 32 x 64).
constexpr double flops_per_meeting_nanosecond = 400;

/// How long a measured meeting counts, and how it is measured: the fastest of some rounds, so that an interrupt does
/// not count. All rounds take 6 to 30 microseconds.
constexpr std::int64_t measured_meeting_nanoseconds = 20'000'000;
constexpr int meeting_rounds = 4, meetings_per_round = 8;

/// With few rows, a step is bound by reading its weights, and takes as long as the arithmetic of this many rows.
constexpr double rows_of_weight_traffic = 6;

/// Rows of one product that computes the input part of several steps.
constexpr std::int64_t input_product_rows = 96;
/// From this many rows on, a step's own tiles are full, and its input and recurrent part share one pass over the gates.
constexpr std::int64_t rows_to_fuse = 12;

/// Steps that a layer of a stack is behind the one below when all layers are walked at the same time.
constexpr std::int64_t wavefront_steps = 16;
/// Bytes of a layer's weights that fit entirely in a core's own cache, so that meeting every few steps (a wavefront)
/// costs less than meeting at every step (splitting the hidden units).
constexpr double wavefront_weight_bytes = 4e5;

/// Rows of a stream that pass through all layers of a model together, while their values stay in a core's own cache.
constexpr std::int64_t stream_block_rows = 64;

// ---- the backward of a layer ----------------------------------------------------------------------------------------

/// The backward walks a range of steps, and then computes dx and dW of its rows while the gradients of the gates are
/// still in a cache. The rows of a range fill this many bytes. Three passes over the whole tape took 90 ms where ranges
/// take 53 (365 x 256 x 8 x 64).
constexpr std::int64_t range_bytes = 1 << 20;

/// The fewest rows of a range: with fewer, the sums of dW would be read and written too often.
constexpr std::int64_t least_range_rows = 384;
/// The same with layer norms, where a row of gradients is 14 Hp wide instead of 4: training at 100 x 32 x 128 x 128
/// takes 1.22 times the plain cell's time instead of 1.27.
constexpr std::int64_t least_normed_range_rows = 160;

/// If threads without a part in the walk compute the products after it, the walk is cut into at least this many ranges
/// for them, each with at least this many rows.
constexpr std::int64_t overlapped_ranges = 6;
constexpr std::int64_t least_overlapped_rows = 32;

/// Bytes of panels of gradients that the second-level cache holds in addition to the rows they are multiplied with.
constexpr std::int64_t gradient_panel_bytes = 384 << 10;

// ---- memory ---------------------------------------------------------------------------------------------------------

/// Smaller blocks are aligned by hand, since the aligned allocator is several times slower, and go back to the
/// allocator. Larger ones are stored for reuse: if they went back to the system, the tape of the next training step
/// would cost a page fault per 4 KiB.
constexpr std::size_t smallest_stored_block = std::size_t{64} << 10;

/// All blocks stored together; a block of more than half of it is never stored.
constexpr std::size_t most_stored_bytes = std::size_t{256} << 20;
constexpr std::size_t most_stored_blocks = 32;

/// A tape is read from end to end several times: with 4 KiB pages, every few rows would need a page-table walk. So huge
/// pages are requested for blocks of at least two of them.
constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t smallest_huge_block = 2 * huge_page_bytes;

// ---- constants that fix the order of sums ---------------------------------------------------------------------------

/// dW is summed in one to four groups of rows, which follow from the layer and the batch and never from the number of
/// threads. A thread that walks rows of its own sums dW over just these, and reads nothing that another core wrote. On
/// two cores that share no cache (160 to 380 ns from one to the other), training at 100 x 32 x 128 x 128 takes 20 ms if
/// every thread reads all rows, 13.5 to 15 ms with groups. On a single thread, the groups cost 1 to 2 %.
constexpr std::int64_t most_row_groups = 4;
constexpr std::int64_t least_rows_per_group = 8;
/// The most elements of dW over all groups, each of which has its own sums.
constexpr std::int64_t most_group_sums = 1 << 18;

/// Rows of layer norms and elements of a norm of gradients whose sums are computed separately and then added in order.
constexpr std::int64_t norm_group_steps = 256;
constexpr std::int64_t squared_norm_block = 16384;

}  // namespace lstmcore::policy
