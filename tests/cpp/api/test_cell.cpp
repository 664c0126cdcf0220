// LstmCell: a whole-sequence call and its backward, one step at a time, in the caller's memory.
#include <lstmcore/cell.hpp>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "lanes.hpp"
#include "lstm_problem.hpp"
#include "runtime/isa.hpp"
#include "thread_count.hpp"

using lstmcore::Lstm;
using lstmcore::LstmCell;

namespace {

std::vector<Shape> cell_shapes(Index V) {
  std::vector<Shape> all;
  all.push_back({"the smallest there is", lstm_config(1, 1), 1, 3});
  all.push_back({"one row, H below a vector", lstm_config(3, below_a_vector(V)), 1, 5});
  all.push_back({"one row, H above a panel", lstm_config(5, 4 * V + 3), 1, 5});
  all.push_back({"one row, whole vectors, which need no copies", lstm_config(5, 4 * V), 1, 5});
  all.push_back({"many rows, which threads share", lstm_config(130, 128), 67, 4});
  all.push_back({"few rows with many weights, whose units threads share", lstm_config(300, 300), 2, 3});
  all.push_back({"steps that do not fit into one block of sums", lstm_config(4, 5), 150, 6});
  all.push_back({"a step larger than a block of sums", lstm_config(4, 5), 400, 2});
  return all;
}

/// A loop over a cell: h of all steps, and what its backward writes.
template <class T>
struct Loop {
  LstmCell<T> cell;
  Index N, C, H, steps;
  std::vector<std::vector<T>> x, h, c, tape, dgates;  // by step; h and c also before the first

  Loop(const Lstm<T>& lstm, const Problem<T>& p)
      : cell(lstm), N(p.N), C(p.config.input_size), H(p.config.hidden_size), steps(p.steps) {
    h.push_back(p.h0);
    c.push_back(p.c0);
    for (Index t = 0; t < steps; ++t) {
      x.emplace_back();
      for (Index n = 0; n < N; ++n) {
        const auto row = p.x.begin() + (n * steps + t) * C;
        x.back().insert(x.back().end(), row, row + C);
      }
      h.push_back(not_a_number<T>(static_cast<std::size_t>(N * H)));
      c.push_back(h.back());
      tape.push_back(not_a_number<T>(static_cast<std::size_t>(N * cell.tape_width())));
      const auto at = static_cast<std::size_t>(t);
      CHECK(cell.forward(N, x[at].data(), h[at].data(), c[at].data(), h[at + 1].data(), c[at + 1].data(),
                         tape[at].data()));
    }
  }

  /// Backward from dy (N, T, H) and the gradients dh and dc of the last state, which become those of the first.
  void backward(const std::vector<T>& dy, std::vector<T>& dh, std::vector<T>& dc, std::vector<T>& dx) {
    dgates.assign(static_cast<std::size_t>(steps), {});
    for (Index t = steps - 1; t >= 0; --t) {
      const auto at = static_cast<std::size_t>(t);
      for (Index n = 0; n < N; ++n) {
        for (Index u = 0; u < H; ++u) dh[static_cast<std::size_t>(n * H + u)] += dy[(n * steps + t) * H + u];
      }
      dgates[at] = not_a_number<T>(static_cast<std::size_t>(N * cell.gradient_width()));
      std::vector<T> before = not_a_number<T>(dh.size()), c_before = before;
      std::vector<T> by_x = not_a_number<T>(static_cast<std::size_t>(N * C));
      cell.backward(N, tape[at].data(), dh.data(), dc.data(), dgates[at].data(), by_x.data(), before.data(),
                    c_before.data());
      dh = before;
      dc = c_before;
      for (Index n = 0; n < N; ++n) {
        std::copy_n(by_x.begin() + n * C, C, dx.begin() + (n * steps + t) * C);
      }
    }
  }

  std::vector<lstmcore::LstmCellStep<T>> from_the_end() const {
    std::vector<lstmcore::LstmCellStep<T>> all;
    for (auto at = static_cast<std::size_t>(steps); at-- > 0;) {
      all.push_back({N, x[at].data(), h[at].data(), dgates[at].data()});
    }
    return all;
  }
};

template <class T>
void check_loop_is_whole_sequence(int threads) {
  const ThreadCount count(threads);
  for (const Shape& shape : cell_shapes(lstmcore::active_kernels<T>().lanes)) {
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    const Lstm<T> lstm(p.config, p.weights());
    Loop<T> loop(lstm, p);
    const Result<T> expected = train(p), reference = reference_train(p);
    CHECK_SAME_BITS(loop.h.back(), expected.h);
    CHECK_SAME_BITS(loop.c.back(), expected.c);

    std::vector<T> dh = p.dh, dc = p.dc, dx = not_a_number<T>(p.x.size());
    loop.backward(p.dy, dh, dc, dx);
    CHECK_SAME_BITS(dx, expected.dx);
    CHECK_SAME_BITS(dh, expected.dh0);
    CHECK_SAME_BITS(dc, expected.dc0);

    Outputs<T> out(p);
    loop.cell.weight_gradients(loop.from_the_end(), out.inputs.weights.front());
    // Sums of other blocks than those of a whole sequence: a few roundings more or less.
    const double tolerance = sizeof(T) == 4 ? 2e-6 : 4e-15;
    CHECK_ARRAYS_CLOSE(out.result.dweight_ih[0], reference.dweight_ih[0], tolerance);
    CHECK_ARRAYS_CLOSE(out.result.dweight_hh[0], reference.dweight_hh[0], tolerance);
    CHECK_ARRAYS_CLOSE(out.result.dbias[0], reference.dbias[0], tolerance);
  }
}

}  // namespace

TEST("a loop over steps is the whole-sequence call, float") {
  for (int threads : {1, 2, 3}) check_loop_is_whole_sequence<float>(threads);
}

TEST("a loop over steps is the whole-sequence call, double") {
  for (int threads : {1, 2, 3}) check_loop_is_whole_sequence<double>(threads);
}

TEST("without a tape a step has the same bits, and absent gradients are zeros or left out") {
  for (Index hidden : {Index{5}, lstmcore::active_kernels<float>().lanes}) {
    const Problem<float> p = make_problem<float>({"", lstm_config(3, hidden), 4, 1});
    const Lstm<float> lstm(p.config, p.weights());
    Loop<float> loop(lstm, p);
    std::vector<float> h = not_a_number<float>(p.h0.size()), c = h;
    CHECK(loop.cell.forward(p.N, loop.x[0].data(), p.h0.data(), p.c0.data(), h.data(), c.data(), nullptr));
    CHECK_SAME_BITS(h, loop.h[1]);
    CHECK_SAME_BITS(c, loop.c[1]);

    const std::vector<float> zeros(p.h0.size(), 0.0F);
    std::vector<float> dgates(static_cast<std::size_t>(p.N * loop.cell.gradient_width())), other = dgates;
    std::vector<float> dc = not_a_number<float>(p.c0.size()), dc_of_zeros = dc;
    loop.cell.backward(p.N, loop.tape[0].data(), nullptr, nullptr, dgates.data(), nullptr, nullptr, dc.data());
    CHECK_SAME_BITS(dc, zeros);
    loop.cell.backward(p.N, loop.tape[0].data(), p.dh.data(), nullptr, dgates.data(), nullptr, nullptr, dc.data());
    loop.cell.backward(p.N, loop.tape[0].data(), p.dh.data(), zeros.data(), other.data(), nullptr, nullptr,
                       dc_of_zeros.data());
    CHECK_SAME_BITS(dc, dc_of_zeros);
    CHECK_SAME_BITS(dgates, other);
  }
}

TEST("some weights' gradients alone, and none of no step") {
  const Problem<double> p = make_problem<double>({"", lstm_config(3, 5), 4, 6});
  Loop<double> loop(Lstm<double>(p.config, p.weights()), p);
  std::vector<double> dh = p.dh, dc = p.dc, dx(p.x.size());
  loop.backward(p.dy, dh, dc, dx);
  Outputs<double> all(p), some(p), none(p);
  loop.cell.weight_gradients(loop.from_the_end(), all.inputs.weights.front());
  lstmcore::LstmCellWeights<double> only_hh;
  only_hh.weight_hh = some.inputs.weights.front().weight_hh;
  loop.cell.weight_gradients(loop.from_the_end(), only_hh);
  CHECK_SAME_BITS(some.result.dweight_hh[0], all.result.dweight_hh[0]);
  loop.cell.weight_gradients({}, none.inputs.weights.front());
  CHECK_SAME_BITS(none.result.dweight_ih[0], std::vector<double>(p.weight_ih[0].size(), 0.0));
  CHECK_SAME_BITS(none.result.dbias[0], std::vector<double>(p.bias[0].size(), 0.0));
}

TEST("changes of watched memory are noticed wherever they are, in either order of reading") {
  for (int threads : {1, 2}) {
    const ThreadCount count(threads);
    const Problem<float> p = make_problem<float>({"", lstm_config(300, 300), 1, 1});  // which two threads share
    std::vector<float> weights = p.weight_hh[0];
    const std::vector<float> copy = weights;
    const LstmCell<float> cell(Lstm<float>(p.config, p.weights()),
                               {{weights.data(), {copy.data(), copy.size() * sizeof(float)}}});
    std::vector<float> h(p.h0.size()), c(p.c0.size());
    bool turn = false;
    const auto same = [&] {
      return cell.forward(1, p.x.data(), p.h0.data(), p.c0.data(), h.data(), c.data(), nullptr, turn);
    };
    CHECK(same());
    for (const std::size_t at : {std::size_t{0}, copy.size() / 2, copy.size() - 1}) {
      for (turn = false;; turn = true) {
        weights[at] += 1.0F;
        CHECK(!same());
        weights[at] = copy[at];
        CHECK(same());
        if (turn) break;
      }
    }
  }
}

TEST("other LSTMs are refused") {
  lstmcore::LstmConfig peephole = lstm_config(3, 5), projected = peephole, dropped = peephole;
  peephole.peephole = true;
  projected.proj_size = 2;
  dropped.recurrent_dropout = 0.5;
  for (const auto& config : {peephole, projected, dropped, lstm_config(3, 5, 2), bidirectional(lstm_config(3, 5)),
                             backwards(lstm_config(3, 5))}) {
    CHECK(!LstmCell<float>::serves(config));
  }
  const Problem<float> p = make_problem<float>({"", lstm_config(3, 5, 2), 1, 1});
  CHECK_THROWS(LstmCell<float>(Lstm<float>(p.config, p.weights())), "expected one forward layer with a plain cell");
}
