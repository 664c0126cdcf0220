// The tangents of one layer and direction, forward through time.
#include "dual_walk.hpp"

namespace lstmcore {
namespace {

template <class T>
class TangentForwardWalk : DualWalk<T> {
 public:
  TangentForwardWalk(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                     const TangentForwardPanels<T>& weights, const T* bias, std::vector<Index> rows)
      : DualWalk<T>(shape, schedule, cell, std::move(rows)),
        weights_(weights),
        bias_(bias),
        active_(size()),
        chunk_steps_(std::max<Index>(1, input_rows / std::max<Index>(1, size()))),
        h_prev_(size()),
        h_last_(size()),
        c_(size()),
        h_(size()),
        m_(size()),
        scratch_(count(shape.normed ? 2 * shape.padded() : 0)) {}

  void run(const InterruptWatch& watch) {
    for (Index first = 0; first < length(0) && !watch.stopped(); first += chunk_steps_) {
      const Index last = std::min(length(0), first + chunk_steps_);
      input_part(first, last);
      for (Index step = first; step < last; ++step) advance(step);
    }
  }

 private:
  using Base = DualWalk<T>;
  using Base::cell_;
  using Base::kernels_;
  using Base::length;
  using Base::row;
  using Base::schedule_;
  using Base::shape_;
  using Base::size;
  using Base::time;

  /// The input parts of this many rows, of one or several steps, are computed in one product.
  static constexpr Index input_rows = 96;

  /// out (+)= the tangent of a product, from `rows` rows of its left factor: (a', a) times the stacked panels.
  void add_product(Index rows, const T* const* value, const T* const* tangent, const StackedPanels<T>& factor,
                   T* const* out, const T* start, bool accumulate) {
    left_.resize(count(rows * 2 * factor.depth));
    left_rows_.resize(count(rows));
    for (Index i = 0; i < rows; ++i) {
      T* const to = left_.data() + i * 2 * factor.depth;
      std::copy_n(tangent[i], factor.depth, to);
      std::copy_n(value[i], factor.depth, to + factor.depth);
      left_rows_[count(i)] = to;
    }
    kernels::Product<T> product = product_of<T>(rows, left_rows_.data(), 2 * factor.depth, factor.panels.data(),
                                                factor.columns, out, this->panels_of(factor.columns));
    product.bias = start;
    product.accumulate = accumulate;
    kernels_.product(product);
  }

  /// b' + W x' + W' x of several steps; with layer norms without b', which is added after the norm.
  void input_part(Index first, Index last) {
    x_.value.clear();
    x_.tangent.clear();
    out_.clear();
    Index active = active_;
    for (Index step = first; step < last; ++step) {
      while (length(active - 1) <= step) --active;
      for (Index i = 0; i < active; ++i) {
        x_.value.push_back(cell_.x.value.at(time(i, step), row(i)));
        x_.tangent.push_back(cell_.x.tangent.at(time(i, step), row(i)));
        out_.push_back((shape_.normed ? cell_.norm_x : cell_.gates).tangent.at(step, row(i)));
      }
    }
    add_product(static_cast<Index>(out_.size()), x_.value.data(), x_.tangent.data(), weights_.x, out_.data(),
                shape_.normed ? nullptr : bias_, false);
  }

  void advance(Index step) {
    while (length(active_ - 1) <= step) --active_;
    for (Index i = 0; i < active_; ++i) {
      this->gather_cell(i, step);
      this->set_h_before(h_last_, i, step);
      if (this->masks_h()) this->set_before(h_prev_, cell_.h0_masked, cell_.h_masked, step - 1, i, step);
      c_.set(i, cell_.c, step, row(i));
      h_.set(i, cell_.h, time(i, step), row(i));
      if (shape_.projected) m_.set(i, cell_.m, step, row(i));
    }
    const DualPointers<T>& h_prev = this->masks_h() ? h_prev_ : h_last_;
    const DualPointers<T>& sums = shape_.normed ? this->norm_h_ : this->gates_;
    add_product(active_, h_prev.value.data(), h_prev.tangent.data(), weights_.h, sums.tangent.data(), nullptr,
                !shape_.normed);
    kernels::TangentForward<T> s{};
    s.rows = active_;
    s.hidden = shape_.hidden;
    s.gates = this->gates_.value.data();
    s.gates_tangent = this->gates_.tangent.data();
    s.c_prev = this->c_prev_.readable();
    s.c_tangent = c_.tangent.data();
    s.h_tangent = shape_.projected ? m_.tangent.data() : h_.tangent.data();
    s.extras = this->extras();
    s.peephole_tangent = cell_.peephole_tangent;
    s.h_last_tangent = h_last_.tangent.data();
    if (shape_.normed) {
      this->set_norms(s);
      s.bias_tangent = bias_;
      s.statistics = this->statistics_.value.data();
      s.statistics_tangent = this->statistics_.tangent.data();
      s.scratch = scratch_.data();
    }
    kernels_.tangent_forward(s);
    if (shape_.projected) project();
    if (this->masks_h()) mask_h(step);
  }

  /// The tangent of h = clip(R m) after zoneout.
  void project() {
    add_product(active_, m_.value.data(), m_.tangent.data(), weights_.projection, h_.tangent.data(), nullptr, false);
    const T rate = cell_.variant.proj_zoneout;
    for (Index n = 0; n < active_; ++n) {
      const std::size_t i = count(n);
      const T* const kept = this->mask_of_h(n);
      for (Index k = 0; k < shape_.state; ++k) {
        if (!inside_bound(h_.value[i][k], cell_.proj_clip, h_last_.value[i][k], rate)) h_.tangent[i][k] = T(0);
      }
      if (kept != nullptr) {
        zone_out(h_last_.tangent[i], kept, h_.tangent[i], shape_.state);
      } else if (rate > 0) {
        zone_out(h_last_.tangent[i], rate, h_.tangent[i], shape_.state);
      }
    }
  }

  /// With recurrent dropout: the tangent of the h that the next step multiplies with its weights.
  void mask_h(Index step) {
    for (Index i = 0; i < active_; ++i) {
      T* const to = cell_.h_masked.tangent.at(step, row(i));
      std::copy_n(h_.tangent[count(i)], shape_.state, to);
      kernels_.multiply(cell_.h_factor.at(0, row(i)), to, shape_.state);
    }
  }

  const TangentForwardPanels<T>& weights_;
  const T* const bias_;
  Index active_;
  const Index chunk_steps_;
  DualPointers<T> h_prev_, h_last_, c_, h_, m_;
  DualPointers<T> x_{0};
  std::vector<T*> out_;
  Buffer<T> left_, scratch_;
  std::vector<const T*> left_rows_;
};

}  // namespace

template <class T>
void tangent_forward(const CellShape& shape, const Schedule& schedule, const DualCell<T>& cell,
                     const TangentForwardPanels<T>& weights, const T* bias) {
  const double work = 2 * walk_work(shape, schedule, {0, schedule.longest}, shape.input + shape.state);
  const int parts = static_cast<int>(std::min<Index>(threads_for(work), std::max<Index>(1, schedule.rows)));
  Interruptible* const call = InterruptWatch::of_thread();
  parallel(parts, [&](int part) {
    TangentForwardWalk<T>(shape, schedule, cell, weights, bias, deal_rows(schedule, parts, part))
        .run(InterruptWatch(call));
  });
  InterruptWatch::end_if_stopped();
}

template void tangent_forward(const CellShape&, const Schedule&, const DualCell<float>&,
                              const TangentForwardPanels<float>&, const float*);
template void tangent_forward(const CellShape&, const Schedule&, const DualCell<double>&,
                              const TangentForwardPanels<double>&, const double*);

}  // namespace lstmcore
