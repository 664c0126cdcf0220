// A step of a stream of the C interface asks for no memory and takes no lock.
#include <lstmcore/lstmcore.h>

#include <limits>
#include <string>
#include <vector>

#include "allocation_counter.hpp"
#include "check.hpp"
#include "lock_counter.hpp"
#include "model_file_kit.hpp"
#include "realtime.hpp"

namespace {

/// Steps and resets of `rows` rows of a golden model, after a first step.
void check_steps(const std::string& name, std::int64_t rows) {
  const check::Context context(name + ", N " + std::to_string(rows));
  lstmcore_model* model = nullptr;
  lstmcore_stream* stream = nullptr;
  lstmcore_model_info info{};
  info.struct_size = sizeof(info);
  CHECK_EQUAL(lstmcore_model_load((golden + "/" + name).c_str(), &model), LSTMCORE_OK);
  CHECK_EQUAL(lstmcore_model_get_info(model, &info), LSTMCORE_OK);
  CHECK_EQUAL(lstmcore_stream_create(model, rows, LSTMCORE_ONE_THREAD, &stream), LSTMCORE_OK);
  std::vector<float> x(static_cast<std::size_t>(rows * info.input_size), 0.5f);
  std::vector<float> y(static_cast<std::size_t>(rows * info.output_size));
  const std::vector<std::int64_t> tokens(static_cast<std::size_t>(info.vocabulary_size > 0 ? rows : 0), 1);
  int failures = 0;
  const auto step = [&] {
    failures += info.vocabulary_size > 0
                    ? lstmcore_stream_step_tokens(stream, tokens.data(), tokens.size(), y.data(), y.size())
                    : lstmcore_stream_step(stream, x.data(), x.size(), y.data(), y.size());
  };
  step();
  const long memory = allocations(), taken = locks();
  in_realtime([&] {
    for (int t = 0; t < 4; ++t) step();
    if (!x.empty()) x[0] = std::numeric_limits<float>::infinity();
    step();
    failures += lstmcore_stream_reset_row(stream, rows - 1);
    failures += lstmcore_stream_reset(stream);
  });
  const long asked = allocations() - memory, locked = locks() - taken;
  CHECK_EQUAL(failures, 0);
  CHECK_EQUAL(asked, 0);
  CHECK_EQUAL(locked, 0);
  lstmcore_stream_free(stream);
  lstmcore_model_free(model);
}

}  // namespace

TEST("every layer that runs step by step, alone and with many rows") {
  for (const char* const name : {"stream_model", "steps_model", "catchment"}) {
    for (const std::int64_t rows : {1, 3, 200}) check_steps(name + std::string(".safetensors"), rows);
  }
}
