// Forward: each part walks its rows through time, step by step.
#include <array>

#include "../runtime/isa.hpp"
#include "../runtime/policy.hpp"
#include "rnn_walk.hpp"

namespace lstmcore {
namespace {

using policy::wavefront_steps;

/// One part's walk. Pointers of the rows of a step are gathered here once per step; kernels see nothing else.
template <class T>
class ForwardWalk : public PartWalk<T, ForwardCell<T>> {
 public:
  ForwardWalk(const CellShape& shape, const Schedule& schedule, const ForwardCell<T>& cell, Part part)
      : Base(shape, schedule, cell, std::move(part)),
        chunk_steps_(input_chunk(shape.normed ? schedule.rows : rows_, schedule.longest)),
        fused_(chunk_steps_ == 1 && !shape.normed),
        zeros_(static_cast<std::size_t>(std::max(shape.padded(), shape.state)), T(0)),
        zoneout_(shape, cell.variant, rows_),
        statistics_(shape.normed ? part_.rows.size() * kernels::norm_statistics : 0) {
    lay_out_pointers();
    x_lowp_.prepare(cell.weights->x_lowp, rows_ * chunk_steps_);
    h_lowp_.prepare(cell.weights->h_lowp, rows_);
    m_lowp_.prepare(cell.weights->projection_lowp, rows_);
    if (fused_ || cell.gates) return;
    own_width_ = part_.blocks.size() * shape.block_width();
    own_gates_.resize(part_.rows.size() * static_cast<std::size_t>((shape.normed ? 1 : chunk_steps_) * own_width_));
  }

  /// Walks the steps of `range` in rising order. Returns the step before which it stopped because its threads should
  /// part or the call is to end, else the end.
  Index run(Range range) {
    const UnitSession session(cell_.weights->h_lowp.arithmetic());
    const InterruptWatch watch(part_.call, cell_.weights->h_lowp.arithmetic());
    return this->walk_up(
        watch, range, chunk_steps_,
        [&](Index first, Index last) {
          if (!fused_) project_input(first, last);
        },
        [&](Index step, Index first) { advance(step, shape_.normed ? 0 : (step - first) * rows_); });
  }

 private:
  using Base = PartWalk<T, ForwardCell<T>>;
  using Base::active_;
  using Base::cell_;
  using Base::kernels_;
  using Base::part_;
  using Base::row;
  using Base::rows_;
  using Base::schedule_;
  using Base::shape_;

  void lay_out_pointers() {
    pointers_ = PointerArrays([this](auto& layout) {
      layout.take(part_.rows.size(), x_, h_prev_, c_prev_, gates_, c_, h_, y_, h_last_, h_factor_, h_masked_,
                  projected_, norm_x_, norm_h_, fresh_c_, row_statistics_);
      if (!fused_) layout.take(part_.rows.size() * static_cast<std::size_t>(chunk_steps_), project_x_, project_out_);
    });
  }

  /// The column of a row of gates at which this part's blocks begin.
  Index first_column() const { return part_.blocks.begin * shape_.block_width(); }

  /// A product whose columns are the gates of this part's blocks.
  kernels::Product<T> gates_product(Index rows, const T* const* a, Index depth, const Buffer<T>& panels,
                                    T* const* out) const {
    const T* const own = panels.size() > 0 ? panels.data() + first_column() * depth : nullptr;
    return product_of<T>(rows, a, depth, own, part_.blocks.size() * shape_.block_width(), out,
                         {0, part_.blocks.size()});
  }

  /// Gates of this part's blocks: in the tape, or in scratch that holds no others.
  T* gates_of(Index slot, Index step, Index i) {
    if (cell_.gates) return cell_.gates.at(step, row(i)) + first_column();
    return own_gates_.data() + slot * own_width_;
  }

  /// Bias + W x of several steps, into the rows of gates.
  void project_input(Index first, Index last) {
    const Index count = this->each_row(first, last, [&](Index place, Index step, Index i) {
      project_x_[place] = cell_.x.at(schedule_.time(row(i), step, cell_.reversed), row(i));
      project_out_[place] = shape_.normed ? cell_.norm_x.at(step, row(i)) + first_column()
                                          : gates_of((step - first) * rows_ + i, step, i);
    });
    kernels::Product<T> product = gates_product(count, project_x_, shape_.input, cell_.weights->x, project_out_);
    if (!shape_.normed) product.bias = cell_.weights->bias.data() + first_column();
    multiply(product, cell_.weights->x_lowp, x_lowp_, part_.blocks.begin);
  }

  void gather(Index step, Index slot) {
    for (Index i = 0; i < active_; ++i) {
      const Index r = row(i);
      const Index time = schedule_.time(r, step, cell_.reversed);
      const Index before = cell_.reversed ? time + 1 : time - 1;
      if (fused_) x_[i] = cell_.x.at(time, r);
      if (!fused_ || cell_.gates) gates_[i] = gates_of(slot + i, step, i);
      if (schedule_.cut(r, step, cell_.reversed)) {
        h_prev_[i] = zeros_.data();
        c_prev_[i] = zeros_.data();
      } else {
        h_prev_[i] = step == cell_.first ? cell_.h0.at(0, r) : cell_.h.at(before, r);
        c_prev_[i] = step == cell_.first ? cell_.c0.at(0, r) : cell_.c.at(step - 1, r);
      }
      c_[i] = cell_.c.at(step, r);
      h_[i] = cell_.h.at(time, r);
      if (cell_.m) {
        projected_[i] = h_[i];
        h_[i] = cell_.m.at(step, r);
      }
      if (cell_.y) y_[i] = cell_.y.at(time, r);
      if (cell_.variant.options != nullptr) gather_variant(i, r, step, time);
    }
  }

  /// What else a cell with options needs: h before the step twice, as it is and as the product sees it, and masks.
  void gather_variant(Index i, Index r, Index step, Index time) {
    h_last_[i] = h_prev_[i];
    zoneout_.fill(i, schedule_.rows, schedule_.order[static_cast<std::size_t>(r)], schedule_.caller_time(time, r),
                  part_.blocks);
    if (!cell_.h_masked) return;
    h_factor_[i] = cell_.h_factor.at(0, r);
    h_masked_[i] = cell_.h_masked.at(step, r);
    if (schedule_.cut(r, step, cell_.reversed)) return;
    h_prev_[i] = step == cell_.first ? cell_.h0_masked.at(0, r) : cell_.h_masked.at(step - 1, r);
  }

  void advance(Index step, Index slot) {
    kernels::StepForward<T> s{};
    s.rows = active_;
    gather(step, slot);
    s.hidden = shape_.hidden;
    s.h_depth = shape_.state;
    s.block_begin = part_.blocks.begin;
    s.block_end = part_.blocks.end;
    s.backwards = (step % 2 != 0) != cell_.falling;
    s.x_depth = fused_ ? shape_.input : 0;
    s.x = x_;
    s.h_prev = h_prev_;
    s.c_prev = c_prev_;
    s.x_panels = cell_.weights->x.data();
    s.h_panels = cell_.weights->h.data();
    s.bias = cell_.weights->bias.data();
    s.gates = !fused_ || cell_.gates ? gates_ : nullptr;
    s.keep_gates = static_cast<bool>(cell_.gates);
    s.c = c_;
    s.h = h_;
    s.y = cell_.y && !cell_.m ? y_ : nullptr;
    s.extras = {cell_.variant.options, cell_.variant.peephole, cell_.m ? nullptr : zoneout_.h(), zoneout_.c()};
    s.h_last = h_last_;
    s.h_factor = h_factor_;
    s.h_masked = cell_.h_masked && !cell_.m ? h_masked_ : nullptr;
    if (shape_.normed) {
      normed_step(step, s);
    } else {
      s.lowp = lowp_of_step();
      kernels_.step_forward(s);
    }
    if (cell_.m) project();
  }

  /// Left factors of a step in a lower precision.
  const kernels::LowpStep* lowp_of_step() {
    const LowpPanels& h = cell_.weights->h_lowp;
    if (!h) return nullptr;
    set_rows(h_lowp_, h_prev_, active_);
    step_lowp_ = {h.arithmetic().unit, h.arithmetic().terms,        {}, h.factors(), nullptr,
                  h_lowp_.unsplit(),   h_lowp_.any_unsplit(active_)};
    h_lowp_.add_to(step_lowp_.h);
    if (!fused_) return &step_lowp_;
    set_rows(x_lowp_, x_, active_);
    step_lowp_.x = cell_.weights->x_lowp.factors();
    x_lowp_.add_to(step_lowp_.x);
    step_lowp_.x_unsplit = x_lowp_.unsplit();
    step_lowp_.any_unsplit = step_lowp_.any_unsplit || x_lowp_.any_unsplit(active_);
    return &step_lowp_;
  }

  /// A step with layer norms. Each norm needs all of a row, so the parts that share it meet before each.
  void normed_step(Index step, kernels::StepForward<T>& s) {
    for (Index i = 0; i < active_; ++i) {
      norm_x_[i] = cell_.norm_x.at(step, row(i));
      norm_h_[i] = cell_.norm_h.at(step, row(i)) + first_column();
      fresh_c_[i] = cell_.fresh_c.at(step, row(i));
      row_statistics_[i] = statistics_.data() + i * kernels::norm_statistics;
    }
    multiply(gates_product(active_, h_prev_, shape_.state, cell_.weights->h, norm_h_), cell_.weights->h_lowp, h_lowp_,
             part_.blocks.begin);
    part_.meeting.wait();
    for (Index i = 0; i < active_; ++i) norm_h_[i] -= first_column();
    s.norms = &cell_.variant.norms;
    s.blocks = shape_.blocks();
    s.norm_x = norm_x_;
    s.norm_h = norm_h_;
    s.fresh_c = fresh_c_;
    s.statistics = row_statistics_;
    kernels_.norm_gates(s);
    part_.meeting.wait();
    kernels_.norm_output(s);
    for (Index i = 0; cell_.statistics && part_.share == 0 && i < active_; ++i) {
      std::copy_n(row_statistics_[i], kernels::norm_statistics, cell_.statistics.at(step, row(i)));
    }
  }

  /// h = clip(R m) after zoneout, for this part's share of the columns.
  void project() {
    part_.meeting.wait();  // m is complete
    const Index width = shape_.block_width();
    const Range panels = split((shape_.state + width - 1) / width, part_.shares, part_.share);
    const Buffer<T>& projection = cell_.weights->projection;
    multiply(product_of<T>(active_, h_, shape_.hidden, projection.data(), shape_.state, projected_, panels),
             cell_.weights->projection_lowp, m_lowp_);
    const Index first = panels.begin * width, count = std::min(panels.end * width, shape_.state) - first;
    for (Index i = 0; i < active_ && count > 0; ++i) {
      T* const h = projected_[i] + first;
      if (cell_.proj_clip > 0) kernels_.clip(h, cell_.proj_clip, count);
      if (zoneout_.h() != nullptr) {
        zone_out(h_last_[i] + first, zoneout_.h()[i] + first, h, count);
      } else if (cell_.variant.proj_zoneout > 0) {
        zone_out(h_last_[i] + first, cell_.variant.proj_zoneout, h, count);
      }
      if (cell_.y) std::copy(h, h + count, y_[i] + first);
      if (cell_.h_masked) {
        std::copy(h, h + count, h_masked_[i] + first);
        kernels_.multiply(h_factor_[i] + first, h_masked_[i] + first, count);
      }
    }
  }

  const Index chunk_steps_;  ///< whose input part is one product
  const bool fused_;         ///< input and recurrent part in one pass
  Index own_width_ = 0;
  Buffer<T> own_gates_;
  std::vector<T> zeros_;
  ZoneoutRows<T> zoneout_;
  std::vector<T> statistics_;  ///< of the norms of a step
  LowpRows x_lowp_, h_lowp_, m_lowp_;
  kernels::LowpStep step_lowp_{};
  PointerArrays pointers_;
  const T **x_, **h_prev_, **c_prev_, **h_last_, **h_factor_, **norm_x_, **project_x_ = nullptr;
  T **gates_, **c_, **h_, **y_, **h_masked_, **projected_, **norm_h_, **fresh_c_, **row_statistics_,
      **project_out_ = nullptr;
};

template <class Walk, class T>
void walk_layer(const CellShape& shape, const Schedule& schedule, const std::vector<ForwardCell<T>>& cells,
                Range steps) {
  const int directions = static_cast<int>(cells.size());
  const int threads = threads_for(walk_work(shape, schedule, steps, shape.input + shape.state) * directions);
  const Partition partition = choose_partition(shape, schedule, directions, threads, 1, active_kernels<T>().tile_rows);
  std::array<Index, 2> next{steps.begin, steps.begin};  // by direction, the step that its parts have reached
  {
    Walks<Walk, ForwardCell<T>> walks(shape, schedule, cells, partition, 1);
    const int team = static_cast<int>(std::min<Index>(walks.size(), partition.threads));
    // All parts of a direction stop at the same step, and one of them says so.
    const auto run = [&](Index task, int) {
      const Index stopped = walks[task].run(steps);
      if (task < directions) next[static_cast<std::size_t>(task)] = stopped;
    };
    if (partition.split_units) {
      parallel_phases(
          team, 1, [&](Index) { return walks.size(); }, [&](Index, Index task, int thread) { run(task, thread); });
    } else {
      parallel_tasks(team, walks.size(), run);
    }
  }
  InterruptWatch::end_if_stopped();
  if (next[0] == steps.end && (directions == 1 || next[1] == steps.end)) return;
  Walks<Walk, ForwardCell<T>> alone(shape, schedule, cells, Partition{}, 1);
  for (Index direction = 0; direction < directions; ++direction) {
    alone[direction].run({next[static_cast<std::size_t>(direction)], steps.end});
  }
  InterruptWatch::end_if_stopped();
}

template <class Walk, class T>
void walk_layers(const Schedule& schedule, const std::vector<ForwardWavefrontLayer<T>>& layers, Range steps,
                 int threads) {
  std::vector<Walk> walks;
  walks.reserve(layers.size());
  for (const ForwardWavefrontLayer<T>& layer : layers) {
    walks.emplace_back(layer.shape, schedule, *layer.cell, make_part(layer.shape, schedule, 0, Partition{}, 0, 1));
  }
  const Index waves = (steps.size() + wavefront_steps - 1) / wavefront_steps;
  const Index count = static_cast<Index>(layers.size());
  const auto first_layer = [&](Index phase) { return std::max<Index>(0, phase - waves + 1); };
  const auto run = [&](int team) {
    return parallel_phases<StepBarrier>(
        team, waves + count - 1, [&](Index phase) { return std::min(phase, count - 1) - first_layer(phase) + 1; },
        [&](Index phase, Index task, int) {
          const Index layer = first_layer(phase) + task, wave = phase - layer;
          const Index first = steps.begin + wave * wavefront_steps;
          walks[static_cast<std::size_t>(layer)].run({first, std::min(first + wavefront_steps, steps.end)});
        });
  };
  if (!run(threads)) run(1);
  InterruptWatch::end_if_stopped();
}

}  // namespace

template <class T>
void walk_forward(const CellShape& shape, const Schedule& schedule, const std::vector<ForwardCell<T>>& cells,
                  Range steps) {
  if (shape.simple()) return walk_layer<RnnForwardWalk<T>>(shape, schedule, cells, steps);
  walk_layer<ForwardWalk<T>>(shape, schedule, cells, steps);
}

template <class T>
void walk_wavefront(const Schedule& schedule, const std::vector<ForwardWavefrontLayer<T>>& layers, Range steps,
                    int threads) {
  if (layers.front().shape.simple()) return walk_layers<RnnForwardWalk<T>>(schedule, layers, steps, threads);
  walk_layers<ForwardWalk<T>>(schedule, layers, steps, threads);
}

template void walk_forward(const CellShape&, const Schedule&, const std::vector<ForwardCell<float>>&, Range);
template void walk_forward(const CellShape&, const Schedule&, const std::vector<ForwardCell<double>>&, Range);
template void walk_wavefront(const Schedule&, const std::vector<ForwardWavefrontLayer<float>>&, Range, int);
template void walk_wavefront(const Schedule&, const std::vector<ForwardWavefrontLayer<double>>&, Range, int);

}  // namespace lstmcore
