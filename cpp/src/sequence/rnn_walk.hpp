// The walks of one part of a simple RNN's layer, forward and back through time: h = f(W x + R h' + b).
//
// They have the interface of the LSTM's walks, so whoever calls those (teams of threads, time segments, the sums of the
// weights' gradients) calls these in the same way. A row of gates is the row of H pre-activations.
#pragma once

#include "../runtime/policy.hpp"
#include "backward_walk.hpp"

namespace lstmcore {

/// f and its derivative, which follows from the result.
template <class T>
struct RnnActivation {
  void (*apply)(const T* sums, T* h, Index count);
  void (*derive)(const T* h, const T* dh, T* dsums, Index count);

  RnnActivation(const kernels::Kernels<T>& kernels, const CellVariant<T>& variant) {
    // tanh is the plain cell's.
    const bool relu = variant.options != nullptr && variant.options->cell == LstmFunction::relu;
    apply = relu ? kernels.relu : kernels.tanh;
    const auto& training = lstmcore::kernels::training_kernels<T>();
    derive = relu ? training.relu_backward : training.tanh_backward;
  }
};

template <class T>
class RnnForwardWalk : public PartWalk<T, ForwardCell<T>> {
 public:
  RnnForwardWalk(const CellShape& shape, const Schedule& schedule, const ForwardCell<T>& cell, Part part)
      : Base(shape, schedule, cell, std::move(part)),
        activation_(kernels_, cell.variant),
        chunk_steps_(input_chunk(rows_, schedule.longest)),
        columns_(shape.columns_of(part_.blocks)),
        units_(shape.units_of(part_.blocks)),
        sums_(static_cast<std::size_t>(rows_ * chunk_steps_ * columns_.size())),
        zeros_(static_cast<std::size_t>(shape.state), T(0)) {
    pointers_ = PointerArrays([&](auto& layout) {
      const auto rows = part_.rows.size();
      layout.take(rows * static_cast<std::size_t>(chunk_steps_), x_, from_x_);
      layout.take(rows, h_prev_, row_sums_);
    });
  }

  /// Walks the steps of `range` in rising order. Returns the step before which it stopped because its threads should
  /// part or the call is to end, else the end.
  Index run(Range range) {
    return this->walk_up(
        InterruptWatch(part_.call), range, chunk_steps_, [&](Index first, Index last) { add_input(first, last); },
        [&](Index step, Index first) { advance(step, (step - first) * rows_); });
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

  T* sums_of(Index place) { return sums_.data() + place * columns_.size(); }

  /// A product whose columns are this part's units.
  kernels::Product<T> units_product(Index rows, const T* const* a, Index depth, const Buffer<T>& panels,
                                    T* const* out) const {
    return product_of<T>(rows, a, depth, panels.data() + columns_.begin * depth, columns_.size(), out,
                         {0, part_.blocks.size()});
  }

  /// b + W x of several steps.
  void add_input(Index first, Index last) {
    const Index count = this->each_row(first, last, [&](Index place, Index step, Index i) {
      x_[place] = cell_.x.at(schedule_.time(row(i), step, cell_.reversed), row(i));
      from_x_[place] = sums_of((step - first) * rows_ + i);
    });
    kernels::Product<T> product = units_product(count, x_, shape_.input, cell_.weights->x, from_x_);
    product.bias = cell_.weights->bias.data() + columns_.begin;
    kernels_.product(product);
  }

  const T* h_before(Index step, Index time, Index r) const {
    if (schedule_.cut(r, step, cell_.reversed)) return zeros_.data();
    const bool masked = static_cast<bool>(cell_.h_masked);
    if (step == cell_.first) return (masked ? cell_.h0_masked : cell_.h0).at(0, r);
    return masked ? cell_.h_masked.at(step - 1, r) : cell_.h.at(cell_.reversed ? time + 1 : time - 1, r);
  }

  void advance(Index step, Index place) {
    for (Index i = 0; i < active_; ++i) {
      h_prev_[i] = h_before(step, schedule_.time(row(i), step, cell_.reversed), row(i));
      row_sums_[i] = sums_of(place + i);
    }
    kernels::Product<T> product = units_product(active_, h_prev_, shape_.state, cell_.weights->h, row_sums_);
    product.accumulate = true;
    kernels_.product(product);
    for (Index i = 0; i < active_; ++i) finish(step, i);
  }

  /// h of this part's units of a row, wherever it is needed.
  void finish(Index step, Index i) {
    const Index r = row(i), time = schedule_.time(r, step, cell_.reversed), count = units_.size();
    T* const h = cell_.h.at(time, r) + units_.begin;
    activation_.apply(row_sums_[i], h, count);
    if (cell_.y) std::copy_n(h, count, cell_.y.at(time, r) + units_.begin);
    if (!cell_.h_masked) return;
    T* const masked = cell_.h_masked.at(step, r) + units_.begin;
    std::copy_n(h, count, masked);
    kernels_.multiply(cell_.h_factor.at(0, r) + units_.begin, masked, count);
  }

  const RnnActivation<T> activation_;
  const Index chunk_steps_;  ///< whose input part is one product
  const Range columns_, units_;
  Buffer<T> sums_;  ///< pre-activations of a chunk of steps, [step][row][columns]
  std::vector<T> zeros_;
  PointerArrays pointers_;
  const T **x_, **h_prev_;
  T **from_x_, **row_sums_;
};

template <class T>
class RnnBackwardWalk : public PartWalk<T, BackwardCell<T>> {
 public:
  RnnBackwardWalk(const CellShape& shape, const Schedule& schedule, const BackwardCell<T>& cell, Part part)
      : Base(shape, schedule, cell, std::move(part)),
        activation_(kernels_, cell.variant),
        units_(shape.units_of(part_.blocks)) {
    pointers_ = PointerArrays([&](auto& layout) { layout.take(part_.rows.size(), dsums_, dh_); });
  }

  /// Walks back over some steps, in falling order. The gradients with respect to the pre-activations of all rows of
  /// these steps, and no others, go to `dsums`. Returns the step after which it stopped because its threads should
  /// part or the call is to end, or the first step.
  Index run(Range steps, const GateGradients<T>& dsums, const GateGradients<T>& /*of a projection*/) {
    return this->walk_down(
        InterruptWatch(part_.call), steps,
        [&](Index step) {
          for (Index i = 0; i < active_; ++i) derive(step, i, dsums.at(step, row(i)));
        },
        [&](Index step) { pass_on(step); });
  }

 private:
  using Base = PartWalk<T, BackwardCell<T>>;
  using Base::active_;
  using Base::cell_;
  using Base::kernels_;
  using Base::part_;
  using Base::row;
  using Base::schedule_;
  using Base::shape_;

  /// The gradient with respect to the pre-activations of this part's units of a row, and zeros after the last of them.
  void derive(Index step, Index i, T* dsums) {
    const Index r = row(i), time = schedule_.time(r, step, cell_.reversed), count = units_.size();
    dsums_[i] = dsums;
    dh_[i] = cell_.dh.at(0, r);
    T* const dh = dh_[i] + units_.begin;
    if (cell_.dy) kernels_.add(cell_.dy.at(time, r) + units_.begin, dh, count);
    activation_.derive(cell_.h.at(time, r) + units_.begin, dh, dsums + units_.begin, count);
    if (units_.end == shape_.hidden) std::fill(dsums + shape_.hidden, dsums + shape_.padded(), T(0));
  }

  /// dh of the previous step = dsums R, for this part's units.
  void pass_on(Index step) {
    kernels_.product(
        product_of<T>(active_, dsums_, shape_.gates_width(), cell_.weights->h.data(), shape_.state, dh_, part_.blocks));
    const Index first = units_.begin, count = units_.size();
    for (Index i = 0; cell_.h_factor && i < active_; ++i) {
      kernels_.multiply(cell_.h_factor.at(0, row(i)) + first, dh_[i] + first, count);
    }
    if (schedule_.resets.empty()) return;
    for (Index i = 0; i < active_; ++i) {
      if (schedule_.cut(row(i), step, cell_.reversed)) std::fill_n(dh_[i] + first, count, T(0));
    }
  }

  const RnnActivation<T> activation_;
  const Range units_;
  PointerArrays pointers_;
  T **dsums_, **dh_;
};

}  // namespace lstmcore
