// The promise of the same bits: whatever the thread count, the other rows, the padding, the strides and the division of
// a sequence into calls.
#include <lstmcore/cpu.hpp>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "lstm_shapes.hpp"
#include "lstm_variants.hpp"
#include "runtime/isa.hpp"
#include "same_bits.hpp"

namespace {

// Enough work for five threads, in every way that it can be divided among them.
std::vector<Shape> threaded_shapes() {
  std::vector<std::int64_t> lengths;
  for (Index n = 0; n < 41; ++n) lengths.push_back((n * 7) % 13);
  std::vector<std::int64_t> long_lengths, one_group(33, 0);
  for (Index n = 0; n < 41; ++n) long_lengths.push_back(n % 5 == 0 ? 0 : n < 6 ? 60 : n);
  one_group[7] = 40;
  one_group[20] = 3;
  std::vector<Shape> all;
  all.push_back({"rows over threads", lstm_config(20, 40), 37, 12});
  all.push_back({"rows over threads, ragged", bidirectional(lstm_config(20, 40, 2)), 41, 12, lengths});
  all.push_back({"groups of rows, several ranges of steps", lstm_config(20, 40, 2), 33, 45});
  all.push_back({"groups of rows, ragged, several ranges of steps", lstm_config(20, 40), 41, 60, long_lengths});
  all.push_back({"a group of rows without a step", lstm_config(20, 40), 33, 40, one_group});
  for (const Variant& variant : variants()) {
    if (variant.name.find(" for the ") != std::string::npos) continue;
    all.push_back({variant.name + ", rows over threads", variant.of(lstm_config(20, 40, 2)), 37, 12});
    all.push_back({variant.name + ", units over threads", variant.of(lstm_config(100, 200)), 3, 5, {5, 2, 4}});
  }
  all.push_back({"rows over threads, dropout", with_dropout(lstm_config(20, 40, 3), 0.5), 41, 12, lengths});
  all.push_back({"fewer rows than threads", lstm_config(100, 300), 3, 5});
  all.push_back({"one row", lstm_config(256, 257, 2), 1, 5});
  all.push_back({"one step", lstm_config(128, 256, 2), 1, 1});
  all.push_back({"few rows, ragged, both directions", bidirectional(lstm_config(100, 200, 2)), 4, 6, {6, 2, 0, 5}});
  all.push_back({"wide input", lstm_config(2000, 24), 5, 6});
  all.push_back({"layers over threads", lstm_config(30, 32, 3), 1, 150});
  all.push_back({"layers over threads, ragged, H not a multiple of V", lstm_config(3, 37, 4), 3, 75, {75, 20, 40}});
  all.push_back({"bidirectional, several ranges of steps", bidirectional(lstm_config(30, 32)), 11, 100});
  all.push_back({"long, few units: weight gradients over threads", lstm_config(30, 30), 8, 150});
  return all;
}

template <class T>
void check_threads() {
  for (const Shape& shape : threaded_shapes()) {
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    Result<T> inferred, trained;
    {
      const ThreadCount one(1);
      inferred = infer(p);
      trained = train(p);
    }
    struct Team {
      int threads, part_after;
    };
    constexpr int never = lstmcore::never_part, at_once = lstmcore::part_at_once;
    for (const Team team :
         {Team{2, never}, {3, never}, {4, never}, {5, never}, {2, at_once}, {2, 0}, {2, 3}, {3, 10}}) {
      const check::Context threads(std::to_string(team.threads) + " threads, part after " +
                                   std::to_string(team.part_after) + " meetings");
      const ThreadCount several(team.threads, team.part_after);
      check_same_outputs(infer(p), inferred);
      const Result<T> again = train(p);
      check_same_outputs(again, trained);
      check_same_gradients(again, trained);
    }
  }
}

template <class T>
void check_companions() {
  std::vector<Shape> shapes = option_shapes(lstmcore::active_kernels<T>().lanes);
  const std::vector<Shape> sizes = threaded_shapes();
  shapes.insert(shapes.end(), sizes.begin(), sizes.end());
  for (const Shape& shape : shapes) {
    if (has_random_masks(shape.config)) continue;  // its mask depends on the row's place in the batch
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    const Result<T> inferred = infer(p), trained = train(p);
    const Index Y = p.config.output_size();
    for (Index n = 0; n < p.N; ++n) {
      const Row<T> row{p, n};
      for (bool cut : {false, true}) {
        const check::Context which("row " + std::to_string(n) + (cut ? ", cut to its length" : ", padded"));
        const Problem<T> alone = row.problem(cut);
        const Result<T> single = infer(alone);
        CHECK_SAME_BITS(single.y, row.sequence(inferred.y, Y, alone.steps));
        CHECK_SAME_BITS(single.h, row.h(inferred.h));
        CHECK_SAME_BITS(single.c, row.c(inferred.c));
        const Result<T> gradients = train(alone);
        CHECK_SAME_BITS(gradients.y, row.sequence(trained.y, Y, alone.steps));
        CHECK_SAME_BITS(gradients.dx, row.sequence(trained.dx, p.config.input_size, alone.steps));
        CHECK_SAME_BITS(gradients.dh0, row.h(trained.dh0));
        CHECK_SAME_BITS(gradients.dc0, row.c(trained.dc0));
      }
    }
  }
}

// A sequence in calls of 1, 7, 2 and the remaining steps, each of which begins with the state of the previous one.
template <class T>
void check_chunks() {
  std::vector<Shape> shapes;
  shapes.push_back({"one layer", lstm_config(5, 11), 3, 17});
  shapes.push_back({"three layers, one row", lstm_config(5, 40, 3), 1, 17});
  shapes.push_back({"units over threads", lstm_config(100, 200, 2), 2, 17});
  shapes.push_back({"rows over threads", lstm_config(20, 40, 2), 37, 17});
  shapes.push_back({"resets, one at a border", lstm_config(5, 11, 2), 3, 17, {}, {{8, 3}, {0}, {16}}});
  for (const Variant& variant : variants()) {
    shapes.push_back({variant.name, variant.of(lstm_config(5, 11, 2)), 3, 17});
  }
  for (const Shape& shape : shapes) {
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    const Result<T> whole = infer(p);
    const lstmcore::Lstm<T> lstm(p.config, p.weights());
    Outputs<T> out(p);
    Index begin = 0;
    for (Index end : {Index{1}, Index{8}, Index{10}, p.steps}) {
      lstmcore::LstmSequence<T> chunk = p.sequence();
      lstmcore::View<T, 3> y = out.y;
      chunk.x.shape[1] = y.shape[1] = end - begin;
      chunk.x.data += begin * chunk.x.stride[1];
      y.data += begin * y.stride[1];
      if (chunk.reset) {
        chunk.reset.shape[1] = end - begin;
        chunk.reset.data += begin;
      }
      lstm.forward(chunk, y, out.state);
      begin = end;
    }
    check_same_outputs(out.result, whole);
  }
}

// x and y in the layouts of other programs: time-major, reversed, every second feature, one row for all.
template <class T>
void check_strides() {
  const Shape shape{"", bidirectional(lstm_config(5, 11, 2)), 4, 6, {6, 0, 3, 5}};
  const Problem<T> p = make_problem<T>(shape);
  const Result<T> expected = train(p);
  const Index N = p.N, S = p.steps, C = 5, Y = p.config.output_size();
  const lstmcore::Lstm<T> lstm(p.config, p.weights());
  const auto x_at = [&](Index n, Index t, Index c) { return p.x[(n * S + t) * C + c]; };
  std::vector<T> time_major(p.x.size()), reversed(p.x.size()), sparse(2 * p.x.size(), T(9));
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < S; ++t) {
      for (Index c = 0; c < C; ++c) {
        time_major[(t * N + n) * C + c] = x_at(n, t, c);
        reversed[((N - 1 - n) * S + (S - 1 - t)) * C + (C - 1 - c)] = x_at(n, t, c);
        sparse[2 * ((n * S + t) * C + c)] = x_at(n, t, c);
      }
    }
  }
  struct Layout {
    const char* name;
    lstmcore::View<const T, 3> x;
  };
  const std::vector<Layout> layouts = {
      {"time-major", {time_major.data(), {N, S, C}, {C, N * C, 1}}},
      {"reversed", {reversed.data() + reversed.size() - 1, {N, S, C}, {-S * C, -C, -1}}},
      {"sparse", {sparse.data(), {N, S, C}, {2 * S * C, 2 * C, 2}}}};
  for (const Layout& layout : layouts) {
    const check::Context context(layout.name);
    lstmcore::LstmSequence<T> sequence = p.sequence();
    sequence.x = layout.x;
    Outputs<T> out(p);
    std::vector<T> y_time_major = not_a_number<T>(out.result.y.size());
    const lstmcore::View<T, 3> y(y_time_major.data(), {N, S, Y}, {Y, N * Y, 1});
    lstmcore::LstmTape<T> tape;
    lstm.forward(sequence, y, out.state, tape);
    lstm.backward(tape, p.output_gradients(), out.inputs);
    for (Index n = 0; n < N; ++n) {
      for (Index t = 0; t < S; ++t) {
        for (Index k = 0; k < Y; ++k) out.result.y[(n * S + t) * Y + k] = y(n, t, k);
      }
    }
    check_same_outputs(out.result, expected);
    check_same_gradients(out.result, expected);
  }
  // A stride of zero: the same row for all.
  Problem<T> equal_rows = p;
  lstmcore::LstmSequence<T> broadcast = p.sequence();
  broadcast.x.stride[0] = 0;
  for (Index n = 0; n < N; ++n) std::copy(p.x.begin(), p.x.begin() + S * C, equal_rows.x.begin() + n * S * C);
  Outputs<T> out(p);
  lstm.forward(broadcast, out.y, out.state);
  check_same_outputs(out.result, infer(equal_rows));
}

// Strided gradients, which the engine cannot sum in place, of batches so small that it otherwise would.
template <class T>
void check_strides_of_gradients() {
  for (const auto& [rows, steps] : {std::pair<Index, Index>{1, 1}, {3, 1}, {1, 4}, {2, 3}}) {
    const check::Context context(std::to_string(rows) + " rows, " + std::to_string(steps) + " steps");
    const Problem<T> p = make_problem<T>({"", bidirectional(lstm_config(20, 40, 2)), rows, steps});
    const Result<T> expected = train(p);
    const lstmcore::Lstm<T> lstm(p.config, p.weights());
    Outputs<T> out(p);
    std::vector<std::vector<T>> sparse;
    const auto spread = [&](lstmcore::View<T, 2>& view) {
      sparse.push_back(not_a_number<T>(static_cast<std::size_t>(2 * view.size())));
      view = {sparse.back().data(), view.shape, {2 * view.shape[1], 2}};
    };
    const auto gather = [](const lstmcore::View<T, 2>& view, std::vector<T>& values) {
      for (Index i = 0; i < view.shape[0]; ++i) {
        for (Index j = 0; j < view.shape[1]; ++j) values[static_cast<std::size_t>(i * view.shape[1] + j)] = view(i, j);
      }
    };
    for (auto& cell : out.inputs.weights) {
      spread(cell.weight_ih);
      spread(cell.weight_hh);
    }
    lstmcore::LstmTape<T> tape;
    lstm.forward(p.sequence(), out.y, out.state, tape);
    lstm.backward(tape, p.output_gradients(), out.inputs);
    for (std::size_t cell = 0; cell < out.inputs.weights.size(); ++cell) {
      gather(out.inputs.weights[cell].weight_ih, out.result.dweight_ih[cell]);
      gather(out.inputs.weights[cell].weight_hh, out.result.dweight_hh[cell]);
    }
    check_same_gradients(out.result, expected);
  }
}

// A backward that recomputes time segments of the forward.
template <class T>
void check_recomputation() {
  std::vector<Shape> shapes = option_shapes(lstmcore::active_kernels<T>().lanes);
  for (const Shape& shape : variant_shapes(lstmcore::active_kernels<T>().lanes)) {
    if (shape.reason.find(" for the ") == std::string::npos) shapes.push_back(shape);
  }
  shapes.push_back({"threads", bidirectional(lstm_config(20, 40, 2)), 37, 12});
  shapes.push_back({"groups of rows", with_dropout(lstm_config(20, 40, 3), 0.5), 37, 30});
  shapes.push_back({"layers over threads", lstm_config(30, 32, 3), 1, 150});
  for (const Shape& shape : shapes) {
    const check::Context context(shape.reason);
    Problem<T> p = make_problem<T>(shape);
    const Result<T> expected = train(p);
    for (const Index every : {Index{1}, Index{3}, lstmcore::recompute_sqrt, shape.steps + 1}) {
      const check::Context segments("recomputed every " + std::to_string(every) + " steps");
      p.recompute = every;
      for (const int threads : {1, 2}) {
        const ThreadCount several(threads);
        const Result<T> result = train(p);
        check_same_outputs(result, expected);
        check_same_gradients(result, expected);
      }
    }
  }
}

// One Lstm and several callers at the same time, each with its own tape.
template <class T>
void check_concurrent_calls() {
  const Problem<T> p = make_problem<T>({"", bidirectional(lstm_config(20, 40, 2)), 23, 9});
  const Result<T> expected = train(p);
  const lstmcore::Lstm<T> lstm(p.config, p.weights());
  constexpr int callers = 4;
  std::vector<Result<T>> results(callers);
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&p, &lstm, &results, caller] {
      for (int round = 0; round < 3; ++round) {
        Outputs<T> out(p);
        lstmcore::LstmTape<T> tape;
        lstm.forward(p.sequence(), out.y, out.state, tape);
        lstm.backward(tape, p.output_gradients(), out.inputs);
        results[caller] = out.result;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Result<T>& result : results) {
    check_same_outputs(result, expected);
    check_same_gradients(result, expected);
  }
}

}  // namespace

TEST("any number of threads, float") { check_threads<float>(); }
TEST("any number of threads, double") { check_threads<double>(); }
TEST("any other rows and any padding, float") { check_companions<float>(); }
TEST("any other rows and any padding, double") { check_companions<double>(); }
TEST("whole or in several calls") {
  check_chunks<float>();
  check_chunks<double>();
}
TEST("recomputed segment by segment") {
  check_recomputation<float>();
  check_recomputation<double>();
}
TEST("any strides") {
  check_strides<float>();
  check_strides<double>();
  check_strides_of_gradients<float>();
  check_strides_of_gradients<double>();
}
TEST("concurrent calls") {
  check_concurrent_calls<float>();
  check_concurrent_calls<double>();
}
