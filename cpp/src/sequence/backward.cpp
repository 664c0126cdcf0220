// The backward of a layer: who walks which rows, and who computes which products after that.
#include "layer_products.hpp"
#include "rnn_walk.hpp"

namespace lstmcore {
namespace {

/// The backward of a layer.
///
/// If every thread walks rows of its own, it also computes dx and the sums for dW and db of these rows: cores share
/// nothing but the sums, which are added up at the end. Otherwise the work is cut into phases: one phase walks a range
/// of steps, the next computes dx, dW and db of its rows, in tasks cut by blocks and columns. If the walk has fewer
/// parts than threads, the next range is walked at the same time. `BackwardPart` is the walk of a part, and
/// `unit_granularity` the blocks of hidden units that one part must own together.
template <class T, class BackwardPart>
class LayerBackward {
 public:
  LayerBackward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                const RowMap<T>& dx, WeightSums<T>& sums, Range steps, Partition partition, Index unit_granularity,
                int threads)
      : shape_(shape),
        schedule_(schedule),
        dx_wanted_(dx),
        sums_(sums),
        products_(shape, schedule, cells, dx, sums),
        directions_(static_cast<Index>(cells.size())),
        steps_(steps),
        threads_(threads),
        walks_(shape, schedule, cells, partition, unit_granularity),
        alone_(shape, schedule, cells, Partition{}, unit_granularity, partition.split_units),
        walks_meet_(partition.split_units),
        overlapped_(walks_.size() < threads) {
    own_rows_ = walks_own_rows(directions_, static_cast<Index>(sums.groups().size()), partition, threads);
    const int sets = own_rows_ ? threads : 1;
    sets_.reserve(static_cast<std::size_t>(sets));
    for (int set = 0; set < sets; ++set) {
      sets_.emplace_back(shape, schedule, sums.group(0), steps, directions_, overlapped_, sets, set);
    }
    const Index shares = threads == 1 ? 1 : 2 * threads;
    block_parts_ = sums.wanted() ? std::min(shares, shape.blocks()) : 0;
    column_parts_ = sums.wanted() ? static_cast<int>((shares + block_parts_ - 1) / block_parts_) : 1;
    dx_parts_ = dx ? shares : 0;
    for (int thread = 0; thread < threads; ++thread) {
      scratch_.emplace_back(shape, cells, static_cast<bool>(dx), sums, sets_);
    }
  }

  /// Returns false if the system does not start the threads.
  bool run() {
    const auto scratch = [&](int thread) -> ProductScratch<T>& { return scratch_[static_cast<std::size_t>(thread)]; };
    if (own_rows_) {
      parallel_tasks(threads_, threads_, [&](Index task, int thread) {
        const UnitSession session(shape_.arithmetic);
        run_set(task, scratch(thread));
      });
      if (!completes() || stopped()) return true;
      parallel_tasks(threads_, block_parts_, [&](Index task, int) { sums_.write(schedule_, 0, blocks_of(task)); });
      return true;
    }
    const auto tasks_of = [&](Index phase) { return tasks(phase).end(); };
    const auto run_one = [&](Index phase, Index task, int thread) {
      const UnitSession session(shape_.arithmetic);
      run_task(phase, task, scratch(thread));
    };
    // Walks that meet need a thread each; where none do, the threads may part.
    return walks_meet_ ? parallel_phases(threads_, last_phase() + 1, tasks_of, run_one)
                       : parallel_phases<StepBarrier>(threads_, last_phase() + 1, tasks_of, run_one);
  }

 private:
  /// The tasks of a phase, in this order.
  struct Tasks {
    Index walks = 0, dx = 0, sums = 0, writes = 0;
    Index end() const { return walks + dx + sums + writes; }
  };

  /// Whether the call is to end. Walks see to it themselves, since those that meet must end together.
  bool stopped() const { return InterruptWatch::stopped(call_); }
  /// Whether the sums of the weights' gradients are complete after these steps.
  bool completes() const { return steps_.begin == 0; }
  Range blocks_of(Index part) const {
    return split(shape_.blocks(), static_cast<int>(block_parts_), static_cast<int>(part));
  }

  /// The walk and the products of the rows of one thread; the sums are written later.
  void run_set(Index index, ProductScratch<T>& scratch) {
    WalkedRows<T>& set = sets_[static_cast<std::size_t>(index)];
    const Index groups = static_cast<Index>(sums_.groups().size()) / threads_;
    for (Index range = 0; range < set.range_count(); ++range) {
      walks_[index].run(set.steps(range), set.dgates_of(shape_, range, 0), set.dr_of(shape_, range, 0));
      if (stopped()) return;
      if (dx_wanted_) products_.input_gradient(set, range, 0, 0, 1, scratch);
      if (!sums_.wanted()) continue;
      for (Index group = index * groups; group < (index + 1) * groups; ++group) {
        // Shares of rows that are dealt in turn interleave; those in one range follow each other.
        const Index own = schedule_.ragged() ? index + (group - index * groups) * threads_ : group;
        products_.add_weight_gradient(set, range, 0, own, {0, shape_.blocks()}, 1, 0, scratch);
      }
    }
  }

  /// The range that a phase walks, and the one whose products it computes; none: beyond the ends.
  Index walk_range(Index phase) const {
    if (overlapped_) return phase;
    return phase % 2 == 0 ? phase / 2 : sets_.front().range_count();
  }
  Index product_range(Index phase) const {
    if (phase == last_phase()) return -1;
    return overlapped_ ? phase - 1 : phase % 2 == 1 ? phase / 2 : -1;
  }
  /// Writes the sums.
  Index last_phase() const {
    const Index ranges = sets_.front().range_count();
    return overlapped_ ? ranges + 1 : 2 * ranges;
  }

  Tasks tasks(Index phase) const {
    Tasks tasks;
    if (walk_range(phase) < sets_.front().range_count()) tasks.walks = walks_.size();
    if (product_range(phase) >= 0) {
      tasks.dx = dx_parts_;
      tasks.sums = directions_ * block_parts_ * column_parts_;
    }
    if (phase == last_phase() && completes()) tasks.writes = directions_ * block_parts_;
    return tasks;
  }

  /// A part's walk of a range. Where the parts of a direction have parted, the task of the first does the rest alone.
  void walk(WalkedRows<T>& set, Index range, Index task) {
    const Index direction = task % directions_;
    const GateGradients<T> dgates = set.dgates_of(shape_, range, direction), dr = set.dr_of(shape_, range, direction);
    BackwardPart& part = walks_[task];
    Range steps = set.steps(range);
    if (!part.parted()) steps.end = part.run(steps, dgates, dr);
    if (part.parted() && task < directions_) alone_[task].run(steps, dgates, dr);
  }

  void run_task(Index phase, Index task, ProductScratch<T>& scratch) {
    WalkedRows<T>& set = sets_.front();
    const Tasks tasks = this->tasks(phase);
    if (task < tasks.walks) {
      walk(set, walk_range(phase), task);
      return;
    }
    if (stopped()) return;
    task -= tasks.walks;
    if (task < tasks.dx) {
      for (Index direction = 0; direction < directions_; ++direction) {
        products_.input_gradient(set, product_range(phase), direction, task, dx_parts_, scratch);
      }
      return;
    }
    task -= tasks.dx;
    const Index direction = task % directions_;
    task /= directions_;
    const Range blocks = blocks_of(task % block_parts_);
    if (phase == last_phase()) {
      sums_.write(schedule_, direction, blocks);
      return;
    }
    for (Index group = 0; group < static_cast<Index>(sums_.groups().size()); ++group) {
      products_.add_weight_gradient(set, product_range(phase), direction, group, blocks, column_parts_,
                                    static_cast<int>(task / block_parts_), scratch);
    }
  }

  const CellShape& shape_;
  const Schedule& schedule_;
  const Interruptible* const call_ = InterruptWatch::of_thread();
  const bool dx_wanted_;
  WeightSums<T>& sums_;
  LayerProducts<T> products_;
  const Index directions_;
  const Range steps_;
  const int threads_;
  Walks<BackwardPart, BackwardCell<T>> walks_;
  /// Where parts meet: walks of all rows and units. Parts may leave even a single step to them.
  Walks<BackwardPart, BackwardCell<T>> alone_;
  const bool walks_meet_;
  const bool overlapped_;
  bool own_rows_ = false;
  std::vector<WalkedRows<T>> sets_;  ///< one, or one a thread
  Index block_parts_ = 0;            ///< of a direction's weights
  int column_parts_ = 1;
  Index dx_parts_ = 0;
  std::vector<ProductScratch<T>> scratch_;  ///< by thread
};

template <class BackwardPart, class T>
void layer_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                    const RowMap<T>& dx, WeightSums<T>& sums, Range steps) {
  const int directions = static_cast<int>(cells.size());
  // A part owns the hidden units whose dh it computes: whole panels of the product.
  const Index granularity = kernels::panel_vectors * shape.lanes / shape.block_units();
  const auto [threads, partition] =
      choose_backward_team(shape, schedule, steps, directions, granularity, active_kernels<T>().tile_rows);
  using Backward = LayerBackward<T, BackwardPart>;
  if (!Backward(shape, schedule, cells, dx, sums, steps, partition, granularity, threads).run()) {
    Backward(shape, schedule, cells, dx, sums, steps, Partition{}, granularity, 1).run();
  }
  InterruptWatch::end_if_stopped();
}

}  // namespace

template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                   const RowMap<T>& dx, WeightSums<T>& sums, Range steps) {
  if (shape.simple()) return layer_backward<RnnBackwardWalk<T>>(shape, schedule, cells, dx, sums, steps);
  layer_backward<BackwardWalk<T>>(shape, schedule, cells, dx, sums, steps);
}

template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<float>>&,
                            const RowMap<float>&, WeightSums<float>&, Range);
template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<double>>&,
                            const RowMap<double>&, WeightSums<double>&, Range);

}  // namespace lstmcore
