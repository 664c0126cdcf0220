// The memory of a step of one direction of a layer: which buffers there are, how large they are and where their rows
// lie.
#pragma once

#include "partition.hpp"

namespace lstmcore {

/// How often a buffer has room for a row of the batch.
enum class Places {
  none,         ///< never: the buffer does not exist
  single,       ///< once, for all steps
  alternating,  ///< twice: for even and for odd steps
  input_chunk,  ///< for each of the steps whose input part is one product
  states,       ///< before each time segment; with several segments also after the last
  steps,        ///< for each valid step of the call, or of the longest segment
};

/// What a buffer holds: rows of `width` elements.
struct BufferShape {
  Index width = 0;
  Places places = Places::none;
};

/// How many rows there are of each kind.
struct StepRoom {
  Index rows = 0;     ///< of the batch
  Index steps = 0;    ///< for `Places::steps`: valid steps of all rows
  Index states = 1;   ///< for `Places::states`
  Index longest = 0;  ///< steps of the longest row

  Index count(Places places) const {
    switch (places) {
      case Places::none:
        return 0;
      case Places::single:
        return rows;
      case Places::alternating:
        return 2 * rows;
      case Places::input_chunk:
        return lstmcore::input_chunk(rows, longest) * rows;
      case Places::states:
        return states * rows;
      case Places::steps:
        return steps;
    }
    return 0;
  }
  Index elements(const BufferShape& shape) const { return count(shape.places) * shape.width; }
};

/// One `Field` for each buffer of a forward: its shape, its memory, or where its rows lie.
template <class Field>
struct StepFields {
  Field h;           ///< P elements, where layers do not pass it to each other
  Field gates;       ///< 4 Hp, activations
  Field c;           ///< Hp
  Field m;           ///< H, with a projection: what h is the projection of
  Field h0, c0;      ///< P and Hp: the state before the first step
  Field h_factor;    ///< padded P, with recurrent dropout: its mask
  Field h0_masked;   ///< P: h0 times h_factor, which is what the product reads
  Field h_masked;    ///< P: h times h_factor
  Field norm_x;      ///< 4 Hp, with layer norms: W x
  Field norm_h;      ///< 4 Hp: U h of the previous step
  Field fresh_c;     ///< Hp: c before zoneout
  Field statistics;  ///< of the norms

  /// Calls visit(field, ...) with each field of all `sets` in turn.
  template <class Visit, class... Sets>
  static void visit(Visit&& visit, Sets&&... sets) {
    visit(sets.h...);
    visit(sets.gates...);
    visit(sets.c...);
    visit(sets.m...);
    visit(sets.h0...);
    visit(sets.c0...);
    visit(sets.h_factor...);
    visit(sets.h0_masked...);
    visit(sets.h_masked...);
    visit(sets.norm_x...);
    visit(sets.norm_h...);
    visit(sets.fresh_c...);
    visit(sets.statistics...);
  }
};

/// The same for a backward.
template <class Field>
struct GradientFields {
  Field dh, dc;     ///< padded P and Hp: with respect to the state after the steps (in), before them (out)
  Field dm;         ///< Hp, with a projection
  Field dh_passed;  ///< padded P, with zoneout of h: the share of dh that bypasses the step

  template <class Visit, class... Sets>
  static void visit(Visit&& visit, Sets&&... sets) {
    visit(sets.dh...);
    visit(sets.dc...);
    visit(sets.dm...);
    visit(sets.dh_passed...);
  }
};

/// What reads the values of a step.
enum class StepUse {
  next_step,   ///< only the next step: a forward without a tape, or between the states of a tape that is recomputed
  every_step,  ///< the backward, all steps: what a tape holds
  stream,      ///< the next step, one call for each
};

/// The buffers of a forward. With `StepUse::next_step` c lies in the memory of c0. A simple RNN has neither c nor
/// gates.
inline StepFields<BufferShape> step_buffers(const CellShape& shape, StepUse use, bool recurrent_dropout) {
  const bool every_step = use == StepUse::every_step, stream = use == StepUse::stream;
  const Places own = every_step ? Places::steps : Places::single;
  StepFields<BufferShape> buffers;
  if (stream) {
    buffers.h = {shape.state, Places::alternating};
  } else {
    buffers.h0 = {shape.state, Places::states};
    if (!shape.simple()) buffers.c0 = {shape.padded(), Places::states};
  }
  if (!shape.simple() && (every_step || stream)) buffers.c = {shape.padded(), own};
  if (!shape.simple() && (every_step || (stream && shape.normed))) buffers.gates = {shape.gates_width(), own};
  if (shape.projected) buffers.m = {shape.hidden, own};
  if (shape.normed) {
    buffers.norm_x = {shape.gates_width(), use == StepUse::next_step ? Places::input_chunk : own};
    buffers.norm_h = {shape.gates_width(), own};
    buffers.fresh_c = {shape.padded(), Places::single};
    if (every_step || stream) buffers.statistics = {kernels::norm_statistics, own};
  }
  if (recurrent_dropout) {
    buffers.h_factor = {shape.state_padded(), Places::single};
    buffers.h0_masked = {shape.state, Places::single};
    buffers.h_masked = {shape.state, every_step ? Places::steps : Places::alternating};
  }
  return buffers;
}

/// The buffers of a backward.
inline GradientFields<BufferShape> gradient_buffers(const CellShape& shape, bool zoneout_h) {
  GradientFields<BufferShape> buffers;
  buffers.dh = {shape.state_padded(), Places::single};
  if (!shape.simple()) buffers.dc = {shape.padded(), Places::single};
  if (shape.projected) buffers.dm = {shape.padded(), Places::single};
  if (zoneout_h) buffers.dh_passed = {shape.state_padded(), Places::single};
  return buffers;
}

/// Elements of all buffers, without allocating any.
template <template <class> class Fields>
Index elements(const Fields<BufferShape>& shapes, const StepRoom& room) {
  Index sum = 0;
  Fields<BufferShape>::visit([&](const BufferShape& shape) { sum += room.elements(shape); }, shapes);
  return sum;
}

/// The buffers themselves.
template <template <class> class Fields, class T>
class StepMemory : public Fields<Buffer<T>> {
 public:
  using Shapes = Fields<BufferShape>;
  using Rows = Fields<RowMap<T>>;

  /// Makes room. A buffer that is large enough keeps its contents; the contents of others are undefined.
  void resize(const Shapes& shapes, const StepRoom& room) {
    visit_existing(shapes, [&](Buffer<T>& buffer, const BufferShape& shape) {
      buffer.resize(static_cast<std::size_t>(room.elements(shape)));
      if (shape.places == Places::input_chunk) number_chunks(room);
    });
  }
  /// Makes room for one of each row, and takes memory for `room.steps` valid steps, none of which exists yet.
  void reserve(const Shapes& shapes, const StepRoom& room) {
    visit_existing(shapes, [&](Buffer<T>& buffer, const BufferShape& shape) {
      const auto size = static_cast<std::size_t>(room.elements(shape));
      if (shape.places == Places::steps) {
        buffer.reserve(size);
      } else {
        buffer.resize(size);
      }
    });
  }
  /// Makes room for more valid steps.
  void grow(const Shapes& shapes, const StepRoom& room) {
    visit_existing(shapes, [&](Buffer<T>& buffer, const BufferShape& shape) {
      if (shape.places == Places::steps) buffer.grow(static_cast<std::size_t>(room.elements(shape)));
    });
  }

  /// Points `rows` to those of a time segment that begins at `first_step`; a buffer that does not exist leaves its rows
  /// absent. Rows are at (step, sorted row).
  void bind(const Shapes& shapes, const Schedule& schedule, Rows& rows, Index segment = 0, Index first_step = 0) {
    Shapes::visit(
        [&](Buffer<T>& buffer, const BufferShape& shape, RowMap<T>& map) {
          if (shape.places != Places::none) map = rows_of(buffer.data(), shape, schedule, segment, first_step);
        },
        buffers(), shapes, rows);
  }

  std::size_t bytes() const {
    std::size_t sum = 0;
    Fields<Buffer<T>>::visit([&](const Buffer<T>& buffer) { sum += buffer.bytes(); },
                             static_cast<const Fields<Buffer<T>>&>(*this));
    return sum;
  }

 private:
  Fields<Buffer<T>>& buffers() { return *this; }

  /// Calls visit(buffer, shape) for each buffer that exists.
  template <class Visit>
  void visit_existing(const Shapes& shapes, Visit&& visit) {
    Shapes::visit(
        [&](Buffer<T>& buffer, const BufferShape& shape) {
          if (shape.places != Places::none) visit(buffer, shape);
        },
        buffers(), shapes);
  }

  RowMap<T> rows_of(T* base, const BufferShape& shape, const Schedule& schedule, Index segment,
                    Index first_step) const {
    const Index width = shape.width;
    switch (shape.places) {
      case Places::none:
        break;
      case Places::single:
        return single_rows(schedule, base, width);
      case Places::alternating:
        return alternating_rows(schedule, base, width);
      case Places::input_chunk:
        return {base, place_in_chunk_.data(), schedule.iota.data(), schedule.rows * width, width};
      case Places::states:
        return single_rows(schedule, base + segment * schedule.rows * width, width);
      case Places::steps:
        return packed_rows(schedule, base, width, first_step);
    }
    return {};
  }

  void number_chunks(const StepRoom& room) {
    const Index steps = lstmcore::input_chunk(room.rows, room.longest);
    place_in_chunk_.resize(static_cast<std::size_t>(std::max<Index>(room.longest, 1)));
    for (Index step = 0; step < room.longest; ++step) place_in_chunk_[static_cast<std::size_t>(step)] = step % steps;
  }

  std::vector<Index> place_in_chunk_;  ///< of each step, for `Places::input_chunk`
};

template <class T>
using StepState = StepMemory<StepFields, T>;
template <class T>
using GradientState = StepMemory<GradientFields, T>;

}  // namespace lstmcore
