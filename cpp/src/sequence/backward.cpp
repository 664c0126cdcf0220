// Backward: each part walks its rows back through time; the products over all rows of all times follow it.
#include <array>
#include <cmath>

#include "../runtime/isa.hpp"
#include "weight_gradient.hpp"

namespace lstmcore {
namespace {

/// Gradients by the pre-activations of a set's rows of a range of steps.
template <class T>
struct GateGradients {
  const RowSet* set = nullptr;
  T* base = nullptr;
  Index width = 0;       ///< of a row of gradients
  Index first_step = 0;  ///< of the range
  T* at(Index step, Index row) const {
    return base + (set->begin(step) - set->begin(first_step) + set->position[static_cast<std::size_t>(row)]) * width;
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
        zoneout_(shape, cell.variant, static_cast<Index>(part_.rows.size())),
        pointers_(17 * part_.rows.size()) {
    const std::size_t size = part_.rows.size();
    dy_ = pointers_.take<const T*>(size);
    c_prev_ = pointers_.take<const T*>(size);
    c_ = pointers_.take<const T*>(size);
    gates_ = pointers_.take<const T*>(size);
    dh_ = pointers_.take<T*>(size);
    dc_ = pointers_.take<T*>(size);
    dgates_ = pointers_.take<T*>(size);
    dh_kept_ = pointers_.take<T*>(size);
    h_ = pointers_.take<const T*>(size);
    h_last_ = pointers_.take<const T*>(size);
    dr_ = pointers_.take<T*>(size);
    dm_ = pointers_.take<T*>(size);
    norm_x_ = pointers_.take<const T*>(size);
    norm_h_ = pointers_.take<const T*>(size);
    statistics_ = pointers_.take<const T*>(size);
    dh_product_ = pointers_.take<T*>(size);
    dgates_lowp_.prepare(cell.weights->h_lowp, static_cast<Index>(size));
    dr_lowp_.prepare(cell.weights->projection_lowp, static_cast<Index>(size));
  }

  /// Walks back over some steps; to be called from the last ones on. The gradients by the pre-activations of all rows
  /// of these steps, and no others, go to `dgates`, with a projection those by h to `dr`.
  void run(Range steps, const GateGradients<T>& dgates, const GateGradients<T>& dr) {
    if (part_.rows.empty()) return;
    for (Index step = std::min(steps.end, length(0)) - 1; step >= steps.begin; --step) {
      while (alive_ < static_cast<Index>(part_.rows.size()) && length(alive_) > step) ++alive_;
      gather(step, dgates, dr);
      if (cell_.m) projection_step();
      cell_step();
      // The products below read all gates of a row, of which other parts wrote theirs.
      part_.meeting.wait();
      state_step(step);
    }
  }

 private:
  Index row(Index i) const { return part_.rows[static_cast<std::size_t>(i)]; }
  Index length(Index i) const { return schedule_.length[static_cast<std::size_t>(row(i))]; }

  void gather(Index step, const GateGradients<T>& dgates, const GateGradients<T>& dr) {
    for (Index i = 0; i < alive_; ++i) {
      const Index r = row(i);
      const Index time = schedule_.time(r, step, cell_.reversed);
      if (cell_.dy) dy_[i] = cell_.dy.at(time, r);
      dh_[i] = cell_.dh.at(0, r);
      dc_[i] = cell_.dc.at(0, r);
      gates_[i] = cell_.gates.at(step, r);
      dgates_[i] = dgates.at(step, r);
      dh_product_[i] = dgates_[i] + shape_.h_gradients();
      if (shape_.normed) {
        norm_x_[i] = cell_.norm_x.at(step, r);
        norm_h_[i] = cell_.norm_h.at(step, r);
        statistics_[i] = cell_.statistics.at(step, r);
      }
      c_[i] = cell_.c.at(step, r);
      if (cell_.m) {
        h_[i] = cell_.h.at(time, r);
        // Of the expectation, without masks, so the product saw what was there.
        h_last_[i] = schedule_.cut(r, step, cell_.reversed) ? zeros_.data() : cell_.h_before(step, time, r);
        dr_[i] = dr.at(step, r);
        dm_[i] = cell_.dm.at(0, r);
      }
      c_prev_[i] = schedule_.cut(r, step, cell_.reversed) ? zeros_.data() : cell_.c_before(step, r);
      if (cell_.variant.options == nullptr) continue;
      if (cell_.dh_kept) dh_kept_[i] = cell_.dh_kept.at(0, r);
      zoneout_.fill(i, schedule_.rows, schedule_.order[static_cast<std::size_t>(r)], schedule_.caller_time(time, r),
                    part_.blocks);
    }
  }

  /// Panels of this part's own hidden units.
  Range unit_panels() const {
    const Index blocks = kernels::panel_vectors;
    return {part_.blocks.begin / blocks, (part_.blocks.end + blocks - 1) / blocks};
  }
  /// Panels of this part's features of h: of its own hidden units, or its share of the projection.
  Range state_panels() const {
    const Index width = shape_.block_width();
    return cell_.m ? split((shape_.state + width - 1) / width, part_.shares, part_.share) : unit_panels();
  }
  Range state_columns() const {
    const Index width = shape_.block_width();
    return {state_panels().begin * width, std::min(state_panels().end * width, shape_.state)};
  }

  /// From dh and dy the gradient by the projected h, and from that dm, of which dh is the projection.
  void projection_step() {
    const Range columns = state_columns();
    const T rate = cell_.variant.proj_zoneout;
    for (Index i = 0; i < alive_; ++i) {
      const T* const masks = zoneout_.h() != nullptr ? zoneout_.h()[i] : nullptr;
      for (Index k = columns.begin; k < columns.end; ++k) {
        T sum = cell_.dy ? dh_[i][k] + dy_[i][k] : dh_[i][k];
        if (cell_.dh_kept) sum = fresh_share(sum, masks != nullptr ? masks + k : nullptr, rate, dh_kept_[i][k]);
        const T before = rate > 0 ? h_last_[i][k] : T(0);
        dr_[i][k] = inside_bound(h_[i][k], cell_.proj_clip, before, rate) ? sum : T(0);
      }
    }
    part_.meeting.wait();  // all columns are there
    multiply(
        product_of<T>(alive_, dr_, shape_.state, cell_.weights->projection.data(), shape_.hidden, dm_, unit_panels()),
        cell_.weights->projection_lowp, dr_lowp_);
  }

  void cell_step() {
    kernels::StepBackward<T> s{};
    s.rows = alive_;
    s.hidden = shape_.hidden;
    s.block_begin = part_.blocks.begin;
    s.block_end = part_.blocks.end;
    s.dy = cell_.dy && !cell_.m ? dy_ : nullptr;
    s.dh = cell_.m ? dm_ : dh_;
    s.dc = dc_;
    s.c_prev = c_prev_;
    s.c = c_;
    s.gates = gates_;
    s.dgates = dgates_;
    s.extras = {cell_.variant.options, cell_.variant.peephole, cell_.m ? nullptr : zoneout_.h(), zoneout_.c()};
    s.dh_kept = dh_kept_;
    if (!shape_.normed) {
      kernels_.step_backward(s);
      return;
    }
    s.norms = &cell_.variant.norms;
    s.blocks = shape_.blocks();
    s.norm_x = norm_x_;
    s.norm_h = norm_h_;
    s.statistics = statistics_;
    kernels_.norm_output_backward(s);
    part_.meeting.wait();  // the norm of c needs all of a row, and so do the others
    kernels_.norm_gates_backward(s);
    part_.meeting.wait();
    kernels_.norm_rows_backward(s);
  }

  /// dh of the step before = dgates W_hh, for this part's own hidden units or share of the projection.
  void state_step(Index step) {
    multiply(product_of<T>(alive_, dh_product_, shape_.gates_width(), cell_.weights->h.data(), shape_.state, dh_,
                           state_panels()),
             cell_.weights->h_lowp, dgates_lowp_);
    const Index first = state_columns().begin, columns = std::max<Index>(state_columns().size(), 0);
    for (Index i = 0; cell_.variant.h_factor && i < alive_; ++i) {
      kernels_.multiply(cell_.variant.h_factor.at(0, row(i)) + first, dh_[i] + first, columns);
    }
    for (Index i = 0; cell_.dh_kept && i < alive_; ++i) kernels_.add(dh_kept_[i] + first, dh_[i] + first, columns);
    if (schedule_.resets.empty()) return;
    for (Index i = 0; i < alive_; ++i) {
      if (!schedule_.cut(row(i), step, cell_.reversed)) continue;
      std::fill(dc_[i] + part_.blocks.begin * shape_.lanes, dc_[i] + part_.blocks.end * shape_.lanes, T(0));
      std::fill_n(dh_[i] + first, columns, T(0));
    }
  }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const BackwardCell<T>& cell_;
  Part part_;
  Index alive_ = 0;
  std::vector<T> zeros_;
  ZoneoutRows<T> zoneout_;
  PointerArrays pointers_;
  LowpRows dgates_lowp_, dr_lowp_;
  const T **dy_, **c_prev_, **c_, **gates_, **h_, **h_last_, **norm_x_, **norm_h_, **statistics_;
  T **dh_, **dc_, **dgates_, **dh_product_, **dh_kept_, **dr_, **dm_;
};

/// Steps that are walked before the products over their rows follow: few enough for what the walk has just written to
/// be still in a cache.
std::vector<Range> cut_steps(const CellShape& shape, const RowSet& set, const RowSet& group, Range steps,
                             Index itemsize, bool idle_threads) {
  const Index most_rows = range_rows(shape, set.count(steps), itemsize, idle_threads);
  std::vector<Range> ranges;
  for (Index end = steps.end; end > steps.begin;) {
    Index begin = end - 1;
    while (begin > steps.begin && set.count({begin - 1, end}) <= most_rows) --begin;
    // Whole blocks of a group need no sums of their own.
    Index whole = end - 1;
    while (whole > steps.begin && 4 * set.count({whole - 1, end}) <= 5 * most_rows) --whole;
    while (whole < end && whole > steps.begin && !group.closes_at(whole)) ++whole;
    if (whole < end && !idle_threads) begin = whole;
    ranges.push_back({begin, end});
    end = begin;
  }
  return ranges;
}

/// The backward of a layer.
///
/// If every thread walks rows of its own, it also computes dx and the sums for dW and db of just these: nothing that
/// one core writes is read by another, except for the sums, at the end. Otherwise the work is cut into phases: a range
/// of steps is walked, then dx, dW and db of its rows follow, cut in other ways. If the walk has fewer parts than there
/// are threads, the next range is walked meanwhile.
template <class T>
class LayerBackward {
 public:
  LayerBackward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                const RowMap<T>& dx, WeightSums<T>& sums, Range steps, Partition partition, int threads)
      : shape_(shape),
        schedule_(schedule),
        cells_(cells),
        dx_(dx),
        sums_(sums),
        steps_(steps),
        threads_(threads),
        walks_(shape, schedule, cells, partition, kernels::panel_vectors),
        overlapped_(walks_.size() < threads) {
    const int groups = static_cast<int>(sums.groups().size());
    own_rows_ = threads > 1 && cells.size() == 1 && !partition.split_units && partition.parts == threads &&
                groups % threads == 0;
    const int sets = own_rows_ ? threads : 1;
    sets_.reserve(static_cast<std::size_t>(sets));
    for (int set = 0; set < sets; ++set) sets_.emplace_back(*this, sets, set);
    const Index widest = std::max({shape.padded(), shape.state, sums.row_multiple() > 1 ? shape.input : 0,
                                   sums.row_multiple() > 1 ? shape.gradients_width() : 0});
    zeros_.resize(static_cast<std::size_t>(widest), T(0));

    const Index segments = threads == 1 ? 1 : 2 * threads;
    block_parts_ = sums.wanted() ? std::min(segments, shape.blocks()) : 0;
    column_parts_ = sums.wanted() ? static_cast<int>((segments + block_parts_ - 1) / block_parts_) : 1;
    dx_parts_ = dx ? segments : 0;
    for (int thread = 0; thread < threads; ++thread) scratch_.emplace_back(*this);
  }

  /// False if the system does not give the threads.
  bool run() {
    const auto scratch = [&](int thread) -> Scratch& { return scratch_[static_cast<std::size_t>(thread)]; };
    if (own_rows_) {
      return parallel_phases(
          threads_, completes() ? 2 : 1, [&](Index phase) { return phase == 0 ? Index{threads_} : block_parts_; },
          [&](Index phase, Index task, int thread) {
            const UnitSession session(shape_.arithmetic);
            if (phase == 0) {
              run_set(task, scratch(thread));
            } else {
              sums_.write(schedule_, 0, blocks_of(task));
            }
          });
    }
    return parallel_phases(
        threads_, last_phase() + 1, [&](Index phase) { return tasks(phase).end(); },
        [&](Index phase, Index task, int thread) {
          const UnitSession session(shape_.arithmetic);
          run_task(phase, task, scratch(thread));
        });
  }

 private:
  /// Rows of dx that are computed as one product.
  static constexpr Index dx_rows = 96;

  /// Rows with what their walk leaves for the products.
  struct Set {
    RowSet rows;
    std::vector<Range> ranges;  ///< of steps, as they are walked
    Index ranges_kept;          ///< whose gradients are in use at the same time
    Index most_rows = 0;        ///< of a range
    Buffer<T> dgates;           ///< [direction][range][most_rows][gradients]
    Buffer<T> dr;               ///< [direction][range][most_rows][padded P], with a projection

    Set(const LayerBackward& layer, int sets, int set)
        : rows(layer.schedule_, sets, set),
          ranges(
              cut_steps(layer.shape_, rows, layer.sums_.group(0), layer.steps_of(rows), sizeof(T), layer.overlapped_)),
          ranges_kept(layer.overlapped_ ? 2 : 1) {
      for (const Range& steps : ranges) most_rows = std::max(most_rows, rows.count(steps));
      dgates.resize(
          static_cast<std::size_t>(layer.directions() * ranges_kept * most_rows * layer.shape_.gradients_width()));
      if (!layer.shape_.projected) return;
      dr.resize(static_cast<std::size_t>(layer.directions() * ranges_kept * most_rows * layer.shape_.state_padded()));
    }
    Index range_count() const { return static_cast<Index>(ranges.size()); }
    const Range& steps(Index range) const { return ranges[static_cast<std::size_t>(range)]; }
    GateGradients<T> dgates_of(const CellShape& shape, Index range, Index direction) {
      const Index width = shape.gradients_width();
      T* const base = dgates.data() + (direction * ranges_kept + range % ranges_kept) * most_rows * width;
      return {&rows, base, width, steps(range).begin};
    }
    GateGradients<T> dr_of(const CellShape& shape, Index range, Index direction) {
      const Index width = shape.state_padded();
      T* const base = dr.data() + (direction * ranges_kept + range % ranges_kept) * most_rows * width;
      return {&rows, base, width, steps(range).begin};
    }
  };

  /// What a thread needs for its tasks.
  struct Scratch {
    StepRows<T> rows;  ///< of a range
    Buffer<T> panel;   ///< of `WeightGradient::add`
    LowpGradient lowp;
    Buffer<T> dx;  ///< of one direction, to be added to the other's
    LowpRows dx_lowp;
    std::array<const T*, dx_rows> dx_from;
    std::array<T*, dx_rows> dx_to, dx_sum;

    explicit Scratch(const LayerBackward& layer) {
      if (layer.sums_.wanted()) {
        for (const Set& set : layer.sets_) {
          Index most_steps = 0;
          for (const Range& steps : set.ranges) most_steps = std::max(most_steps, steps.size());
          const Index filled = set.most_rows + most_steps * (layer.sums_.row_multiple() - 1);
          const auto size = std::max(rows.gates.size(), static_cast<std::size_t>(filled));
          rows.gates.resize(size);
        }
        rows.x.resize(rows.gates.size());
        rows.h_prev.resize(rows.gates.size());
        const bool normed = layer.shape_.normed;
        rows.norm_x.resize(normed ? rows.gates.size() : 0);
        rows.norm_h.resize(rows.norm_x.size());
        rows.statistics.resize(rows.norm_x.size());
        rows.activations.resize(layer.sums_.peephole_wanted() ? rows.gates.size() : 0);
        rows.c_prev.resize(rows.activations.size());
        rows.m.resize(layer.shape_.projected ? rows.gates.size() : 0);
        rows.dr.resize(rows.m.size());
        panel.resize(static_cast<std::size_t>(WeightGradient<T>::scratch_size(layer.shape_)));
        if (layer.sums_.row_multiple() > 1) lowp.prepare(layer.shape_);
      }
      if (layer.dx_) {
        for (const BackwardCell<T>& cell : layer.cells_) dx_lowp.prepare(cell.weights->x_lowp, dx_rows);
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
  /// Whether the sums of the weights' gradients are complete after these steps.
  bool completes() const { return steps_.begin == 0; }
  /// The steps that there are of some rows.
  Range steps_of(const RowSet& rows) const { return {steps_.begin, std::min(steps_.end, rows.longest(schedule_))}; }
  Range blocks_of(Index part) const {
    return split(shape_.blocks(), static_cast<int>(block_parts_), static_cast<int>(part));
  }

  /// Everything but the end, for the rows that one thread walks.
  void run_set(Index index, Scratch& scratch) {
    Set& set = sets_[static_cast<std::size_t>(index)];
    const Index groups = static_cast<Index>(sums_.groups().size()) / threads_;
    for (Index range = 0; range < set.range_count(); ++range) {
      walks_[index].run(set.steps(range), set.dgates_of(shape_, range, 0), set.dr_of(shape_, range, 0));
      if (dx_) input_gradient(set, range, 0, 0, 1, scratch);
      if (!sums_.wanted()) continue;
      for (Index group = index * groups; group < (index + 1) * groups; ++group) {
        // Shares of rows that are dealt in turn interleave; those in one range follow each other.
        const Index own = schedule_.ragged() ? index + (group - index * groups) * threads_ : group;
        add_weight_gradient(set, range, 0, own, {0, shape_.blocks()}, 1, 0, scratch);
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
      tasks.sums = directions() * block_parts_ * column_parts_;
    }
    if (phase == last_phase() && completes()) tasks.writes = directions() * block_parts_;
    return tasks;
  }

  void run_task(Index phase, Index task, Scratch& scratch) {
    Set& set = sets_.front();
    const Tasks tasks = this->tasks(phase);
    if (task < tasks.walks) {
      const Index range = walk_range(phase);
      walks_[task].run(set.steps(range), set.dgates_of(shape_, range, task % directions()),
                       set.dr_of(shape_, range, task % directions()));
      return;
    }
    task -= tasks.walks;
    if (task < tasks.dx) {
      for (Index direction = 0; direction < directions(); ++direction) {
        input_gradient(set, product_range(phase), direction, task, dx_parts_, scratch);
      }
      return;
    }
    task -= tasks.dx;
    const Index direction = task % directions();
    task /= directions();
    const Range blocks = blocks_of(task % block_parts_);
    if (phase == last_phase()) {
      sums_.write(schedule_, direction, blocks);
      return;
    }
    for (Index group = 0; group < static_cast<Index>(sums_.groups().size()); ++group) {
      add_weight_gradient(set, product_range(phase), direction, group, blocks, column_parts_,
                          static_cast<int>(task / block_parts_), scratch);
    }
  }

  void add_weight_gradient(Set& set, Index range, Index direction, Index group, Range blocks, int column_parts,
                           int column_part, Scratch& scratch) {
    const RowSet& rows = sums_.group(group);
    gather(set, range, direction, rows, scratch.rows);
    const bool first = rows.longest(schedule_) <= set.steps(range).end;
    sums_.of(direction, group)
        .add(scratch.rows, first, blocks, column_parts, column_part, scratch.panel.data(), scratch.lowp);
  }

  /// A group's rows of a range of steps, for the sums of the weights' gradients.
  void gather(Set& set, Index range, Index direction, const RowSet& group, StepRows<T>& rows) {
    const BackwardCell<T>& cell = cells_[static_cast<std::size_t>(direction)];
    const GateGradients<T> dgates = set.dgates_of(shape_, range, direction);
    const GateGradients<T> dr = set.dr_of(shape_, range, direction);
    const Range steps = set.steps(range);
    const bool fresh = steps.end >= group.longest(schedule_) || group.closes_at(steps.end);
    SumBlock block{0, 0, fresh, false, false};
    rows.blocks.clear();
    std::size_t at = 0;
    for (Index step = steps.end - 1; step >= steps.begin; --step) {
      for (Index i = 0; i < group.alive(step); ++i, ++at) {
        const Index row = group.row(i);
        const Index time = schedule_.time(row, step, cell.reversed);
        rows.gates[at] = dgates.at(step, row);
        rows.x[at] = cell.x.at(time, row);
        const bool cut = schedule_.cut(row, step, cell.reversed);
        rows.h_prev[at] = cut ? zeros_.data() : cell.h_before(step, time, row);
        if (!rows.norm_x.empty()) {
          rows.norm_x[at] = cell.norm_x.at(step, row);
          rows.norm_h[at] = cell.norm_h.at(step, row);
          rows.statistics[at] = cell.statistics.at(step, row);
        }
        if (!rows.m.empty()) {
          rows.m[at] = cell.m.at(step, row);
          rows.dr[at] = dr.at(step, row);
        }
        if (rows.activations.empty()) continue;
        rows.activations[at] = cell.gates.at(step, row);
        rows.c_prev[at] = cut ? zeros_.data() : cell.c_before(step, row);
      }
      for (; static_cast<Index>(at) % sums_.row_multiple() != 0; ++at) fill_up(rows, at);
      if (step > steps.begin && !group.closes_at(step)) continue;
      block.end = static_cast<Index>(at);
      block.ends = group.closes_at(step);
      block.first = step >= group.first_closed;
      if (block.end > block.begin) rows.blocks.push_back(block);
      block = {block.end, block.end, true, false, false};
    }
    rows.count = static_cast<Index>(at);
  }

  /// A row that adds nothing.
  void fill_up(StepRows<T>& rows, std::size_t at) {
    rows.gates[at] = zeros_.data();
    rows.x[at] = rows.h_prev[at] = zeros_.data();
    if (!rows.m.empty()) rows.m[at] = rows.dr[at] = zeros_.data();
    if (!rows.activations.empty()) rows.activations[at] = rows.c_prev[at] = zeros_.data();
  }

  /// dx = dgates W_ih for a share of the rows of a range of steps. Of two directions the second to come to a row adds
  /// its part to the first's; which one that is does not change the sum.
  void input_gradient(Set& set, Index range, Index direction, Index share, Index shares, Scratch& scratch) {
    const BackwardCell<T>& cell = cells_[static_cast<std::size_t>(direction)];
    const Range& steps = set.steps(range);
    const GateGradients<T> dgates = set.dgates_of(shape_, range, direction);
    Index count = 0, sums = 0;
    const auto compute = [&] {
      const Range panels{0, (shape_.input + shape_.block_width() - 1) / shape_.block_width()};
      multiply(product_of<T>(count, scratch.dx_from.data(), shape_.gates_width(), cell.weights->x.data(), shape_.input,
                             scratch.dx_to.data(), panels),
               cell.weights->x_lowp, scratch.dx_lowp);
      for (Index i = 0; i < sums; ++i) {
        active_kernels<T>().add(scratch.dx.data() + i * shape_.input, scratch.dx_sum[static_cast<std::size_t>(i)],
                                shape_.input);
      }
      count = sums = 0;
    };
    const auto take = [&](Index step, Index row) {
      const Index time = schedule_.time(row, step, cell.reversed);
      const auto at = static_cast<std::size_t>(count++);
      scratch.dx_from[at] = dgates.at(step, row) + shape_.x_gradients();
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
      const Range rows = split(set.rows.count(steps), static_cast<int>(shares), static_cast<int>(share));
      Index first = 0;
      for (Index step = steps.begin; step < steps.end; first += set.rows.alive(step++)) {
        const Index end = std::min(rows.end - first, set.rows.alive(step));
        for (Index i = std::max<Index>(rows.begin - first, 0); i < end; ++i) take(step, set.rows.row(i));
      }
    } else {
      // Every share has rows of its own, because both directions add to them.
      for (Index step = steps.begin; step < steps.end; ++step) {
        for (Index i = share; i < set.rows.alive(step); i += shares) take(step, set.rows.row(i));
      }
    }
    if (count > 0) compute();
  }

  const CellShape& shape_;
  const Schedule& schedule_;
  const std::vector<BackwardCell<T>>& cells_;
  const RowMap<T> dx_;
  WeightSums<T>& sums_;
  const Range steps_;
  const int threads_;
  Walks<BackwardWalk<T>, BackwardCell<T>> walks_;
  const bool overlapped_;
  bool own_rows_ = false;
  std::vector<Set> sets_;  ///< one, or one a thread
  std::vector<T> zeros_;
  Index block_parts_ = 0;  ///< of a direction's weights
  int column_parts_ = 1;
  Index dx_parts_ = 0;
  std::vector<Scratch> scratch_;  ///< by thread
};

}  // namespace

template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells,
                   const RowMap<T>& dx, WeightSums<T>& sums, Range steps) {
  const int directions = static_cast<int>(cells.size());
  const BackwardWork work = backward_work(shape, schedule, steps, directions);
  const int threads = threads_for(work.walk + work.products);
  // A part owns the hidden units whose dh it computes: whole panels of the product.
  const Partition partition = choose_partition(shape, schedule, directions, threads_for(work.walk),
                                               kernels::panel_vectors, active_kernels<T>().tile_rows);
  if (!LayerBackward<T>(shape, schedule, cells, dx, sums, steps, partition, threads).run()) {
    LayerBackward<T>(shape, schedule, cells, dx, sums, steps, Partition{}, 1).run();
  }
}

template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<float>>&,
                            const RowMap<float>&, WeightSums<float>&, Range);
template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<double>>&,
                            const RowMap<double>&, WeightSums<double>&, Range);

}  // namespace lstmcore
