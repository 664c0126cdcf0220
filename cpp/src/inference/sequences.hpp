// What passes from layer to layer when a model runs on whole sequences.
#pragma once

#include <cstdint>
#include <lstmcore/tensor.hpp>
#include <utility>
#include <vector>

#include "../packing/pack.hpp"
#include "../runtime/buffer.hpp"

namespace lstmcore::inference {

/// The values of all rows and steps.
struct Sequences {
  Index rows = 0;
  Index steps = 0;               ///< 1 where there is one vector for each row
  Index width = 0;               ///< features of a step
  bool has_steps = true;         ///< false: one vector for each row, and no lengths
  std::vector<Index> lengths{};  ///< valid steps of each row; empty: all steps of all rows
  Buffer<float> values{};        ///< (rows, steps, width); what is past a row's length has no meaning

  View<const float, 3> view() const { return {values.data(), {rows, steps, width}}; }

  /// Absent if all steps are valid.
  View<const std::int64_t, 1> valid() const {
    if (lengths.empty()) return {};
    return {lengths.data(), {rows}};
  }

  /// Valid steps of a row.
  Index length(Index row) const { return lengths.empty() ? steps : lengths[static_cast<std::size_t>(row)]; }

  /// Room for other values of the same rows.
  Buffer<float> room(Index new_steps, Index new_width) const {
    return Buffer<float>(static_cast<std::size_t>(rows * new_steps * new_width));
  }

  /// Replaces the values of every step.
  void replace(Index new_width, Buffer<float> outputs) {
    width = new_width;
    values = std::move(outputs);
  }

  /// Replaces the sequences by one vector for each row.
  void replace_by_vectors(Index new_width, Buffer<float> outputs) {
    replace(new_width, std::move(outputs));
    steps = 1;
    has_steps = false;
    lengths.clear();
  }
};

}  // namespace lstmcore::inference
