// Plays a WAV file through the capture of an amplifier, in blocks as an audio driver would pass them, and reports how
// the time that it takes compares with the time that the sound lasts.
//
//   cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=<where lstmcore is installed>
//   cmake --build build
//   build/play_capture amplifier.nam guitar.wav played.wav [control ...]
//
// The capture is a .nam file of Neural Amp Modeler with an LSTM, a .json or .aidax file of RTNeural or AIDA-X, or a
// .json file of GuitarML. A captured knob takes its value, usually 0 to 1, from the last arguments.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <lstmcore/capture.hpp>
#include <lstmcore/cpu.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "wav.hpp"

namespace {

constexpr std::int64_t block = 64;

void describe(const lstmcore::Capture& capture) {
  std::printf("%s \"%s\":", lstmcore::capture_format_name(capture.format), capture.name.c_str());
  for (const lstmcore::CaptureLayer& layer : capture.layers) {
    std::printf(" %s(%lld)", layer.recurrent ? "lstm" : "dense", static_cast<long long>(layer.output_size));
  }
  std::printf("%s\n", capture.skip ? ", added to the sample" : "");
}

void play(const char* capture_path, const char* from, const char* to, const std::vector<float>& controls) {
  const lstmcore::Capture capture = lstmcore::read_capture(capture_path);
  describe(capture);
  example::Sound sound = example::WavReader(from).read();
  if (capture.sample_rate > 0 && capture.sample_rate != sound.rate) {
    throw std::runtime_error("the capture is for " + std::to_string(static_cast<long>(capture.sample_rate)) +
                             " samples a second, but the sound has " + std::to_string(sound.rate) +
                             "; convert it first, for example with sox");
  }
  lstmcore::CaptureStream stream(capture);
  if (static_cast<std::int64_t>(controls.size()) != stream.controls()) {
    throw std::runtime_error("expected " + std::to_string(stream.controls()) + " controls, got " +
                             std::to_string(controls.size()));
  }
  for (std::size_t index = 0; index < controls.size(); ++index) {
    stream.set_control(static_cast<std::int64_t>(index), controls[index]);
  }
  const auto count = static_cast<std::int64_t>(sound.samples.size());
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t at = 0; at < count; at += block) {
    float* const samples = sound.samples.data() + at;
    stream.process(samples, samples, std::min(block, count - at));
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  example::write_wav(to, sound);
  const double lasts = static_cast<double>(count) / sound.rate;
  std::printf("%.2f s of sound in blocks of %lld on %s: %.3f s, %.1f times as fast as it is played\n", lasts,
              static_cast<long long>(block), lstmcore::isa().c_str(), taken.count(), lasts / taken.count());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s CAPTURE FROM.wav TO.wav [CONTROL ...]\n", argv[0]);
    return 2;
  }
  try {
    std::vector<float> controls;
    for (int index = 4; index < argc; ++index) {
      const std::string what = "CONTROL " + std::to_string(index - 3);
      controls.push_back(static_cast<float>(example::finite_number(what, argv[index])));
    }
    play(argv[1], argv[2], argv[3], controls);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
