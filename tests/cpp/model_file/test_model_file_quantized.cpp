// Quantized model files: integers, scales, and the layers that the engine makes of them.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <lstmcore/model_file.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "model_file/safetensors.hpp"
#include "model_file_kit.hpp"
#include "runtime/isa.hpp"

using lstmcore::ModelFile;
using lstmcore::Precision;

namespace {

std::string int8_bytes(const std::vector<int>& numbers) {
  std::string bytes;
  for (const int number : numbers) bytes += static_cast<char>(number);
  return bytes;
}

std::string float_bytes(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(&bytes[0], values.data(), bytes.size());
  return bytes;
}

const std::vector<int> numbers_ih = {-127, 5, 127, 127, 0, 127, 0, 0, 3, -127, 127, -1, 90, 127, -127, -127};
const std::vector<float> scales_ih = {0.5f, 0.01171875f, 1.0f, 0.0f, 0.25f, 0.125f, 1e-2f, 3.0f};
const std::vector<int> numbers_hh = {127, 1, 2, 127, -127, 3, 4, 127, 127, 5, 6, -127, 127, 7, 8, 127};
const std::vector<float> scales_hh = {0.0078125f, 0.5f, 0.03125f, 0.25f, 0.0625f, 0.125f, 0.015625f, 1.0f};

/// The value with its last 8 binary digits set to 0: a scale has 16.
float short_scale(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= 0xFFFFFF00u;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

std::vector<float> shortened(std::vector<float> scales) {
  for (float& scale : scales) scale = short_scale(scale);
  return scales;
}

ModelFileMaker quantized_maker() {
  ModelFileMaker maker;
  maker.document = replaced(maker.document, "\"format\": 1, ", "\"format\": 2, \"quantization\": \"int8\", ");
  maker.walk_config = replaced(maker.walk_config, "\"seed\": null", "\"seed\": null, \"precision\": \"int8\"");
  maker.tensors["out.kernel"].first = maker.tensors["walk.weight_ih_l0"].first = "I8";
  maker.tensors["walk.weight_hh_l0"].first = "I8";
  maker.tensors["out.kernel.scale"] = {"F32", {1}};
  maker.tensors["walk.weight_ih_l0.scale"] = maker.tensors["walk.weight_hh_l0.scale"] = {"F32", {8}};
  maker.contents["out.kernel"] = int8_bytes({127, -3});
  maker.contents["out.kernel.scale"] = float_bytes({0.5f});
  maker.contents["walk.weight_ih_l0"] = int8_bytes(numbers_ih);
  maker.contents["walk.weight_ih_l0.scale"] = float_bytes(shortened(scales_ih));
  maker.contents["walk.weight_hh_l0"] = int8_bytes(numbers_hh);
  maker.contents["walk.weight_hh_l0.scale"] = float_bytes(shortened(scales_hh));
  return maker;
}

void refused_content(const char* name, const std::string& bytes, const char* text) {
  ModelFileMaker maker = quantized_maker();
  maker.contents[name] = bytes;
  refused(maker, text);
}

std::vector<float> products(const std::vector<int>& numbers, const std::vector<float>& scales) {
  std::vector<float> values;
  for (std::size_t k = 0; k < numbers.size(); ++k) {
    values.push_back(static_cast<float>(numbers[k]) * short_scale(scales[k / 2]));
  }
  return values;
}

/// A matrix (K, U) that the engine quantized: numbers (K, U) and a scale for each of the U columns, as from Python's
/// `encode`.
struct Encoded {
  std::vector<std::int8_t> numbers;
  std::vector<float> scales;
};

Encoded encoded(const std::vector<float>& matrix, Index depth, Index columns) {
  using lstmcore::kernels::PackedGroup;
  const auto& table = lstmcore::active_table();
  const Index lanes = lstmcore::active_kernels<float>().lanes, groups = (depth + 3) / 4;
  const Index width = (columns + lanes - 1) / lanes * lanes;
  std::vector<const float*> rows;
  for (Index k = 0; k < depth; ++k) rows.push_back(matrix.data() + k * columns);
  std::vector<PackedGroup> panel(static_cast<std::size_t>(groups * width));
  std::vector<float> scales(static_cast<std::size_t>(width));
  std::vector<std::int32_t> start(static_cast<std::size_t>(width));
  CHECK(table.lowp.quantize_panel(rows.data(), depth, 0, columns, width, groups, false, panel.data(), scales.data(),
                                  start.data()));
  Encoded result;
  for (Index k = 0; k < depth; ++k) {
    for (Index column = 0; column < columns; ++column) {
      result.numbers.push_back(static_cast<std::int8_t>(panel[k / 4 * width + column] >> (8 * (k % 4))));
    }
  }
  result.scales.assign(scales.begin(), scales.begin() + static_cast<std::ptrdiff_t>(columns));
  return result;
}

/// The elements of a tensor in the file, unchanged.
template <class T>
std::vector<T> stored(const lstmcore::safetensors::File& file, const std::string& name) {
  const lstmcore::safetensors::Tensor& tensor = file.tensors.at(name);
  std::vector<T> values((tensor.end - tensor.begin) / sizeof(T));
  std::memcpy(values.data(), file.data.data() + tensor.begin, tensor.end - tensor.begin);
  return values;
}

}  // namespace

TEST("a good quantized file") {
  const TemporaryFile temporary(quantized_maker().bytes());
  const ModelFile file(temporary.path());
  CHECK(file.quantized());
  CHECK(!ModelFile(golden + "/features_model.safetensors").quantized());
  CHECK_EQUAL(file.dtype(), "float32");
  CHECK(file.tensor<float>("out.kernel", {2, 1}) == std::vector<float>{63.5f, -1.5f});
  CHECK(file.tensor<float>("out.kernel.scale", {1}) == std::vector<float>{0.5f});
  CHECK_EQUAL(file.tensor<float>("walk.bias_l0", {8}).size(), 8u);
  const std::vector<float> ih = file.tensor<float>("walk.weight_ih_l0", {8, 2});
  const std::vector<float> hh = file.tensor<float>("walk.weight_hh_l0", {8, 2});
  const std::vector<float> bias = file.tensor<float>("walk.bias_l0", {8});
  CHECK(ih == products(numbers_ih, scales_ih));
  CHECK(hh == products(numbers_hh, scales_hh));
  CHECK_THROWS(file.tensor<float>("out.kernel", {1, 2}), "has shape (2, 1), asked for (1, 2)");
  CHECK_THROWS(file.tensor<double>("out.kernel", {2, 1}), "holds float32, asked for float64");
  CHECK_THROWS(file.lstm<double>("walk"), "holds float32, asked for float64");

  const lstmcore::Lstm<float> lstm = file.lstm<float>("walk", Precision::fp32);  // the file takes precedence
  CHECK(lstm.precision() == Precision::int8);
  const lstmcore::Lstm<float> same(lstm.config(), {{{ih.data(), {8, 2}}, {hh.data(), {8, 2}}, {bias.data(), {8}}}},
                                   Precision::int8);
  const std::vector<float> x = {0.3F, -0.7F, 1.1F, 0.02F, -0.4F, 0.9F};
  std::vector<float> y(6), expected(6);
  const lstmcore::LstmSequence<float> sequence{{x.data(), {1, 3, 2}}};
  lstm.forward(sequence, lstmcore::View<float, 3>(y.data(), {1, 3, 2}), {});
  same.forward(sequence, lstmcore::View<float, 3>(expected.data(), {1, 3, 2}), {});
  CHECK_SAME_BITS(y, expected);
}

TEST("truncated and damaged quantized files") {
  check_truncations(quantized_maker().bytes());
  check_damages(quantized_maker());
}

// One bit of each number and each scale flipped, with the correct checksum: an error or a model with other numbers.
TEST("a quantized file with changed numbers") {
  const ModelFileMaker maker = quantized_maker();
  int good = 0, bad = 0;
  for (const auto& [name, bytes] : maker.contents) {
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      ModelFileMaker other = maker;
      other.contents[name][bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      const TemporaryFile file(other.bytes());
      try {
        const ModelFile model(file.path());
        CHECK(encoded(model.tensor<float>("out.kernel", {2, 1}), 2, 1).numbers[0] == 127);
        ++good;
      } catch (const std::runtime_error& error) {
        CHECK(std::string(error.what()).find("walk.weight_") != std::string::npos ||
              std::string(error.what()).find("out.kernel") != std::string::npos);
        ++bad;
      }
    }
  }
  CHECK(good > 100 && bad > 100);
}

TEST("numbers and scales that quantization does not produce") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float most = std::numeric_limits<float>::max();
  for (const float scale : {infinity, nan, -0.5f, -0.0f, 1e-38f, 1e-45f, most, most / 100}) {
    const check::Context context(check::text(scale));
    refused_content("out.kernel.scale", float_bytes({scale}),
                    "tensor \"out.kernel.scale\": expected scales of 0 or from 9.99999991e-38 to 2.67938871e+36");
  }
  refused_content("out.kernel.scale", float_bytes({0.1f}),
                  "tensor \"out.kernel.scale\": expected scales of 16 binary digits, got 0.100000001");
  refused_content("out.kernel.scale", float_bytes({0.0f}),
                  "tensor \"out.kernel\": expected 0 as the largest magnitude of the integers of scale 0, got 127");
  refused_content("out.kernel", int8_bytes({126, -3}), "expected 127 as the largest magnitude");
  refused_content("out.kernel", int8_bytes({127, -128}), "the integers of scale 0, got 128");
  refused_content("out.kernel", int8_bytes({0, 0}), "got 0");
  std::vector<int> numbers = numbers_hh;
  numbers[10] = 126, numbers[11] = 0;
  refused_content("walk.weight_hh_l0", int8_bytes(numbers),
                  "tensor \"walk.weight_hh_l0\": expected 127 as the largest magnitude of the integers of scale 5");
}

TEST("tensors of a quantized file") {
  const auto changed = [](const char* name, const char* type, const std::vector<std::int64_t>& shape,
                          const char* text) {
    ModelFileMaker maker = quantized_maker();
    maker.contents.erase(name);
    maker.tensors[name] = {type, shape};
    refused(maker, text);
  };
  changed("out.kernel", "F32", {2, 1}, "tensor \"out.kernel\": expected I8 of shape (2, 1), got F32 of shape (2, 1)");
  changed("out.kernel", "I8", {1, 2}, "expected I8 of shape (2, 1), got I8 of shape (1, 2)");
  changed("out.bias", "I8", {1}, "tensor \"out.bias\": expected F32 of shape (1,), got I8 of shape (1,)");
  changed("out.kernel.scale", "F64", {1}, "expected F32 of shape (1,), got F64 of shape (1,)");
  changed("out.kernel.scale", "F32", {2}, "tensor \"out.kernel.scale\": expected F32 of shape (1,)");
  changed("walk.weight_ih_l0.scale", "F32", {2}, "expected F32 of shape (8,), got F32 of shape (2,)");
  changed("walk.bias_l0.scale", "F32", {8}, "unknown tensor \"walk.bias_l0.scale\"");
  changed("optimizer.m", "F32", {43}, "unknown tensor \"optimizer.m\"");
  for (const char* name : {"out.kernel", "out.kernel.scale", "out.bias", "walk.weight_hh_l0.scale"}) {
    ModelFileMaker maker = quantized_maker();
    maker.tensors.erase(name);
    refused(maker, ("missing tensor \"" + std::string(name) + "\"").c_str());
  }
}

TEST("the description of a quantized model") {
  const auto changed = [](std::string ModelFileMaker::* part, const char* from, const char* to, const char* text) {
    const check::Context context(std::string(from) + " -> " + to);
    ModelFileMaker maker = quantized_maker();
    maker.*part = replaced(maker.*part, from, to);
    refused(maker, text);
  };
  const auto document = &ModelFileMaker::document;
  changed(document, "\"quantization\": \"int8\", ", "", "metadata: missing quantization");
  changed(document, "\"format\": 2", "\"format\": 1", "metadata: unknown quantization");
  changed(document, "\"int8\"", "\"int4\"", "quantization: expected int8, got \"int4\"");
  changed(document, "\"int8\"", "8", "expected a string as quantization");
  changed(document, "\"float32\"", "\"float64\"", "expected \"fp32\" or \"auto\" as precision for float64");
  changed(&ModelFileMaker::training, "null", "{}", "training: expected null in a quantized model");
  const char* const message = "layer \"walk\": expected \"int8\" as precision in a quantized model, got \"";
  changed(&ModelFileMaker::walk_config, "\"int8\"", "\"fp32\"", message);
  changed(&ModelFileMaker::walk_config, "\"int8\"", "null", message);
  changed(&ModelFileMaker::walk_config, ", \"precision\": \"int8\"", "", message);
  ModelFileMaker wide = quantized_maker();
  wide.document = replaced(wide.document, "\"float32\"", "\"float64\"");
  wide.walk_config = replaced(wide.walk_config, "\"int8\"", "\"auto\"");
  refused(wide, "dtype: expected float32 in a quantized model, got \"float64\"");
}

TEST("quantizing the matrices of a quantized file again changes nothing") {
  const std::string path = golden + "/quantized_model.safetensors";
  const lstmcore::safetensors::File content = lstmcore::safetensors::read(path);
  const ModelFile file(path);
  int matrices = 0;
  for (const auto& [name, tensor] : content.tensors) {
    if (tensor.dtype != "I8") continue;
    const check::Context context(name);
    ++matrices;
    const Index count = static_cast<Index>(tensor.end - tensor.begin);
    const std::vector<float> values = file.tensor<float>(name, tensor.shape);
    const std::vector<std::int8_t> numbers = stored<std::int8_t>(content, name);
    const bool rows = name.find("weight_") != std::string::npos || name == "embedding.embeddings";
    const Index outputs = rows ? tensor.shape.front() : tensor.shape.back(), depth = count / outputs;
    std::vector<float> matrix(values.size());
    std::vector<std::int8_t> expected(values.size());
    for (Index k = 0; k < depth; ++k) {
      for (Index u = 0; u < outputs; ++u) {
        const Index from = rows ? u * depth + k : k * outputs + u;
        matrix[k * outputs + u] = values[from];
        expected[k * outputs + u] = numbers[from];
      }
    }
    const Encoded again = encoded(matrix, depth, outputs);
    CHECK_SAME_BITS(again.numbers, expected);
    CHECK_SAME_BITS(again.scales, stored<float>(content, name + ".scale"));
  }
  CHECK_EQUAL(matrices, 18);
}

TEST("the engine and encode in Python round the same way") {
  const lstmcore::safetensors::File content = lstmcore::safetensors::read(golden + "/rounding_model.safetensors");
  const Index depth = 30, columns = 27;
  std::vector<float> matrix(static_cast<std::size_t>(depth * columns));
  for (Index k = 0; k < depth; ++k) {
    float* const row = matrix.data() + k * columns;
    for (Index u = 0; u < 24; ++u) {
      const Index digits = (7919 * k * k + 104729 * k * u + 31 * u) % 65521 - 32760;
      row[u] = std::ldexp(static_cast<float>(digits), static_cast<int>(11 * u - 149));
    }
    row[24] = 0.0f;
    row[25] = k == 7 ? 127.0f : static_cast<float>(k) * 5 - 72.5f;
    row[26] = k % 2 == 0 ? 1.0f : -1.0f;
  }
  const Encoded result = encoded(matrix, depth, columns);
  CHECK_SAME_BITS(result.numbers, stored<std::int8_t>(content, "dense.kernel"));
  CHECK_SAME_BITS(result.scales, stored<float>(content, "dense.kernel.scale"));
}
