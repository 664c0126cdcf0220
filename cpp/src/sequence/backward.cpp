// Backward: each part walks its rows back through time; then dx as one product over all rows of all times.
#include "../isa/isa.hpp"
#include "walk.hpp"

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

  void run() {
    if (part_.rows.empty()) return;
    for (Index step = length(0) - 1; step >= 0; --step) {
      while (alive_ < static_cast<Index>(part_.rows.size()) && length(alive_) > step) ++alive_;
      gather(step);
      cell_step();
      // The products below read all gates of a row, of which other parts wrote theirs.
      if (part_.meeting != nullptr) part_.meeting->wait();
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

}  // namespace

template <class T>
void walk_backward(const CellShape& shape, const Schedule& schedule, const std::vector<BackwardCell<T>>& cells) {
  const int directions = static_cast<int>(cells.size());
  const int threads = threads_for(walk_work(shape, schedule, shape.hidden) * directions);
  // A part owns the hidden units whose dh it computes: whole panels of the product.
  const Index granularity = kernels::panel_vectors;
  const Partition partition =
      choose_partition(shape, schedule, directions, threads, granularity, active_kernels<T>().tile_rows);
  run_parts(shape, schedule, directions, partition, granularity, [&](Part part) {
    const BackwardCell<T>& cell = cells[part.direction];
    return BackwardWalk<T>(shape, schedule, cell, std::move(part));
  });
}

template <class T>
void input_gradient(const CellShape& shape, const Schedule& schedule, const BackwardPanels<T>& weights,
                    const RowMap<const T>& gates, const RowMap<T>& dx, bool accumulate) {
  constexpr Index rows_at_once = 96;
  struct Place {
    Index time, row;
  };
  const double flops = static_cast<double>(schedule.total * shape.gates_width() * shape.input) * 2;
  const int threads = threads_for(flops);
  parallel(threads, [&](int index) {
    const Range range = split(schedule.total, threads, index);
    std::vector<const T*> from(static_cast<std::size_t>(rows_at_once));
    std::vector<T*> to(from.size());
    // Packed order is by time, then row.
    Place place{0, 0};
    while (place.time + 1 < schedule.longest && schedule.packed(place.time + 1, 0) <= range.begin) ++place.time;
    place.row = schedule.longest > 0 ? range.begin - schedule.packed(place.time, 0) : 0;
    for (Index first = range.begin; first < range.end; first += rows_at_once) {
      const Index count = std::min(rows_at_once, range.end - first);
      for (Index i = 0; i < count; ++i) {
        from[static_cast<std::size_t>(i)] = gates.at(place.time, place.row);
        to[static_cast<std::size_t>(i)] = dx.at(place.time, place.row);
        if (++place.row == schedule.alive[static_cast<std::size_t>(place.time)]) place = {place.time + 1, 0};
      }
      kernels::Product<T> product{};
      product.rows = count;
      product.depth = shape.gates_width();
      product.columns = shape.input;
      product.a = from.data();
      product.panels = weights.x.data();
      product.out = to.data();
      product.accumulate = accumulate;
      product.panel_end = (shape.input + shape.block_width() - 1) / shape.block_width();
      active_kernels<T>().product(product);
    }
  });
}

template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<float>>&);
template void walk_backward(const CellShape&, const Schedule&, const std::vector<BackwardCell<double>>&);
template void input_gradient(const CellShape&, const Schedule&, const BackwardPanels<float>&,
                             const RowMap<const float>&, const RowMap<float>&, bool);
template void input_gradient(const CellShape&, const Schedule&, const BackwardPanels<double>&,
                             const RowMap<const double>&, const RowMap<double>&, bool);

}  // namespace lstmcore
