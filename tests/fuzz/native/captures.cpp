// Reads any bytes as a capture, and plays what the reader accepts. The only exception that may leave the reader is
// std::runtime_error; what it has accepted can be played, with gains that a float can hold, and with the same bits
// however the samples are divided.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <lstmcore/capture.hpp>
#include <stdexcept>
#include <vector>

#include "input_file.hpp"
#include "memory_rule.hpp"
#include "options.hpp"

namespace {

using lstmcore::Capture;
using lstmcore::CaptureStream;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "a capture that was read breaks a rule: %s\n", what);
  std::abort();
}

std::vector<float> samples() {
  constexpr float largest = std::numeric_limits<float>::max();
  return {0.0f, 0.5f, -1.0f, 1e-40f, -0.0f, largest, std::numeric_limits<float>::infinity(), 0.25f, 2.0f, -0.125f};
}

void set_controls(CaptureStream& stream) {
  for (std::int64_t index = 0; index < stream.controls(); ++index) stream.set_control(index, 0.5f);
}

void play(const Capture& capture) {
  const std::vector<float> x = samples();
  const auto count = static_cast<std::int64_t>(x.size()), first = count / 3;
  std::vector<float> whole(x.size()), parts = x;  // the latter in place
  CaptureStream stream(capture);
  set_controls(stream);
  stream.process(x.data(), whole.data(), count);
  stream.settle(2);
  stream.reset();
  stream.process(parts.data(), parts.data(), first);
  CaptureStream moved(std::move(stream));
  moved.process(parts.data() + first, parts.data() + first, count - first);
  moved.process(nullptr, nullptr, 0);
  require(std::memcmp(whole.data(), parts.data(), x.size() * sizeof(float)) == 0,
          "other bits in two calls than in one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::MemoryRule rule(size);
  try {
    const Capture capture = lstmcore::read_capture(fuzz::file_with(data, size));
    require(std::isfinite(static_cast<float>(capture.input_gain)), "an input gain that is not finite");
    require(std::isfinite(static_cast<float>(capture.output_gain)), "an output gain that is not finite");
    play(capture);
  } catch (const std::runtime_error&) {
    return 0;
  }
  return 0;
}
