// Backward: each part walks its rows back through time; the products over all rows of all times follow it.
#include <array>

#include "../isa/isa.hpp"
#include "weight_gradient.hpp"

namespace lstmcore {
namespace {

/// Gradients by the pre-activations of all rows of a range of steps.
template <class T>
struct GateGradients {
  const Schedule* schedule = nullptr;
  T* base = nullptr;
  Index width = 0;       ///< 4 Hp
  Index first_step = 0;  ///< of the range
  T* at(Index step, Index row) const {
    return base + (schedule->packed(step, row) - schedule->packed(first_step, 0)) * width;
  }
};

template <class T>
class BackwardWalk {
 public:
  BackwardWalk(const CellShape& shape, const Schedule& schedule, const BackwardCell<T>& cell, Part part)
      : kernels_(active_kernels<T>()),
        shape_(shape),
        schedule_(schedule),
        cell_(cell),
        part_(std::move(part)),
        zeros_(static_cast<std::size_t>(shape.padded()), T(0)),
        pointers_(7 * part_.rows.size()) {
    const std::size_t size = part_.rows.size();
    dy_ = pointers_.take<const T*>(size);
    c_prev_ = pointers_.take<const T*>(size);
    c_ = pointers_.take<const T*>(size);
    gates_ = pointers_.take<const T*>(size);
    dh_ = pointers_.take<T*>(size);
    dc_ = pointers_.take<T*>(size);
    dgates_ = pointers_.take<T*>(size);
  }

  /// Walks back over some steps; to be called from the last ones on. The gradients by the pre-activations of all rows
  /// of these steps, and no others, go to `dgates`.
  void run(Range steps, const GateGradients<T>& dgates) {
    if (part_.rows.empty()) return;
    for (Index step = std::min(steps.end, length(0)) - 1; step >= steps.begin; --step) {
      while (alive_ < static_cast<Index>(part_.rows.size()) && length(alive_) > step) ++alive_;
      gather(step, dgates);
      cell_step();
      // The products below read all gates of a row, of which other parts wrote theirs.
      part_.meeting.wait();
      state_step(step);
    }
  }

 private:
  Index row(Index i) const { return part_.rows[static_cast<std::size_t>(i)]; }
  Index length(Index i) const { return schedule_.length[static_cast<std::size_t>(row(i))]; }

  void gather(Index step, const GateGradients<T>& dgates) {
    for (Index i = 0; i < alive_; ++i) {
      const Index r = row(i);
      const Index time = schedule_.time(r, step, cell_.reversed);
      const Index before = cell_.reversed ? time + 1 : time - 1;
      if (cell_.dy) dy_[i] = cell_.dy.at(time, r);
      dh_[i] = cell_.dh.at(0, r);
      dc_[i] = cell_.dc.at(0, r);
      gates_[i] = cell_.gates.at(time, r);
      dgates_[i] = dgates.at(step, r);
      c_[i] = cell_.c.at(time, r);
      if (schedule_.cut(r, step, cell_.reversed)) {
        c_prev_[i] = zeros_.data();
      } else {
        c_prev_[i] = step == 0 ? cell_.c0.at(0, r) : cell_.c.at(before, r);
      }
    }
  }

  void cell_step() {
    kernels::StepBackward<T> s{};
    s.rows = alive_;
    s.hidden = shape_.hidden;
    s.block_begin = part_.blocks.begin;
    s.block_end = part_.blocks.end;
    s.dy = cell_.dy ? dy_ : nullptr;
    s.dh = dh_;
    s.dc = dc_;
    s.c_prev = c_prev_;
    s.c = c_;
    s.gates = gates_;
    s.dgates = dgates_;
    kernels_.step_backward(s);
  }

  /// dh of the step before = dgates W_hh, for this part's own hidden units.
  void state_step(Index step) {
    const Index panel_blocks = kernels::panel_vectors;
    kernels::Product<T> product{};
    product.rows = alive_;
    product.depth = shape_.gates_width();
    product.columns = shape_.hidden;
    product.a = dgates_;
    product.panels = cell_.weights->h.data();
    product.out = dh_;
    product.panel_begin = part_.blocks.begin / panel_blocks;
    product.panel_end = (part_.blocks.end + panel_blocks - 1) / panel_blocks;
    kernels_.product(product);
    if (schedule_.resets.empty()) return;
    const Index first = part_.blocks.begin * shape_.lanes;
    const Index last = part_.blocks.end * shape_.lanes;
    for (Index i = 0; i < alive_; ++i) {
      if (!schedule_.cut(row(i), step, cell_.reversed)) continue;
      std::fill(dh_[i] + first, dh_[i] + last, T(0));
      std::fill(dc_[i] + first, dc_[i] + last, T(0));
    }
  }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const BackwardCell<T>& cell_;
  Part part_;
  Index alive_ = 0;
  std::vector<T> zeros_;
  PointerArrays pointers_;
  const T **dy_, **c_prev_, **c_, **gates_;
  T **dh_, **dc_, **dgates_;
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
/// in a cache. If the walk has fewer parts than there are threads, the next range is walked meanwhile.
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
        ranges_kept_(overlapped_ ? 2 : 1) {
    for (const BackwardCell<T>& cell : cells) gradients_.emplace_back(shape, cell.gradients);
    for (const Range& steps : ranges_) most_rows_ = std::max(most_rows_, count_rows(steps));
    dgates_.resize(static_cast<std::size_t>(directions() * ranges_kept_ * most_rows_ * shape.gates_width()));
    zeros_.resize(static_cast<std::size_t>(shape.hidden), T(0));

    const bool weights_wanted =
        std::any_of(gradients_.begin(), gradients_.end(), [](const auto& gradient) { return gradient.wanted(); });
    const Index pieces = threads == 1 ? 1 : 2 * threads;
    block_parts_ = weights_wanted ? std::min(pieces, shape.blocks()) : 0;
    column_parts_ = weights_wanted ? static_cast<int>((pieces + block_parts_ - 1) / block_parts_) : 1;
    dx_parts_ = dx ? pieces : 0;
    for (int thread = 0; thread < threads; ++thread) scratch_.emplace_back(*this);
    if (schedule.total == 0) {
      for (WeightGradient<T>& gradient : gradients_) gradient.clear();
    }
  }

  /// False if the system does not give the threads.
  bool run() {
    return parallel_phases(
        threads_, last_phase() + 1, [&](Index phase) { return tasks(phase).end(); },
        [&](Index phase, Index task, int thread) {
          run_task(phase, task, scratch_[static_cast<std::size_t>(thread)]);
        });
  }

 private:
  /// Rows of dx that are computed as one product.
  static constexpr Index dx_rows = 96;

  /// What a thread needs for its tasks.
  struct Scratch {
    StepRows<T> rows;  ///< of a range
    Buffer<T> panel;   ///< of `WeightGradient::add`
    Buffer<T> dx;      ///< of one direction, to be added to the other's
    std::array<const T*, dx_rows> dx_from;
    std::array<T*, dx_rows> dx_to, dx_sum;

    explicit Scratch(const LayerBackward& layer) {
      if (layer.block_parts_ > 0) {
        rows.gates.resize(static_cast<std::size_t>(layer.most_rows_));
        rows.x.resize(rows.gates.size());
        rows.h_prev.resize(rows.gates.size());
        panel.resize(static_cast<std::size_t>(WeightGradient<T>::scratch_size(layer.shape_)));
      }
      if (layer.dx_ && layer.directions() > 1) dx.resize(static_cast<std::size_t>(dx_rows * layer.shape_.input));
    }
  };

  /// The tasks of a phase, in this order.
  struct Tasks {
    Index walks = 0, dx = 0, sums = 0, writes = 0;
    Index end() const { return walks + dx + sums + writes; }
  };

  Index directions() const { return static_cast<Index>(cells_.size()); }

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

  Index alive(Index step) const { return schedule_.alive[static_cast<std::size_t>(step)]; }
  Index count_rows(Range steps) const {
    Index rows = 0;
    for (Index step = steps.begin; step < steps.end; ++step) rows += alive(step);
    return rows;
  }
  const Range& steps_of(Index range) const { return ranges_[static_cast<std::size_t>(range)]; }

  GateGradients<T> dgates_of(Index range, Index direction) {
    const Index width = shape_.gates_width();
    T* const base = dgates_.data() + (direction * ranges_kept_ + range % ranges_kept_) * most_rows_ * width;
    return {&schedule_, base, width, steps_of(range).begin};
  }

  Tasks tasks(Index phase) const {
    Tasks tasks;
    if (walk_range(phase) < static_cast<Index>(ranges_.size())) tasks.walks = walks_.size();
    if (product_range(phase) >= 0) {
      tasks.dx = dx_parts_;
      tasks.sums = directions() * block_parts_ * column_parts_;
    }
    if (phase == last_phase()) tasks.writes = directions() * block_parts_;
    return tasks;
  }

  void run_task(Index phase, Index task, Scratch& scratch) {
    const Tasks tasks = this->tasks(phase);
    if (task < tasks.walks) {
      const Index range = walk_range(phase);
      walks_[task].run(steps_of(range), dgates_of(range, task % directions()));
      return;
    }
    task -= tasks.walks;
    if (task < tasks.dx) {
      for (Index direction = 0; direction < directions(); ++direction) {
        input_gradient(product_range(phase), direction, task, scratch);
      }
      return;
    }
    task -= tasks.dx;
    const Index direction = task % directions();
    WeightGradient<T>& gradient = gradients_[static_cast<std::size_t>(direction)];
    task /= directions();
    const Range blocks = split(shape_.blocks(), static_cast<int>(block_parts_), static_cast<int>(task % block_parts_));
    if (phase == last_phase()) {
      gradient.write(blocks);
    } else {
      const Index range = product_range(phase);
      gather(range, direction, scratch.rows);
      gradient.add(scratch.rows, range == 0, blocks, column_parts_, static_cast<int>(task / block_parts_),
                   scratch.panel.data());
    }
  }

  /// The rows of a range of steps, for the sums of the weights' gradients.
  void gather(Index range, Index direction, StepRows<T>& rows) {
    const BackwardCell<T>& cell = cells_[static_cast<std::size_t>(direction)];
    const GateGradients<T> dgates = dgates_of(range, direction);
    std::size_t at = 0;
    for (Index step = steps_of(range).end - 1; step >= steps_of(range).begin; --step) {
      for (Index row = 0; row < alive(step); ++row, ++at) {
        const Index time = schedule_.time(row, step, cell.reversed);
        rows.gates[at] = dgates.at(step, row);
        rows.x[at] = cell.x.at(time, row);
        if (schedule_.cut(row, step, cell.reversed)) {
          rows.h_prev[at] = zeros_.data();
        } else {
          rows.h_prev[at] = step == 0 ? cell.h0.at(0, row) : cell.h.at(cell.reversed ? time + 1 : time - 1, row);
        }
      }
    }
    rows.count = static_cast<Index>(at);
  }

  /// dx = dgates W_ih for a share of the rows of a range of steps. Of two directions the second to come to a row adds
  /// its part to the first's; which one that is does not change the sum.
  void input_gradient(Index range, Index direction, Index share, Scratch& scratch) {
    const BackwardCell<T>& cell = cells_[static_cast<std::size_t>(direction)];
    const Range& steps = steps_of(range);
    const GateGradients<T> dgates = dgates_of(range, direction);
    Index count = 0, sums = 0;
    const auto compute = [&] {
      kernels::Product<T> product{};
      product.rows = count;
      product.depth = shape_.gates_width();
      product.columns = shape_.input;
      product.a = scratch.dx_from.data();
      product.panels = cell.weights->x.data();
      product.out = scratch.dx_to.data();
      product.panel_end = (shape_.input + shape_.block_width() - 1) / shape_.block_width();
      active_kernels<T>().product(product);
      for (Index i = 0; i < sums; ++i) {
        active_kernels<T>().add(scratch.dx.data() + i * shape_.input, scratch.dx_sum[static_cast<std::size_t>(i)],
                                shape_.input);
      }
      count = sums = 0;
    };
    const auto take = [&](Index step, Index row) {
      const Index time = schedule_.time(row, step, cell.reversed);
      const auto at = static_cast<std::size_t>(count++);
      scratch.dx_from[at] = dgates.at(step, row);
      scratch.dx_to[at] = dx_.at(time, row);
      if (directions() > 1) {
        const bool other_reversed = cells_[static_cast<std::size_t>(1 - direction)].reversed;
        const Index other_step = other_reversed ? schedule_.time(row, time, true) : time;
        if (other_step >= steps.end || (other_step >= steps.begin && direction == 1)) {
          scratch.dx_sum[static_cast<std::size_t>(sums)] = scratch.dx_to[at];
          scratch.dx_to[at] = scratch.dx.data() + sums++ * shape_.input;
        }
      }
      if (count == dx_rows) compute();
    };
    if (directions() == 1) {
      // Shares of equal size.
      const Range rows = split(count_rows(steps), static_cast<int>(dx_parts_), static_cast<int>(share));
      Index first = 0;
      for (Index step = steps.begin; step < steps.end; first += alive(step++)) {
        const Index end = std::min(rows.end - first, alive(step));
        for (Index row = std::max<Index>(rows.begin - first, 0); row < end; ++row) take(step, row);
      }
    } else {
      // Every share has rows of its own, because both directions add to them.
      for (Index step = steps.begin; step < steps.end; ++step) {
        for (Index row = share; row < alive(step); row += dx_parts_) take(step, row);
      }
    }
    if (count > 0) compute();
  }

  const CellShape& shape_;
  const Schedule& schedule_;
  const std::vector<BackwardCell<T>>& cells_;
  const RowMap<T> dx_;
  const int threads_;
  Walks<BackwardWalk<T>, BackwardCell<T>> walks_;
  const bool overlapped_;
  const std::vector<Range> ranges_;
  const Index ranges_kept_;  ///< whose gradients are in use at the same time
  Index most_rows_ = 0;      ///< of a range
  Buffer<T> dgates_;         ///< [direction][range][most_rows_][4 Hp]
  std::vector<WeightGradient<T>> gradients_;
  std::vector<T> zeros_;
  Index block_parts_ = 0;  ///< of a direction's weights
  int column_parts_ = 1;
  Index dx_parts_ = 0;
  std::vector<Scratch> scratch_;  ///< by thread
};

}  // namespace

template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                   const RowMap<T>& dx) {
  const int directions = static_cast<int>(cells.size());
  // The walk's product, and those of dx and dW.
  const double walk = walk_work(shape, schedule, {0, schedule.longest}, shape.hidden) * directions;
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
