// lstm_memory counts the bytes that are allocated.
#include <lstmcore/cpu.hpp>
#include <lstmcore/memory.hpp>

#include "check.hpp"
#include "lstm_problem.hpp"

using lstmcore::Lstm;
using lstmcore::LstmCall;
using lstmcore::LstmConfig;
using lstmcore::LstmTape;

namespace {

std::vector<Shape> memory_shapes() {
  LstmConfig projected = lstm_config(5, 20, 2);
  projected.proj_size = 7;
  projected.weight_dropout = 0.3;
  LstmConfig normed = lstm_config(5, 20, 2);
  normed.layer_norm = true;
  LstmConfig dropped = lstm_config(5, 20);
  dropped.recurrent_dropout = dropped.zoneout_h = 0.2;
  return {{"plain", lstm_config(5, 20), 3, 9},
          {"both directions, dropout between layers", with_dropout(bidirectional(lstm_config(5, 20, 3)), 0.2), 3, 9},
          {"a projection, dropout of weights", projected, 3, 9},
          {"layer norms", normed, 3, 9},
          {"recurrent dropout", dropped, 3, 9},
          {"nothing", lstm_config(5, 20), 0, 0}};
}

template <class T>
void check_tape() {
  for (const Shape& shape : memory_shapes()) {
    for (const Index recompute : {0, 2, 4}) {
      const check::Context context(shape.reason + ", segments of " + std::to_string(recompute));
      const Problem<T> p = make_problem<T>(shape);
      lstmcore::LstmSequence<T> sequence = p.sequence();
      sequence.recompute = recompute;
      const Lstm<T> lstm(p.config, p.weights());
      LstmTape<T> tape;
      lstm.forward(sequence, {}, {}, tape);
      lstm.backward(tape, {}, {});  // recomputes every segment, so that the tape reaches its full size
      LstmCall call;
      call.batch = p.N;
      call.steps = p.steps;
      call.valid_steps = p.N * p.steps;
      call.recompute = recompute;
      call.vector_bytes = lstmcore::vector_bytes(lstmcore::isa());
      CHECK_EQUAL(lstmcore::lstm_memory<T>(p.config, call).tape, static_cast<Index>(tape.bytes()));
    }
  }
}

}  // namespace

TEST("a tape takes as many bytes as lstm_memory counts") {
  check_tape<float>();
  check_tape<double>();
}

TEST("sizes that exceed all memory are refused") {
  LstmCall call;
  call.vector_bytes = 64;
  CHECK(lstmcore::lstm_memory<float>(lstm_config(1, 1), call).weights > 0);
  call.batch = call.steps = call.valid_steps = Index{1} << 40;
  CHECK_THROWS(lstmcore::lstm_memory<float>(lstm_config(1, 1), call), "steps: expected sizes");
  call.steps = -1;
  CHECK_THROWS(lstmcore::lstm_memory<float>(lstm_config(1, 1), call), "steps: expected at least 0");
  call.steps = 0;
  call.threads = 0;
  CHECK_THROWS(lstmcore::lstm_memory<float>(lstm_config(1, 1), call), "threads");
  CHECK_EQUAL(lstmcore::vector_bytes("sse9"), 0);
}
