// Streams: one step at a time.
#include <algorithm>
#include <limits>
#include <string>

#include "handles.hpp"
#include "status.hpp"

using lstmcore::c::elements;
using lstmcore::c::Failure;
using lstmcore::c::guarded;
using lstmcore::c::require_array;
using lstmcore::c::require_in;
using lstmcore::c::required;
using lstmcore::inference::Network;
using lstmcore::inference::Stream;

namespace {

/// Checks that a stream takes tokens, or features, and that y fits.
Stream& check_step(lstmcore_stream* stream, bool tokens, const float* y, std::size_t y_size) {
  Stream& steps = required(stream, "stream").steps;
  const Network& network = steps.network();
  if (network.takes_tokens() != tokens) {
    throw Failure(LSTMCORE_ERROR_UNSUPPORTED, tokens
                                                  ? "stream: its model takes features; call lstmcore_stream_step"
                                                  : "stream: its model takes tokens; call lstmcore_stream_step_tokens");
  }
  require_array("y", y, y_size, steps.rows() * network.output_size(), "rows x output_size");
  return steps;
}

/// Checks the range of rows and the size of their states.
void check_state(const Stream& steps, std::int64_t first, std::int64_t count, const float* state, std::size_t size) {
  require_in("first", first, 0, steps.rows());
  require_in("count", count, 0, steps.rows() - first);
  require_array("state", state, size, count * steps.network().state_size(), "count x state_size");
}

}  // namespace

extern "C" {

lstmcore_status lstmcore_stream_create(const lstmcore_model* model, int64_t rows, int32_t threads,
                                       lstmcore_stream** stream) {
  return guarded([&] {
    const auto& network = required(model, "model").network;
    lstmcore_stream*& result = required(stream, "stream");
    require_in("rows", rows, 1, std::numeric_limits<std::int64_t>::max());
    if (threads != LSTMCORE_ONE_THREAD && threads != LSTMCORE_MANY_THREADS) {
      lstmcore::c::refuse("threads: expected LSTMCORE_ONE_THREAD or LSTMCORE_MANY_THREADS, got " +
                          std::to_string(threads));
    }
    if (const std::string layer = network->no_stepper(); !layer.empty()) {
      throw Failure(LSTMCORE_ERROR_UNSUPPORTED,
                    "model: layer \"" + layer +
                        "\" needs later steps, or all of them, for an output, so the model cannot stream");
    }
    elements(rows, std::max(network->input_size(), network->output_size()), 1 + network->state_size());
    const auto use = threads == LSTMCORE_ONE_THREAD ? Stream::Threads::one : Stream::Threads::many;
    result = new lstmcore_stream{Stream(network, rows, use)};
  });
}

void lstmcore_stream_free(lstmcore_stream* stream) { delete stream; }

int64_t lstmcore_stream_rows(const lstmcore_stream* stream) { return stream != nullptr ? stream->steps.rows() : 0; }

lstmcore_status lstmcore_stream_step(lstmcore_stream* stream, const float* x, size_t x_size, float* y, size_t y_size) {
  return guarded([&] {
    Stream& steps = check_step(stream, false, y, y_size);
    require_array("x", x, x_size, steps.rows() * steps.network().input_size(), "rows x input_size");
    steps.step(x, y);
  });
}

lstmcore_status lstmcore_stream_step_tokens(lstmcore_stream* stream, const int64_t* tokens, size_t tokens_size,
                                            float* y, size_t y_size) {
  return guarded([&] {
    Stream& steps = check_step(stream, true, y, y_size);
    require_array("tokens", tokens, tokens_size, steps.rows(), "one a row");
    if (const std::int64_t row = steps.read(tokens); row < steps.rows()) {
      lstmcore::c::refuse("tokens: expected 0 to " + std::to_string(steps.network().vocabulary_size() - 1) + ", got " +
                          std::to_string(steps.token(row)) + " at row " + std::to_string(row));
    }
    steps.step_tokens(y);
  });
}

lstmcore_status lstmcore_stream_reset(lstmcore_stream* stream) {
  return guarded([&] {
    Stream& steps = required(stream, "stream").steps;
    for (std::int64_t row = 0; row < steps.rows(); ++row) steps.reset(row);
  });
}

lstmcore_status lstmcore_stream_reset_row(lstmcore_stream* stream, int64_t row) {
  return guarded([&] {
    Stream& steps = required(stream, "stream").steps;
    require_in("row", row, 0, steps.rows() - 1);
    steps.reset(row);
  });
}

lstmcore_status lstmcore_stream_get_state(const lstmcore_stream* stream, int64_t first, int64_t count, float* state,
                                          size_t state_size) {
  return guarded([&] {
    const Stream& steps = required(stream, "stream").steps;
    check_state(steps, first, count, state, state_size);
    steps.get_state(first, count, state);
  });
}

lstmcore_status lstmcore_stream_set_state(lstmcore_stream* stream, int64_t first, int64_t count, const float* state,
                                          size_t state_size) {
  return guarded([&] {
    Stream& steps = required(stream, "stream").steps;
    check_state(steps, first, count, state, state_size);
    steps.set_state(first, count, state);
  });
}

}  // extern "C"
