// The base of the walks of one part through time: the order of its steps, the rows that are active at each, and where
// the threads that share these rows meet.
#pragma once

#include "../runtime/isa.hpp"
#include "walk.hpp"

namespace lstmcore {

template <class T, class Cell>
class PartWalk {
 public:
  /// Whether the parts of these rows should leave the rest to one walk.
  bool parted() const { return part_.meeting.parted(); }

 protected:
  PartWalk(const CellShape& shape, const Schedule& schedule, const Cell& cell, Part part)
      : kernels_(active_kernels<T>()),
        shape_(shape),
        schedule_(schedule),
        cell_(cell),
        part_(std::move(part)),
        rows_(static_cast<Index>(part_.rows.size())) {}

  Index row(Index i) const { return part_.rows[static_cast<std::size_t>(i)]; }
  Index length(Index i) const { return schedule_.length[static_cast<std::size_t>(row(i))]; }

  /// Walks the steps of `range` in rising order: calls input(first, last) for a chunk of steps, then advance(step,
  /// first) for each of them. Returns the step before which it stopped because its threads should part or the call is
  /// to end, else the end.
  template <class Input, class Advance>
  Index walk_up(const InterruptWatch& watch, Range range, Index chunk_steps, Input&& input, Advance&& advance) {
    if (rows_ == 0) return range.end;
    active_ = rows_;
    const bool often = looks_often(shape_);
    const Index end = std::min(range.end, length(0));
    if (end > range.begin + 1) part_.meeting.begin();
    if (parted()) return range.begin;
    for (Index first = range.begin; first < end; first += chunk_steps) {
      if (part_.ends(watch)) return first;
      const Index last = std::min(end, first + chunk_steps);
      input(first, last);
      for (Index step = first; step < last; ++step) {
        if (often && step > first && part_.ends(watch)) return step;
        active_ = active_at(step, active_);
        advance(step, first);
        if (step + 1 == range.end) break;
        part_.meeting.wait();
        if (parted()) return step + 1;
      }
    }
    return range.end;
  }

  /// Calls body(place, step, i) for the active rows of the steps of a chunk that is about to be walked up; places count
  /// from 0. Returns how many rows it was called for.
  template <class Body>
  Index each_row(Index first, Index last, Body&& body) const {
    Index count = 0, active = active_;
    for (Index step = first; step < last; ++step) {
      active = active_at(step, active);
      for (Index i = 0; i < active; ++i) body(count++, step, i);
    }
    return count;
  }

  /// Walks `steps` in falling order: calls cell_step(step), which writes the gradients with respect to the
  /// pre-activations, and when all parts have done so state_step(step), whose products read those of all units of a
  /// row. Returns the step after which it stopped because its threads should part or the call is to end, or the first
  /// step.
  template <class CellStep, class StateStep>
  Index walk_down(const InterruptWatch& watch, Range steps, CellStep&& cell_step, StateStep&& state_step) {
    if (rows_ == 0) return steps.begin;
    part_.meeting.begin();
    if (parted()) return steps.end;
    for (Index step = std::min(steps.end, length(0)) - 1; step >= steps.begin; --step) {
      if (part_.ends(watch)) return step + 1;
      while (active_ < rows_ && length(active_) > step) ++active_;
      cell_step(step);
      part_.meeting.wait();
      state_step(step);
      if (parted()) {
        part_.meeting.wait();  // the part that goes on reads dh of all units, some of which other parts wrote
        return step;
      }
    }
    return steps.begin;
  }

  const kernels::Kernels<T>& kernels_;
  const CellShape& shape_;
  const Schedule& schedule_;
  const Cell& cell_;
  Part part_;
  const Index rows_;
  Index active_ = 0;  ///< rows of the part that have the current step: the first ones

 private:
  /// Rows active at `step`, which are some of the `active` rows of an earlier one.
  Index active_at(Index step, Index active) const {
    while (active > 0 && length(active - 1) <= step) --active;
    return active;
  }
};

}  // namespace lstmcore
