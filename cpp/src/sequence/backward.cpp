// Backward: each part walks its rows back through time; the products over all rows of all times follow it.
#include <array>

#include "../isa/isa.hpp"
#include "weight_gradient.hpp"

namespace lstmcore {
namespace {

template <class T>
class BackwardWalk {
 public:
  BackwardWalk(const CellShape& shape, const Schedule& schedule, const BackwardCell<T>& cell, Part part)
      : kernels_(active_kernels<T>()),
        shape_(shape),
        schedule_(schedule),
        cell_(cell),
        part_(std::move(part)),
        zeros_(static_cast<std::size_t>(shape.padded()), T(0)) {
    const std::size_t size = part_.rows.size();
    dy_.resize(cell.dy ? size : 0);
    dh_.resize(size);
    dc_.resize(size);
    c_prev_.resize(size);
    c_.resize(size);
    gates_.resize(size);
  }

  /// Walks back over some steps; to be called from the last ones on.
  void run(Range steps) {
    if (part_.rows.empty()) return;
    for (Index step = std::min(steps.end, length(0)) - 1; step >= steps.begin; --step) {
      while (alive_ < static_cast<Index>(part_.rows.size()) && length(alive_) > step) ++alive_;
      gather(step);
      cell_step();
      // The products below read all gates of a row, of which other parts wrote theirs.
      part_.meeting.wait();
      state_step(step);
    }
  }

 private:
  Index row(Index i) const { return part_.rows[static_cast<std::size_t>(i)]; }
  Index length(Index i) const { return schedule_.length[static_cast<std::size_t>(row(i))]; }

  void gather(Index step) {
    for (Index i = 0; i < alive_; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Index r = row(i);
      const Index time = schedule_.time(r, step, cell_.reversed);
      const Index before = cell_.reversed ? time + 1 : time - 1;
      if (cell_.dy) dy_[at] = cell_.dy.at(time, r);
      dh_[at] = cell_.dh.at(0, r);
      dc_[at] = cell_.dc.at(0, r);
      gates_[at] = cell_.gates.at(time, r);
      c_[at] = cell_.c.at(time, r);
      if (schedule_.cut(r, step, cell_.reversed)) {
        c_prev_[at] = zeros_.data();
      } else {
        c_prev_[at] = step == 0 ? cell_.c0.at(0, r) : cell_.c.at(before, r);
      }
    }
  }

  void cell_step() {
    kernels::StepBackward<T> s{};
    s.rows = alive_;
    s.hidden = shape_.hidden;
    s.block_begin = part_.blocks.begin;
    s.block_end = part_.blocks.end;
    s.dy = cell_.dy ? dy_.data() : nullptr;
    s.dh = dh_.data();
    s.dc = dc_.data();
    s.c_prev = c_prev_.data();
    s.c = c_.data();
    s.gates = gates_.data();
    kernels_.step_backward(s);
  }

  /// dh of the step before = dgates W_hh, for this part's own hidden units.
  void state_step(Index step) {
    const Index panel_blocks = kernels::panel_vectors;
    kernels::Product<T> product{};
    product.rows = alive_;
    product.depth = shape_.gates_width();
    product.columns = shape_.hidden;
    product.a = gates_.data();
    product.panels = cell_.weights->h.data();
    product.out = dh_.data();
    product.panel_begin = part_.blocks.begin / panel_blocks;
    product.panel_end = (part_.blocks.end + panel_blocks - 1) / panel_blocks;
    kernels_.product(product);
    if (schedule_.resets.empty()) return;
    const Index first = part_.blocks.begin * shape_.lanes;
    const Index last = part_.blocks.end * shape_.lanes;
    for (Index i = 0; i < alive_; ++i) {
      if (!schedule_.cut(row(i), step, cell_.reversed)) continue;
      const auto at = static_cast<std::size_t>(i);
      std::fill(dh_[at] + first, dh_[at] + last, T(0));
      std::fill(dc_[at] + first, dc_[at] + last, T(0));
    }
  }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const BackwardCell<T>& cell_;
  Part part_;
  Index alive_ = 0;
  std::vector<T> zeros_;
  std::vector<const T*> dy_, c_prev_, c_;
  std::vector<T*> dh_, dc_, gates_;
};

/// Steps that are walked before the products over their rows follow: few enough for what the walk has just written to
/// be still in a cache.
std::vector<Range> cut_steps(const CellShape& shape, const Schedule& schedule, Index itemsize, bool idle_threads) {
  constexpr Index cached_bytes = 1 << 20;
  constexpr Index least_rows = 384;  // or the sums of the weights' gradients would be read and written too often
  const Index row_bytes = (shape.gates_width() + 2 * shape.padded() + shape.input) * itemsize;
  Index most_rows = std::max(least_rows, cached_bytes / row_bytes);
  // Threads that have no part in the walk follow it with the products.
  if (idle_threads) most_rows = std::min(most_rows, std::max<Index>(32, schedule.total / 6));
  std::vector<Range> ranges;
  for (Index end = schedule.longest; end > 0;) {
    Index begin = end, rows = 0;
    while (begin > 0 && (rows == 0 || rows + schedule.alive[static_cast<std::size_t>(begin - 1)] <= most_rows)) {
      --begin;
      rows += schedule.alive[static_cast<std::size_t>(begin)];
    }
    ranges.push_back({begin, end});
    end = begin;
  }
  return ranges;
}

/// The backward of a layer in phases: a range of steps is walked, then dx, dW and db of its rows follow while they are
/// in a cache. If the walk has fewer parts than there are threads, the next range is walked meanwhile. Both directions'
/// dx of a row add up in one order, so with two directions dx is left to the end.
template <class T>
class LayerBackward {
 public:
  LayerBackward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                const RowMap<T>& dx, Partition partition, int threads)
      : shape_(shape),
        schedule_(schedule),
        cells_(cells),
        dx_(dx),
        threads_(threads),
        walks_(shape, schedule, cells, partition, kernels::panel_vectors),
        overlapped_(walks_.size() < threads),
        ranges_(cut_steps(shape, schedule, sizeof(T), overlapped_)),
        rows_(cells.size()) {
    Index most = 0;
    for (const Range& steps : ranges_) most = std::max(most, count_rows(steps));
    for (std::size_t direction = 0; direction < cells.size(); ++direction) {
      gradients_.emplace_back(shape, cells[direction].gradients);
      for (StepRows<T>& rows : rows_[direction]) {
        rows.gates.resize(static_cast<std::size_t>(most));
        rows.x.resize(rows.gates.size());
        rows.h_prev.resize(rows.gates.size());
        rows.dx.resize(dx && !dx_at_end() ? rows.gates.size() : 0);
      }
    }
    zeros_.resize(static_cast<std::size_t>(shape.hidden), T(0));
    const bool weights_wanted =
        std::any_of(gradients_.begin(), gradients_.end(), [](const auto& g) { return g.wanted(); });
    const Index pieces = threads == 1 ? 1 : 2 * threads;
    block_parts_ = weights_wanted ? std::min(pieces, shape.blocks()) : 0;
    column_parts_ = weights_wanted ? static_cast<int>((pieces + block_parts_ - 1) / block_parts_) : 1;
    dx_parts_ = dx ? pieces : 0;
    scratch_width_ = weights_wanted ? WeightGradient<T>::scratch_size(shape) : 0;
    scratch_.resize(static_cast<std::size_t>(scratch_width_ * threads));
    if (schedule.total == 0) {
      for (WeightGradient<T>& gradient : gradients_) gradient.clear();
    }
  }

  /// False if the system does not give the threads.
  bool run() {
    return parallel_phases(
        threads_, last_phase() + 1, [&](Index phase) { return tasks(phase).end(); },
        [&](Index phase, Index task, int thread) { run_task(phase, task, thread); });
  }

 private:
  /// The tasks of a phase, in this order.
  struct Tasks {
    Index walks = 0, dx = 0, sums = 0, writes = 0;
    Index end() const { return walks + dx + sums + writes; }
  };

  Index directions() const { return static_cast<Index>(cells_.size()); }
  bool dx_at_end() const { return directions() > 1; }
  /// The range that a phase walks, and the one whose products it computes; none: beyond the ends.
  Index walk_range(Index phase) const {
    if (overlapped_) return phase;
    return phase % 2 == 0 ? phase / 2 : static_cast<Index>(ranges_.size());
  }
  Index product_range(Index phase) const {
    if (phase == last_phase()) return -1;
    return overlapped_ ? phase - 1 : phase % 2 == 1 ? phase / 2 : -1;
  }
  /// Writes the sums.
  Index last_phase() const {
    const Index ranges = static_cast<Index>(ranges_.size());
    return overlapped_ ? ranges + 1 : 2 * ranges;
  }

  Index count_rows(Range steps) const {
    Index rows = 0;
    for (Index step = steps.begin; step < steps.end; ++step) rows += schedule_.alive[static_cast<std::size_t>(step)];
    return rows;
  }

  Tasks tasks(Index phase) const {
    const Index ranges = static_cast<Index>(ranges_.size());
    Tasks tasks;
    if (walk_range(phase) < ranges) tasks.walks = walks_.size();
    if (product_range(phase) >= 0) {
      tasks.dx = dx_at_end() ? 0 : dx_parts_;
      tasks.sums = directions() * block_parts_ * column_parts_;
    }
    if (phase == last_phase()) {
      tasks.dx = dx_at_end() ? dx_parts_ : 0;
      tasks.writes = directions() * block_parts_;
    }
    return tasks;
  }

  void run_task(Index phase, Index task, int thread) {
    const Tasks tasks = this->tasks(phase);
    if (task < tasks.walks) {
      const Index range = walk_range(phase);
      walks_[task].run(ranges_[static_cast<std::size_t>(range)]);
      if (task < directions()) gather(static_cast<std::size_t>(task), range);
      return;
    }
    task -= tasks.walks;
    if (task < tasks.dx) {
      const auto part = [&](Index rows) { return split(rows, static_cast<int>(dx_parts_), static_cast<int>(task)); };
      if (dx_at_end()) {
        input_gradient_at_end(part(schedule_.total));
      } else {
        const StepRows<T>& rows = rows_[0][product_range(phase) % 2];
        const Range range = part(rows.count);
        input_gradient(0, rows.gates.data() + range.begin, rows.dx.data() + range.begin, range.size(), false);
      }
      return;
    }
    task -= tasks.dx;
    WeightGradient<T>& gradient = gradients_[static_cast<std::size_t>(task % directions())];
    const auto& rows = rows_[static_cast<std::size_t>(task % directions())];
    task /= directions();
    const Range blocks = split(shape_.blocks(), static_cast<int>(block_parts_), static_cast<int>(task % block_parts_));
    if (phase == last_phase()) {
      gradient.write(blocks);
    } else {
      const Index range = product_range(phase);
      gradient.add(rows[range % 2], range == 0, blocks, column_parts_, static_cast<int>(task / block_parts_),
                   scratch_.data() + thread * scratch_width_);
    }
  }

  /// The rows of a range of steps, for the products of the phase after this one.
  void gather(std::size_t direction, Index range) {
    const Range steps = ranges_[static_cast<std::size_t>(range)];
    const BackwardCell<T>& cell = cells_[direction];
    StepRows<T>& rows = rows_[direction][range % 2];
    std::size_t at = 0;
    for (Index step = steps.end - 1; step >= steps.begin; --step) {
      for (Index row = 0; row < schedule_.alive[static_cast<std::size_t>(step)]; ++row, ++at) {
        const Index time = schedule_.time(row, step, cell.reversed);
        rows.gates[at] = cell.gates.at(time, row);
        rows.x[at] = cell.x.at(time, row);
        if (schedule_.cut(row, step, cell.reversed)) {
          rows.h_prev[at] = zeros_.data();
        } else {
          rows.h_prev[at] = step == 0 ? cell.h0.at(0, row) : cell.h.at(cell.reversed ? time + 1 : time - 1, row);
        }
        if (!rows.dx.empty()) rows.dx[at] = dx_.at(time, row);
      }
    }
    rows.count = static_cast<Index>(at);
  }

  /// dx (+)= dgates W_ih for `count` rows.
  void input_gradient(std::size_t direction, T* const* gates, T* const* dx, Index count, bool accumulate) const {
    constexpr Index rows_at_once = 96;
    for (Index first = 0; first < count; first += rows_at_once) {
      kernels::Product<T> product{};
      product.rows = std::min(rows_at_once, count - first);
      product.depth = shape_.gates_width();
      product.columns = shape_.input;
      product.a = gates + first;
      product.panels = cells_[direction].weights->x.data();
      product.out = dx + first;
      product.accumulate = accumulate;
      product.panel_end = (shape_.input + shape_.block_width() - 1) / shape_.block_width();
      active_kernels<T>().product(product);
    }
  }

  /// dx of both directions for a range of packed rows: in the order of time, then row.
  void input_gradient_at_end(Range range) const {
    constexpr Index rows_at_once = 96;
    T* gates[rows_at_once];
    T* dx[rows_at_once];
    Index time = 0;
    for (Index first = range.begin; first < range.end; first += rows_at_once) {
      const Index count = std::min(rows_at_once, range.end - first);
      const Index first_time = time;
      for (Index direction = 0; direction < directions(); ++direction) {
        time = first_time;
        for (Index i = 0; i < count; ++i) {
          while (time + 1 < schedule_.longest && schedule_.packed(time + 1, 0) <= first + i) ++time;
          const Index row = first + i - schedule_.packed(time, 0);
          gates[i] = cells_[static_cast<std::size_t>(direction)].gates.at(time, row);
          dx[i] = dx_.at(time, row);
        }
        input_gradient(static_cast<std::size_t>(direction), gates, dx, count, direction > 0);
      }
    }
  }

  const CellShape& shape_;
  const Schedule& schedule_;
  const std::vector<BackwardCell<T>>& cells_;
  const RowMap<T> dx_;
  const int threads_;
  Walks<BackwardWalk<T>, BackwardCell<T>> walks_;
  const bool overlapped_;
  std::vector<Range> ranges_;
  std::vector<std::array<StepRows<T>, 2>> rows_;  ///< per direction, of even and odd ranges
  std::vector<WeightGradient<T>> gradients_;
  std::vector<T> zeros_;
  Index block_parts_ = 0;  ///< of a direction's weights
  int column_parts_ = 1;
  Index dx_parts_ = 0;
  Index scratch_width_ = 0;
  Buffer<T> scratch_;
};

}  // namespace

template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                   const RowMap<T>& dx) {
  const int directions = static_cast<int>(cells.size());
  // The walk's product, and those of dx and dW.
  const double walk = walk_work(shape, schedule, shape.hidden) * directions;
  const double products =
      static_cast<double>(schedule.total * shape.gates_width() * (2 * shape.input + shape.hidden)) * 2;
  const int threads = threads_for(walk + products * directions);
  // A part owns the hidden units whose dh it computes: whole panels of the product.
  const Partition partition = choose_partition(shape, schedule, directions, threads_for(walk), kernels::panel_vectors,
                                               active_kernels<T>().tile_rows);
  if (!LayerBackward<T>(shape, schedule, cells, dx, partition, threads).run()) {
    LayerBackward<T>(shape, schedule, cells, dx, Partition{}, 1).run();
  }
}

template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<float>>&,
                            const RowMap<float>&);
template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<double>>&,
                            const RowMap<double>&);

}  // namespace lstmcore
