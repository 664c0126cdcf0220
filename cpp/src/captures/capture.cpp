// A capture's file: which format it has, and what all formats have in common.
#include <algorithm>
#include <iterator>
#include <lstmcore/capture.hpp>
#include <string_view>

#include "../api/check.hpp"
#include "../model_file/file_error.hpp"
#include "../model_file/json.hpp"
#include "../model_file/open_file.hpp"
#include "formats.hpp"

namespace lstmcore {
namespace {

std::string members_of(const json::Value& document) {
  return document.object().empty() ? "nothing" : listed(document.object(), &json::Member::name);
}

Capture read_document_of_capture(const json::Value& document) {
  if (document.find("architecture") != nullptr) return captures::read_nam(document);
  if (document.find("layers") != nullptr) return captures::read_rtneural(document);
  if (captures::holds_state_dict(document)) return captures::read_state_dict(document);
  if (!document.is(json::Value::Kind::object)) fail_reading("expected a JSON object");
  fail_reading(
      "expected a capture, with \"architecture\" (Neural Amp Modeler), \"layers\" (RTNeural) or \"state_dict\" "
      "(GuitarML), got an object with " +
      members_of(document));
}

void check_network(const Capture& capture) {
  const auto recurrent = [](const CaptureLayer& layer) { return layer.recurrent; };
  if (std::none_of(capture.layers.begin(), capture.layers.end(), recurrent)) {
    fail_reading("expected at least one LSTM layer, got none");
  }
  const std::int64_t outputs = capture.layers.back().output_size;
  if (outputs != 1) fail_reading("expected one output, the sample, got " + std::to_string(outputs));
}

void check_bytes(std::uint64_t bytes) {
  if (bytes <= most_capture_bytes) return;
  fail_reading("expected a capture, of at most " + std::to_string(most_capture_bytes) + " bytes, got more");
}

std::string contents_of(const std::filesystem::path& path) {
  OpenFile file = open_file(path);
  check_bytes(file.size);
  std::string text(static_cast<std::size_t>(file.size), '\0');
  read_bytes(file.stream, text.data(), file.size);
  return text;
}

}  // namespace

const char* capture_format_name(CaptureFormat format) {
  constexpr const char* names[] = {"nam", "rtneural", "state_dict"};
  return names[static_cast<int>(format)];
}

Lstm<float> CaptureLayer::lstm() const {
  require(recurrent, "layer: expected an LSTM, got a dense layer");
  LstmConfig config;
  config.input_size = input_size;
  config.hidden_size = output_size;
  const std::int64_t gates = gate_count * output_size;
  require(input_size >= 1 && output_size >= 1 && static_cast<std::int64_t>(weight_ih.size()) == gates * input_size &&
              static_cast<std::int64_t>(weight_hh.size()) == gates * output_size &&
              static_cast<std::int64_t>(bias.size()) == gates,
          "layer: expected weights (4H, C), (4H, H) and (4H) for input_size ", input_size, " and output_size ",
          output_size, ", got arrays of ", weight_ih.size(), ", ", weight_hh.size(), " and ", bias.size(), " numbers");
  return Lstm<float>(
      config,
      {{{weight_ih.data(), {gates, input_size}}, {weight_hh.data(), {gates, output_size}}, {bias.data(), {gates}}}});
}

Capture parse_capture(const std::string& text) {
  check_bytes(static_cast<std::int64_t>(text.size()));
  constexpr std::string_view mark = "\xEF\xBB\xBF";  // of UTF-8, which some editors write at the beginning
  const bool marked = text.compare(0, mark.size(), mark) == 0;
  // Spaces in its place, so that errors name the file's own bytes. Without a mark, nothing is copied.
  std::string blanked;
  if (marked) blanked = std::string(text).replace(0, mark.size(), mark.size(), ' ');
  const json::Value document =
      rephrased<std::invalid_argument>([&] { return json::parse(marked ? blanked : text); },
                                       [](const std::string& error) { fail_reading("not valid " + error); });
  Capture capture = read_document_of_capture(document);
  check_network(capture);
  return capture;
}

Capture read_capture(const std::filesystem::path& path) {
  return rephrased<std::runtime_error>([&] { return parse_capture(contents_of(path)); },
                                       [&](const std::string& text) { fail_reading(text_of(path) + ": " + text); });
}

}  // namespace lstmcore
