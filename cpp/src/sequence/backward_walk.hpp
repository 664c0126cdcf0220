// The walk of one part of a layer back through time.
#pragma once

#include "part_walk.hpp"
#include "row_set.hpp"

namespace lstmcore {

/// Gradients with respect to the pre-activations, or to a projected h, of a set's rows of a range of steps.
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

/// The walk of one part back through time: it gathers the pointers of a step's rows, then calls the kernels.
template <class T>
class BackwardWalk : public PartWalk<T, BackwardCell<T>> {
 public:
  BackwardWalk(const CellShape& shape, const Schedule& schedule, const BackwardCell<T>& cell, Part part)
      : Base(shape, schedule, cell, std::move(part)),
        zeros_(static_cast<std::size_t>(shape.padded()), T(0)),
        zoneout_(shape, cell.variant, rows_) {
    const std::size_t size = part_.rows.size();
    pointers_ = PointerArrays([&](auto& layout) {
      layout.take(size, dy_, c_prev_, c_, gates_, dh_, dc_, dgates_, dh_passed_, h_, h_last_, dr_, dm_, norm_x_,
                  norm_h_, statistics_, dh_product_);
    });
    dgates_lowp_.prepare(cell.weights->h_lowp, rows_);
    dr_lowp_.prepare(cell.weights->projection_lowp, rows_);
  }

  /// Walks back over some steps, in falling order. The gradients with respect to the pre-activations of all rows of
  /// these steps, and no others, go to `dgates`; with a projection, those with respect to h go to `dr`. Returns the
  /// step after which it stopped because its threads should part or the call is to end, or the first step.
  Index run(Range steps, const GateGradients<T>& dgates, const GateGradients<T>& dr) {
    return this->walk_down(
        InterruptWatch(part_.call, shape_.arithmetic), steps,
        [&](Index step) {
          gather(step, dgates, dr);
          if (cell_.m) projection_step();
          cell_step();
        },
        [&](Index step) { state_step(step); });
  }

 private:
  using Base = PartWalk<T, BackwardCell<T>>;
  using Base::active_;
  using Base::cell_;
  using Base::kernels_;
  using Base::part_;
  using Base::row;
  using Base::rows_;
  using Base::schedule_;
  using Base::shape_;

  void gather(Index step, const GateGradients<T>& dgates, const GateGradients<T>& dr) {
    for (Index i = 0; i < active_; ++i) {
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
        // Read only if zoneout uses its expectation: then nothing is random, and the product read h itself, unmasked.
        h_last_[i] = schedule_.cut(r, step, cell_.reversed) ? zeros_.data() : cell_.h_before(step, time, r);
        dr_[i] = dr.at(step, r);
        dm_[i] = cell_.dm.at(0, r);
      }
      c_prev_[i] = schedule_.cut(r, step, cell_.reversed) ? zeros_.data() : cell_.c_before(step, r);
      if (cell_.variant.options == nullptr) continue;
      if (cell_.dh_passed) dh_passed_[i] = cell_.dh_passed.at(0, r);
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

  /// Computes dr, the gradient with respect to the projected h, from dh and dy, and from dr the gradient dm with
  /// respect to m.
  void projection_step() {
    const Range columns = state_columns();
    const T rate = cell_.variant.proj_zoneout;
    for (Index i = 0; i < active_; ++i) {
      const T* const masks = zoneout_.h() != nullptr ? zoneout_.h()[i] : nullptr;
      for (Index k = columns.begin; k < columns.end; ++k) {
        T sum = cell_.dy ? dh_[i][k] + dy_[i][k] : dh_[i][k];
        if (cell_.dh_passed) sum = fresh_share(sum, masks != nullptr ? masks + k : nullptr, rate, dh_passed_[i][k]);
        const T before = rate > 0 ? h_last_[i][k] : T(0);
        dr_[i][k] = inside_bound(h_[i][k], cell_.proj_clip, before, rate) ? sum : T(0);
      }
    }
    part_.meeting.wait();  // until all columns are complete
    multiply(
        product_of<T>(active_, dr_, shape_.state, cell_.weights->projection.data(), shape_.hidden, dm_, unit_panels()),
        cell_.weights->projection_lowp, dr_lowp_);
  }

  void cell_step() {
    kernels::StepBackward<T> s{};
    s.rows = active_;
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
    s.dh_passed = dh_passed_;
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
    part_.meeting.wait();  // the norms need all of a row
    kernels_.norm_gates_backward(s);
    part_.meeting.wait();
    kernels_.norm_rows_backward(s);
  }

  /// dh of the previous step = dgates W_hh, for this part's own hidden units or share of the projection.
  void state_step(Index step) {
    multiply(product_of<T>(active_, dh_product_, shape_.gates_width(), cell_.weights->h.data(), shape_.state, dh_,
                           state_panels()),
             cell_.weights->h_lowp, dgates_lowp_);
    const Index first = state_columns().begin, columns = std::max<Index>(state_columns().size(), 0);
    for (Index i = 0; cell_.h_factor && i < active_; ++i) {
      kernels_.multiply(cell_.h_factor.at(0, row(i)) + first, dh_[i] + first, columns);
    }
    for (Index i = 0; cell_.dh_passed && i < active_; ++i) kernels_.add(dh_passed_[i] + first, dh_[i] + first, columns);
    if (schedule_.resets.empty()) return;
    for (Index i = 0; i < active_; ++i) {
      if (!schedule_.cut(row(i), step, cell_.reversed)) continue;
      std::fill(dc_[i] + part_.blocks.begin * shape_.lanes, dc_[i] + part_.blocks.end * shape_.lanes, T(0));
      std::fill_n(dh_[i] + first, columns, T(0));
    }
  }

  std::vector<T> zeros_;
  ZoneoutRows<T> zoneout_;
  PointerArrays pointers_;
  LowpRows dgates_lowp_, dr_lowp_;
  const T **dy_, **c_prev_, **c_, **gates_, **h_, **h_last_, **norm_x_, **norm_h_, **statistics_;
  T **dh_, **dc_, **dgates_, **dh_product_, **dh_passed_, **dr_, **dm_;
};

}  // namespace lstmcore
