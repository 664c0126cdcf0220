// Captures of each format play as a slow loop over the equations does, and what is wrong with a file is named.
#include <algorithm>
#include <cmath>
#include <limits>
#include <lstmcore/capture.hpp>
#include <stdexcept>
#include <string>
#include <utility>

#include "allocation_counter.hpp"
#include "captures_kit.hpp"
#include "check.hpp"
#include "model_file_kit.hpp"
#include "realtime.hpp"

using lstmcore::Capture;
using lstmcore::CaptureStream;
using lstmcore::parse_capture;

namespace {

std::vector<double> played(const Capture& capture, const std::vector<float>& x, const std::vector<float>& controls = {},
                           std::int64_t block = 64) {
  CaptureStream stream(capture);
  for (std::size_t index = 0; index < controls.size(); ++index) {
    stream.set_control(static_cast<std::int64_t>(index), controls[index]);
  }
  std::vector<float> y(x.size());
  for (std::int64_t at = 0; at < static_cast<std::int64_t>(x.size()); at += block) {
    stream.process(x.data() + at, y.data() + at, std::min(block, static_cast<std::int64_t>(x.size()) - at));
  }
  return {y.begin(), y.end()};
}

std::vector<float> signal() { return random_values<float>(200, 42, 0.9); }

// Rounding to float of some hundred operations; the reference computes in double.
constexpr double tolerance = 3e-6;

void refused_capture(const std::string& text, const char* message) {
  const check::Context context(message);
  CHECK_THROWS(parse_capture(text), message);
}

}  // namespace

TEST("Neural Amp Modeler: one and two layers, with the first state") {
  for (const std::int64_t layers : {1, 2}) {
    CaptureMaker maker;
    maker.layers = layers;
    maker.first_state = true;
    const Capture capture = parse_capture(maker.nam());
    CHECK_ARRAYS_CLOSE(played(capture, signal()), maker.played(signal()), tolerance);
    CHECK_EQUAL(capture.sample_rate, 48000.0);
    CHECK_EQUAL(capture.name, "Verst\xC3\xA4rker");
    CHECK(capture.loudness == -17.5);
    CHECK(capture.input_level == 18.3);
    CHECK(!capture.output_level.has_value());
    CHECK(!capture.skip);
    CHECK_EQUAL(capture.layers.size(), static_cast<std::size_t>(layers) + 1);
    CHECK(capture.layers[0].c == maker.c(0));
  }
}

TEST("RTNeural and AIDA-X: skip, gains and controls") {
  CaptureMaker maker;
  maker.layers = 2;
  maker.inputs = 3;
  maker.skip = true;
  maker.input_gain = std::pow(10, 0.3);  // 6 dB
  maker.output_gain = std::pow(10, -0.6);
  const Capture capture = parse_capture(maker.rtneural());
  CHECK_EQUAL(capture.input_size, 3);
  CHECK_EQUAL(capture.sample_rate, 44100.0);
  CHECK_EQUAL(CaptureStream(capture).controls(), 2);
  const std::vector<float> controls = {0.25f, -0.5f};
  CHECK_ARRAYS_CLOSE(played(capture, signal(), controls), maker.played(signal(), controls), tolerance);
  CHECK_ARRAYS_CLOSE(played(capture, signal()), maker.played(signal(), {0, 0}), tolerance);
}

TEST("state dicts: with a description, alone, and with two biases") {
  for (const bool skip : {false, true}) {
    CaptureMaker maker;
    maker.skip = skip;
    maker.layers = 2;
    const Capture capture = parse_capture(maker.state_dict());
    CHECK_EQUAL(capture.skip, skip);
    CHECK_ARRAYS_CLOSE(played(capture, signal()), maker.played(signal()), tolerance);
  }
  const CaptureMaker maker;
  const std::string alone = "{" + maker.tensors() + "}";
  CHECK_ARRAYS_CLOSE(played(parse_capture(alone), signal()), maker.played(signal()), tolerance);

  std::vector<float> half = maker.bias(0);
  for (float& value : half) value /= 2;
  std::string halves = replaced(alone, CaptureMaker::list(maker.bias(0)), CaptureMaker::list(half));
  halves = replaced(halves, CaptureMaker::list(std::vector<float>(20)), CaptureMaker::list(half));
  CHECK_ARRAYS_CLOSE(played(parse_capture(halves), signal()), maker.played(signal()), tolerance);
}

TEST("dense layers between and after, with activations") {
  const std::string text =
      R"({"in_shape": [null, 1], "layers": [)"
      R"({"type": "time-distributed-dense", "activation": "tanh", "shape": [null, 2], "weights": [[[0.5, -1]], [0.25, 0]]},)"
      R"({"type": "lstm", "activation": "tanh", "recurrent_activation": "sigmoid", "shape": [null, 1],)"
      R"( "weights": [[[1, 0, 1, 0], [0, 0, 1, 0]], [[0, 0, 0, 0]], [0, 0, 0, 0]]},)"
      R"({"type": "dense", "shape": [null, 1], "weights": [[[-2]], [0.125]]}, {"type": "activation", "activation": "relu",)"
      R"( "shape": [null, 1], "weights": []}]})";
  const Capture capture = parse_capture(text);
  double c = 0;
  std::vector<double> expected;
  const std::vector<float> x = {0.5f, -0.75f, 1.0f, -1.0f};
  for (const float sample : x) {
    const double a = std::tanh(0.5 * static_cast<double>(sample) + 0.25), b = std::tanh(-static_cast<double>(sample));
    c = 0.5 * c + 1 / (1 + std::exp(-a)) * std::tanh(a + b);
    expected.push_back(std::max(0.0, 0.125 - 2 * 0.5 * std::tanh(c)));
  }
  CHECK_ARRAYS_CLOSE(played(capture, x), expected, tolerance);
}

TEST("blocks do not change bits, process works in place, reset returns to the first state, settle plays silence") {
  CaptureMaker maker;
  maker.first_state = true;
  maker.units = 9;  // sums of the dense layer have a rest
  const Capture capture = parse_capture(maker.nam());
  const std::vector<double> whole = played(capture, signal(), {}, 200);
  for (const std::int64_t block : {1, 7, 64}) CHECK(played(capture, signal(), {}, block) == whole);
  CHECK_ARRAYS_CLOSE(whole, maker.played(signal()), tolerance);

  CaptureStream stream(capture);
  std::vector<float> samples = signal();
  stream.settle(10);
  stream.reset();
  stream.process(samples.data(), samples.data(), 200);
  CHECK(std::vector<double>(samples.begin(), samples.end()) == whole);

  std::vector<float> silence(10), after(10);
  CaptureStream by_settling(capture), by_playing(capture);
  by_settling.settle(10);
  by_playing.process(silence.data(), after.data(), 10);
  by_settling.process(silence.data(), samples.data(), 10);
  by_playing.process(silence.data(), after.data(), 10);
  CHECK(std::vector<float>(samples.begin(), samples.begin() + 10) == after);
}

TEST("a state that is taken and set again continues with the same bits, whatever was played between") {
  CaptureMaker maker;
  maker.layers = 2;
  maker.first_state = true;
  CaptureStream stream(parse_capture(maker.nam()));
  CHECK_EQUAL(stream.state_size(), 4 * maker.units);
  const std::vector<float> x = signal();
  std::vector<float> state(4 * 5), first(100), between(50), second(100);
  stream.process(x.data(), between.data(), 50);
  stream.get_state(state.data());
  stream.process(x.data(), first.data(), 100);
  stream.set_state(state.data());
  stream.process(x.data(), second.data(), 100);
  CHECK(first == second);
  CHECK(!(state == std::vector<float>(20)));
}

TEST("an infinite sample reaches the output only through a skip connection") {
  CaptureMaker maker;
  const float infinite = std::numeric_limits<float>::infinity();
  for (const bool skip : {false, true}) {
    maker.skip = skip;
    CaptureStream stream(parse_capture(maker.rtneural()));
    float y = 0;
    stream.process(&infinite, &y, 1);  // all gates are 0 or 1, so that h is finite
    CHECK_EQUAL(std::isfinite(y), !skip);
    CHECK_EQUAL(y == infinite, skip);
  }
}

TEST("process allocates nothing") {
  CaptureMaker maker;
  maker.layers = 2;
  CaptureStream stream(parse_capture(maker.nam()));
  std::vector<float> samples = signal();
  const long before = allocations();
  in_realtime([&] {
    stream.process(samples.data(), samples.data(), 200);
    stream.reset();
    stream.settle(10);
  });
  CHECK_EQUAL(allocations(), before);
}

TEST("the layer's LSTM is one that LstmStream plays") {
  CaptureMaker maker;
  maker.first_state = true;
  const Capture capture = parse_capture(maker.nam());
  const lstmcore::CaptureLayer& layer = capture.layers[0];
  lstmcore::LstmStream<float> stream(layer.lstm());
  stream.set_state({{layer.h.data(), {1, 1, 5}}, {layer.c.data(), {1, 1, 5}}});
  const float x = 0.5f;
  std::vector<float> h(5);
  stream.step(&x, h.data());
  double y = static_cast<double>(capture.layers[1].bias[0]);
  for (std::size_t unit = 0; unit < 5; ++unit) y += static_cast<double>(h[unit] * capture.layers[1].kernel[unit]);
  CHECK_CLOSE(y, maker.played({x})[0], 1e-5);
  CHECK_THROWS(capture.layers[1].lstm(), "expected an LSTM, got a dense layer");
}

TEST("architectures, layers and units that are not read are named") {
  const CaptureMaker maker;
  refused_capture(replaced(maker.nam(), "\"LSTM\"", "\"WaveNet\""), "got \"WaveNet\"");
  refused_capture(replaced(maker.nam(), "0.5.4", "0.4.0"),
                  "version: expected one that begins with 0.5., 0.6. or 0.7., got \"0.4.0\"");
  refused_capture(replaced(maker.rtneural(), "\"lstm\"", "\"gru\""), "layer 0: expected lstm, dense");
  refused_capture(replaced(maker.rtneural(), "\"lstm\"", "\"conv1d\""), "got \"conv1d\"");
  refused_capture(replaced(maker.rtneural(), "\"dense\", \"activation\": \"\"", "\"dense\", \"activation\": \"elu\""),
                  "layer 1 (dense): expected linear, relu, tanh, sigmoid, softmax or \"\" as activation, got \"elu\"");
  refused_capture(replaced(maker.rtneural(), "\"lstm\", \"activation\": \"\"", "\"lstm\", \"activation\": \"relu\""),
                  "expected tanh or \"\" as activation of an LSTM, got \"relu\"");
  refused_capture(replaced(maker.state_dict(), "\"LSTM\"", "\"GRU\""), "expected LSTM as unit_type");
  refused_capture(replaced(maker.state_dict(), "SimpleRNN", "GatedConvNet"), "got \"GatedConvNet\"");
  refused_capture(replaced(maker.state_dict(), "\"lin.bias\"", "\"lin.scale\""), "got also lin.scale");
  refused_capture(R"({"rec.weight_ih_l0": [[1], [1], [1]], "rec.weight_hh_l0": [[1], [1], [1]], "lin.weight": [[1]]})",
                  "got (3, 1) and (3, 1); other recurrent units are not read");
  refused_capture("{\"weights\": []}", "got an object with weights");
  refused_capture("[]", "expected a JSON object");
  refused_capture("{\"layers\": [}", "not valid JSON");
}

TEST("what a stream could not play is refused when it is read") {
  CaptureMaker maker;
  const std::string rtneural = maker.rtneural();
  const auto gain = [&](const char* decibels) { return replaced(rtneural, "\"in_gain\": 0.000000", decibels); };
  refused_capture(gain("\"in_gain\": 771"), "in_gain: expected at most 770 dB, whose factor a float can hold, got 771");
  refused_capture(gain("\"in_gain\": 1e999"), "in_gain: expected at most 770 dB");
  refused_capture(gain("\"in_gain\": \"6 dB\""), "in_gain: expected a number, got a string");
  CHECK(std::isfinite(static_cast<float>(parse_capture(gain("\"in_gain\": 770")).input_gain)));
  CHECK_EQUAL(parse_capture(gain("\"in_gain\": -1e9")).input_gain, 0.0);
  refused_capture(replaced(rtneural, "\"out_gain\": 0.000000", "\"out_gain\": 800"), "out_gain: expected at most 770");
  refused_capture(replaced(rtneural, "\"dense\", \"activation\": \"\"", "\"dense\", \"activation\": 3"),
                  "layer 1 (dense): expected a string as activation, got an integer");
  refused_capture(replaced(rtneural, "\"lstm\", \"activation\": \"\"", "\"lstm\", \"activation\": [\"relu\"]"),
                  "layer 0 (lstm): expected a string as activation, got a list");
  refused_capture(replaced(rtneural, "[null, null, 1]", "[null, null, null]"),
                  "last entry of in_shape: expected an integer from 1 to 65536, got null");

  maker.layers = 2;
  const std::string dict = maker.state_dict();
  const std::string second = CaptureMaker::matrix(maker.ih(1), 20);
  refused_capture(replaced(dict, second, CaptureMaker::matrix(maker.random(20 * 4, 1, 1), 20)),
                  "state_dict: expected 5 columns in rec.weight_ih_l1, the units of the layer below, got 4");
  const std::vector<float> large(20, 3e38f);
  std::string sums = replaced(maker.state_dict(), CaptureMaker::list(maker.bias(1)), CaptureMaker::list(large));
  sums = replaced(sums, "\"rec.bias_hh_l1\": " + CaptureMaker::list(std::vector<float>(20)),
                  "\"rec.bias_hh_l1\": " + CaptureMaker::list(large));
  refused_capture(sums, "rec.bias_ih_l1 + bias_hh_l1: expected sums that a float can hold");
}

TEST("notes about a capture never make it unplayable") {
  const CaptureMaker maker;
  const std::string rtneural = maker.rtneural(), nam = maker.nam();
  const auto rate = [&](const std::string& note) {
    const check::Context context(note);
    const double found = parse_capture(replaced(rtneural, "44100.0", note)).sample_rate;
    CHECK_EQUAL(parse_capture(replaced(nam, "48000", note)).sample_rate, found);
    const std::string dict =
        replaced(maker.state_dict(), "{\"model_data\"", "{\"samplerate\": " + note + ", \"model_data\"");
    CHECK_EQUAL(parse_capture(dict).sample_rate, found);
    return found;
  };
  CHECK_EQUAL(rate("\"48000\""), 48000.0);
  CHECK_EQUAL(rate("\" 44100.5 \""), 44100.5);
  for (const char* const none : {"\"48 kHz\"", "\"\"", "\"-1\"", "\"inf\"", "\"1e999\"", "-44100", "0", "1e999", "true",
                                 "null", "[48000]", "{}"}) {
    CHECK_EQUAL(rate(none), 0.0);
  }
  // The next place counts where the first says nothing.
  CHECK_EQUAL(parse_capture(replaced(rtneural, "44100.0", "\"?\", \"sample_rate\": 96000")).sample_rate, 96000.0);
  CHECK(parse_capture(replaced(nam, "-17.5", "\"-17.5\"")).loudness == -17.5);
  CHECK(!parse_capture(replaced(nam, "-17.5", "\"quiet\"")).loudness.has_value());
  CHECK(!parse_capture(replaced(nam, "18.3", "[18.3]")).input_level.has_value());
}

TEST("switches are 0 or 1 in any kind of number, or truth values") {
  const CaptureMaker maker;
  const std::pair<std::string, std::string> forms[] = {{maker.rtneural(), "\"in_skip\": "},
                                                       {maker.state_dict(), "\"skip\": "}};
  for (const auto& [text, name] : forms) {
    const auto with = [&, &text = text, &name = name](const char* value) {
      return replaced(text, name + "0", name + value);
    };
    for (const char* const on : {"1", "1.0", "true"}) CHECK(parse_capture(with(on)).skip);
    for (const char* const off : {"0", "0.0", "false"}) CHECK(!parse_capture(with(off)).skip);
    refused_capture(with("2"), "skip: expected 0 or 1, got 2");
    refused_capture(with("0.5"), "skip: expected 0 or 1, got 0.5");
    refused_capture(with("1e300"), "skip: expected 0 or 1, got 1e+300");
    refused_capture(with("1e-9"), "skip: expected 0 or 1, got 1e-09");
    refused_capture(with("\"1\""), "skip: expected 0 or 1, got a string");
  }
  CHECK(!parse_capture(replaced(maker.rtneural(), "\"in_skip\": 0", "\"in_skip\": null")).skip);
  refused_capture(replaced(maker.state_dict(), "\"skip\": 0, ", ""), "model_data: missing skip");
}

TEST("a mark of the byte order is skipped") {
  const std::string text = CaptureMaker().nam(), mark = "\xEF\xBB\xBF";
  CHECK(played(parse_capture(mark + text), signal()) == played(parse_capture(text), signal()));
  refused_capture(mark + "x", "not valid JSON: expected a value at byte 3");
  refused_capture(mark, "not valid JSON");
  refused_capture(mark + mark + text, "not valid JSON: expected a value at byte 3");
}

TEST("after a sample that is not a number, none is until the stream is reset") {
  CaptureMaker maker;
  CaptureStream stream(parse_capture(maker.nam()));
  const float not_a_number = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = signal();
  std::vector<float> y(x.size());
  stream.process(&not_a_number, y.data(), 1);
  CHECK(std::isnan(y[0]));
  stream.process(x.data(), y.data(), 200);
  CHECK(std::all_of(y.begin(), y.end(), [](float sample) { return std::isnan(sample); }));
  stream.reset();
  stream.process(x.data(), y.data(), 200);
  CHECK_ARRAYS_CLOSE(std::vector<double>(y.begin(), y.end()), maker.played(x), tolerance);
}

TEST("a control that is not a number has to be set again") {
  CaptureMaker maker;
  maker.inputs = 3;
  const Capture capture = parse_capture(maker.rtneural());
  CaptureStream stream(capture);
  CHECK_EQUAL(stream.controls(), 2);
  const std::vector<float> x = signal(), controls = {0.25f, -0.5f};
  std::vector<float> y(x.size());
  const auto play = [&] { stream.process(x.data(), y.data(), static_cast<std::int64_t>(x.size())); };
  const auto none_is_a_number = [&] {
    return std::all_of(y.begin(), y.end(), [](float sample) { return std::isnan(sample); });
  };
  stream.set_control(0, controls[0]);
  stream.set_control(1, std::numeric_limits<float>::quiet_NaN());
  play();
  CHECK(none_is_a_number());
  stream.reset();  // leaves the controls
  play();
  CHECK(none_is_a_number());
  stream.set_control(1, controls[1]);  // leaves the state
  play();
  CHECK(none_is_a_number());
  stream.reset();
  play();
  CHECK(std::vector<double>(y.begin(), y.end()) == played(capture, x, controls));
}

TEST("files beyond 16 MiB are refused before they are read") {
  const std::string text(static_cast<std::size_t>(lstmcore::most_capture_bytes) + 1, ' ');
  refused_capture(text, "expected a capture, of at most 16777216 bytes, got more");
  const TemporaryFile file(text, "large.nam");
  CHECK_THROWS(lstmcore::read_capture(std::filesystem::u8path(file.path())),
               "large.nam: expected a capture, of at most");
  refused_capture(text.substr(1), "not valid JSON");
}

TEST("sizes and numbers are checked") {
  const CaptureMaker maker;
  const std::string nam = maker.nam();
  refused_capture(replaced(nam, "\"weights\": [", "\"weights\": [1, "),
                  "weights: expected 156 numbers for 1 layers of 5 units, got 157");
  refused_capture(replaced(nam, "\"hidden_size\": 5", "\"hidden_size\": 65536"), "got 156");
  refused_capture(replaced(nam, "\"hidden_size\": 5", "\"hidden_size\": 0"),
                  "config: hidden_size: expected an integer from 1");
  refused_capture(replaced(nam, "\"num_layers\": 1", "\"num_layers\": 9223372036854775807"),
                  "num_layers: expected an integer from 1");
  refused_capture(replaced(nam, "\"input_size\": 1", "\"input_size\": 2"), "expected 1 as input_size");
  refused_capture(replaced(nam, "\"num_layers\"", "\"out_channels\": 2, \"num_layers\""), "expected 1 as out_channels");
  refused_capture(replaced(nam, "\"num_layers\"", "\"gated\": true, \"num_layers\""), "unknown gated");
  refused_capture(replaced(nam, CaptureMaker::text(maker.head_bias()) + "]", "1e39]"),
                  "weights: number 155: expected a number that a float");
  refused_capture(replaced(nam, CaptureMaker::text(maker.head_bias()) + "]", "null]"),
                  "weights: number 155: expected a number");
  const std::string rtneural = maker.rtneural();
  refused_capture(replaced(rtneural, "[null, null, 5]", "[null, null, 4]"),
                  "kernel: row 0: expected 16 numbers, got 20");
  refused_capture(replaced(rtneural, "[null, null, 1]", "[null, null, 2]"),
                  "layer 0 (lstm): kernel: expected 2 rows, got 1");
  refused_capture(replaced(rtneural, "\"in_skip\": 0", "\"in_skip\": 2"), "in_skip: expected 0 or 1, got 2");
  refused_capture(R"({"in_shape": [1], "layers": []})", "expected at least one LSTM layer");
  const std::string dict = maker.state_dict();
  refused_capture(replaced(dict, "\"hidden_size\": 5", "\"hidden_size\": 6"),
                  "hidden_size is 6, but the tensors have 5");
  refused_capture(replaced(dict, "\"skip\": 0", "\"skip\": 2"), "model_data: skip: expected 0 or 1, got 2");
  refused_capture(replaced(dict, "\"lin.weight\": [", "\"lin.weight\": [[1], "), "lin.weight: expected 1 rows, got 2");
}

TEST("a stream checks captures that a program made") {
  Capture capture = parse_capture(CaptureMaker().rtneural());
  for (double* const gain : {&capture.input_gain, &capture.output_gain}) {
    const std::string name = gain == &capture.input_gain ? "input_gain" : "output_gain";
    *gain = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS(CaptureStream{capture}, (name + ": expected a factor that a float can hold, got nan").c_str());
    *gain = 1e39;
    CHECK_THROWS(CaptureStream{capture}, (name + ": expected a factor that a float can hold").c_str());
    *gain = 1;
  }
  capture.layers[1].input_size = 4;
  CHECK_THROWS(CaptureStream{capture}, "layers: expected an input_size of 5, got 4");
  capture.layers[1].input_size = 5;
  capture.layers[1].kernel.pop_back();
  CHECK_THROWS(CaptureStream{capture}, "expected a kernel (C, U)");
  capture.layers.pop_back();
  CHECK_THROWS(CaptureStream{capture}, "with one output at the end, got 5");
  capture.layers[0].h.pop_back();
  CHECK_THROWS(CaptureStream{capture}, "expected a first state of 5 numbers");
  capture.layers[0].output_size = -1;
  CHECK_THROWS(CaptureStream{capture}, "expected an output_size of at least 1, got -1");
  capture.layers[0].output_size = 5;
  capture.layers[0].bias.pop_back();
  CHECK_THROWS(CaptureStream{capture}, "got arrays of 20, 100 and 19 numbers");
}

TEST("files, also with names beyond ASCII; every truncation is refused with the path") {
  const std::string text = CaptureMaker().nam();
  const TemporaryFile file(text, "Verst\xC3\xA4rker \xE9\x9F\xB3.nam");
  const std::filesystem::path path = std::filesystem::u8path(file.path());
  CHECK(played(lstmcore::read_capture(path), signal()) == played(parse_capture(text), signal()));
  for (std::size_t size = 0; size < text.size(); ++size) CHECK_THROWS(parse_capture(text.substr(0, size)), "JSON");
  const TemporaryFile broken(text.substr(0, 100), "\xC3\xA4.nam");
  CHECK_THROWS(lstmcore::read_capture(std::filesystem::u8path(broken.path())), broken.path().c_str());
  CHECK_THROWS(lstmcore::read_capture("no such file.nam"), "no such file.nam: cannot be read");
  CHECK_THROWS(lstmcore::read_capture(""), "an empty path: cannot be read");
  CHECK_THROWS(lstmcore::read_capture("."), "cannot be read");
}

TEST("an allocation that fails") {
  CaptureMaker maker;
  maker.units = 2;
  maker.first_state = true;
  const auto numbers = [](const Capture& capture) {
    std::vector<float> all;
    for (const auto& layer : capture.layers) {
      for (const auto* part : {&layer.weight_ih, &layer.weight_hh, &layer.kernel, &layer.bias, &layer.h, &layer.c}) {
        all.insert(all.end(), part->begin(), part->end());
      }
    }
    return all;
  };
  for (const std::string& text : {maker.nam(), maker.rtneural(), maker.state_dict()}) {
    check_failing_allocations([&] { return numbers(parse_capture(text)); });
    const TemporaryFile file(text, ".json");
    check_failing_allocations([&] { return numbers(lstmcore::read_capture(file.path())); });
  }
}
