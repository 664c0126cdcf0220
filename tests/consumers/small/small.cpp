// The smallest useful program: an LSTM of 16 units as a stream. With an argument, it makes a mistake on purpose, to
// show how a library without exceptions reports it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <lstmcore/errors.hpp>
#include <lstmcore/lstm.hpp>
#include <vector>
#ifdef SMALL_READS_FILES
#include <lstmcore/capture.hpp>
#include <lstmcore/model_file.hpp>
#endif

namespace {

#ifdef LSTMCORE_NO_EXCEPTIONS
void report(const char* text) {
  std::printf("handled: %s\n", text);
  std::exit(3);
}
#endif

int run(bool wrong) {
  const std::int64_t inputs = 1, units = 16;
  lstmcore::LstmConfig config;
  config.input_size = inputs;
  config.hidden_size = wrong ? 0 : units;
  const std::vector<float> input(4 * units * inputs, 0.25f), recurrent(4 * units * units, 0.01f), bias(4 * units, 0.0f);
  lstmcore::LstmStream<float> stream(lstmcore::Lstm<float>(
      config,
      {{{input.data(), {4 * units, inputs}}, {recurrent.data(), {4 * units, units}}, {bias.data(), {4 * units}}}}));
  std::vector<float> h(units);
  for (int t = 0; t < 100; ++t) {
    const float x = 0.01f * static_cast<float>(t);
    stream.step(&x, h.data());
  }
  std::printf("%.4f\n", static_cast<double>(h[0]));
  return h[0] > 0.0f && h[0] == h[15] ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef LSTMCORE_NO_EXCEPTIONS
  lstmcore::set_error_handler(&report);
#endif
#ifdef SMALL_READS_FILES
  if (argc > 2) {
    if (std::strcmp(argv[1], "capture") == 0) {
      lstmcore::CaptureStream stream(lstmcore::read_capture(argv[2]));
      float sample = 0.5f;
      stream.process(&sample, &sample, 1);
      std::printf("%.6f\n", static_cast<double>(sample));
    } else {
      std::printf("%zu layers\n", lstmcore::ModelFile(argv[2]).layers().size());
    }
    return 0;
  }
#endif
  return run(argc > 1 && std::strcmp(argv[1], "wrong") == 0);
}
