// The shapes on which the engine is compared with the reference. V is the number of vector lanes of the instruction set
// in use, so that every set is tested around its own vector length.
#pragma once

#include <vector>

#include "lanes.hpp"
#include "lstm_problem.hpp"
#include "lstm_variants.hpp"

/// Sizes around the engine's vectors, panels and tiles.
inline std::vector<Shape> size_shapes(Index V) {
  std::vector<Shape> all;
  all.push_back({"the smallest", lstm_config(1, 1), 1, 1});
  all.push_back({"one input feature, H below a vector", lstm_config(1, below_a_vector(V)), 2, 5});
  all.push_back({"H one vector", lstm_config(3, V), 2, 5});
  all.push_back({"H one above a vector", lstm_config(5, V + 1), 3, 5});
  all.push_back({"H four whole vectors", lstm_config(V, 4 * V), 4, 4});
  all.push_back({"H not a multiple of V, many blocks", lstm_config(7, 5 * V + 3), 3, 4});
  all.push_back({"one row: several panels at once", lstm_config(9, 9 * V + 2), 1, 6});
  all.push_back({"two rows: several panels at once", lstm_config(9, 9 * V + 2), 2, 6});
  // Tile heights are 2, 3, 4, 6, 8 and 12, so that each of these row counts leaves another remainder.
  for (Index rows : {3, 5, 7, 11, 13, 17, 25}) {
    all.push_back({"tile remainder of " + std::to_string(rows) + " rows", lstm_config(6, 2 * V + 1), rows, 3});
  }
  all.push_back({"one step: no recurrence", lstm_config(4, 2 * V + 1), 9, 1});
  all.push_back({"no initial state", lstm_config(4, 2 * V + 1), 5, 4, {}, {}, false});
  all.push_back({"input much wider than the state", lstm_config(301, 5), 3, 3});
  all.push_back({"state much wider than the input", lstm_config(2, 150), 3, 4});
  all.push_back({"long: many terms in the weight gradients", lstm_config(3, 9), 5, 200});
  all.push_back({"enough rows to give each thread some", lstm_config(20, 40), 37, 6});
  all.push_back({"few rows, enough units to give each thread some", lstm_config(120, 256), 2, 5});
  all.push_back({"one row, enough units to give each thread some", lstm_config(120, 261), 1, 7});
  return all;
}

/// Options and their combinations.
inline std::vector<Shape> option_shapes(Index V) {
  const Index H = V + 3;
  const std::vector<std::int64_t> ragged = {3, 6, 0, 1, 5, 6, 2};
  const std::vector<std::vector<std::int64_t>> resets = {{1}, {0, 3}, {2}, {}, {4, 5}, {1, 2, 3}, {1}};
  std::vector<Shape> all;
  all.push_back({"lengths that are all T", lstm_config(5, H), 3, 4, {4, 4, 4}});
  all.push_back({"ragged, a row of length 0", lstm_config(5, H), 7, 6, ragged});
  all.push_back({"no row reaches T", lstm_config(5, H), 3, 9, {2, 4, 3}});
  all.push_back({"every row of length 0", lstm_config(5, H), 3, 4, {0, 0, 0}});
  all.push_back({"ragged, no initial state", lstm_config(5, H), 7, 6, ragged, {}, false});
  all.push_back({"two layers", lstm_config(5, H, 2), 4, 5});
  all.push_back({"three layers, ragged", lstm_config(5, H, 3), 7, 6, ragged});
  all.push_back({"bidirectional", bidirectional(lstm_config(5, H)), 4, 5});
  all.push_back({"bidirectional, ragged", bidirectional(lstm_config(5, H)), 7, 6, ragged});
  all.push_back({"bidirectional, three layers, ragged", bidirectional(lstm_config(5, H, 3)), 7, 6, ragged});
  all.push_back({"go_backwards", backwards(lstm_config(5, H)), 4, 5});
  all.push_back({"go_backwards, two layers, ragged", backwards(lstm_config(5, H, 2)), 7, 6, ragged});
  all.push_back({"reset", lstm_config(5, H), 7, 6, {}, resets});
  all.push_back({"reset, ragged, some past the length", lstm_config(5, H), 7, 6, ragged, resets});
  all.push_back({"reset, go_backwards, ragged", backwards(lstm_config(5, H)), 7, 6, ragged, resets});
  all.push_back(
      {"reset, bidirectional, two layers, ragged", bidirectional(lstm_config(5, H, 2)), 7, 6, ragged, resets});
  all.push_back({"reset, no initial state", lstm_config(5, H), 7, 6, {}, resets, false});
  const std::vector<std::vector<std::int64_t>> missing = {{0, 1},    {5},   {0, 1, 2, 3, 4, 5}, {}, {2, 3},
                                                          {1, 3, 5}, {0, 4}};
  all.push_back({"mask", lstm_config(5, H), 7, 6, {}, {}, true, missing});
  all.push_back(
      {"mask, reset, two layers, dropout", with_dropout(lstm_config(5, H, 2), 0.3), 7, 6, {}, resets, true, missing});
  all.push_back({"mask, reset, bidirectional, two layers",
                 bidirectional(lstm_config(5, H, 2)),
                 7,
                 6,
                 {},
                 resets,
                 false,
                 missing});
  all.push_back({"mask, go_backwards", backwards(lstm_config(5, H)), 7, 6, {}, {}, true, missing});
  all.push_back({"dropout", with_dropout(lstm_config(5, H, 3), 0.3), 4, 5});
  all.push_back({"dropout of a single layer: none", with_dropout(lstm_config(5, H), 0.3), 4, 5});
  all.push_back({"everything at once", with_dropout(bidirectional(lstm_config(5, H, 3)), 0.6), 7, 6, ragged, resets});
  std::vector<std::int64_t> lengths;
  for (Index n = 0; n < 41; ++n) lengths.push_back((n * 7) % 13);
  all.push_back({"ragged, enough rows for every thread", bidirectional(lstm_config(20, 40, 2)), 41, 12, lengths});
  all.push_back({"ragged, few rows, units over threads", bidirectional(lstm_config(64, 200, 2)), 3, 6, {2, 6, 0}});
  return all;
}

/// Every variant of the cell, combined with the other options.
inline std::vector<Shape> variant_shapes(Index V) {
  V = std::max<Index>(V, 4);  // errors are relative to the largest of several results, also where vectors have one lane
  const std::vector<std::int64_t> ragged = {3, 6, 0, 1, 5, 6, 2};
  const std::vector<std::vector<std::int64_t>> resets = {{1}, {0, 3}, {2}, {}, {4, 5}, {1, 2, 3}, {1}};
  std::vector<Shape> all;
  for (const Variant& variant : variants()) {
    all.push_back({variant.name, variant.of(lstm_config(5, 2 * V + 3)), 3, 5});
    all.push_back({variant.name + ", one row, go_backwards", variant.of(backwards(lstm_config(3, V))), 1, 6});
    all.push_back({variant.name + ", bidirectional, two layers, ragged, reset",
                   variant.of(bidirectional(lstm_config(5, V + 3, 2))), 7, 6, ragged, resets});
  }
  return all;
}

inline std::vector<Shape> all_shapes(Index V) {
  std::vector<Shape> all = size_shapes(V);
  const std::vector<Shape> options = option_shapes(V);
  all.insert(all.end(), options.begin(), options.end());
  const std::vector<Shape> varied = variant_shapes(V);
  all.insert(all.end(), varied.begin(), varied.end());
  return all;
}
