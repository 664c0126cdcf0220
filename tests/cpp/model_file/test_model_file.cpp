// Model files: those that Python wrote, one made here, and that one spoilt in every way.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <lstmcore/model_file.hpp>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "model_file/safetensors.hpp"
#include "model_file_maker.hpp"
#include "runtime/isa.hpp"

using lstmcore::ModelFile;
using lstmcore::ModelLayer;
using lstmcore::Precision;

namespace {

const std::string golden = LSTMCORE_GOLDEN;

// A file that is gone at the end of the test; its name is this process's own, since tests run side by side.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  const char* isa_ = std::getenv("LSTMCORE_ISA");
  std::string path_ = std::string("test_model_file_") + (isa_ != nullptr ? isa_ : "any") + ".safetensors";
};

void refused(const ModelFileMaker& maker, const char* text) {
  const TemporaryFile file(maker.bytes());
  CHECK_THROWS(ModelFile(file.path()), text);
  CHECK_THROWS(ModelFile(file.path()), file.path().c_str());
}

// The same with one replacement in one part.
void refused(std::string ModelFileMaker::* part, const char* from, const char* to, const char* text) {
  const check::Context context(std::string(from) + " -> " + to);
  ModelFileMaker maker;
  maker.*part = replaced(maker.*part, from, to);
  refused(maker, text);
}

void refused_header(const char* from, const char* to, const char* text) {
  ModelFileMaker maker;
  maker.header = maker.default_header();
  const check::Context context(std::string(from) + " -> " + to);
  maker.header = replaced(maker.header, from, to);
  refused(maker, text);
}

}  // namespace

TEST("a good file") {
  const TemporaryFile temporary(ModelFileMaker().bytes());
  const ModelFile file(temporary.path());
  CHECK_EQUAL(file.dtype(), "float32");
  CHECK_EQUAL(file.layers().size(), 2u);
  const ModelLayer& walk = file.layer("walk");
  CHECK_EQUAL(walk.class_name, "LSTM");
  CHECK_EQUAL(walk.lstm.input_size, 2);
  CHECK_EQUAL(walk.lstm.hidden_size, 2);
  CHECK(!walk.return_sequences);
  CHECK_EQUAL(file.layer("out").activation, "linear");
  CHECK(file.tensor<float>("out.kernel", {2, 1}) == std::vector<float>{1, 2});
  CHECK(file.tensor<float>("walk.bias_l0", {8}) == std::vector<float>{3, 4, 5, 6, 7, 8, 9, 10});
  CHECK_EQUAL(file.lstm<float>("walk").config().hidden_size, 2);

  CHECK_THROWS(file.layer("run"), "its layers are walk, out");
  CHECK_THROWS(file.lstm<float>("run"), "run");
  CHECK_THROWS(file.lstm<float>("out"), "is no LSTM but a Dense");
  CHECK_THROWS(file.lstm<double>("walk"), "holds float32, asked for float64");
  CHECK_THROWS(file.tensor<double>("out.kernel", {2, 1}), "holds float32, asked for float64");
  CHECK_THROWS(file.tensor<float>("out.kernels", {2, 1}), "out.kernels");
  CHECK_THROWS(file.tensor<float>("out.kernel", {1, 2}), "has shape (2, 1), asked for (1, 2)");
  CHECK_THROWS(file.tensor<float>("out.kernel", {2}), "asked for (2,)");
}

TEST("float64") {
  ModelFileMaker maker;
  for (auto& [name, tensor] : maker.tensors) tensor.first = "F64";
  refused(maker, "expected F32 of shape (1,), got F64 of shape (1,)");
  maker.document = replaced(maker.document, "float32", "float64");
  const TemporaryFile temporary(maker.bytes());
  const ModelFile file(temporary.path());
  CHECK(file.tensor<double>("out.kernel", {2, 1}) == std::vector<double>{1, 2});
  CHECK_EQUAL(file.lstm<double>("walk").config().hidden_size, 2);
  CHECK_THROWS(file.lstm<float>("walk"), "holds float64, asked for float32");
}

TEST("what is frozen is read like any other layer") {
  const ModelFile file(golden + "/frozen_model.safetensors");
  CHECK_EQUAL(file.layers().size(), 7u);
  CHECK_EQUAL(file.layer("embedding").vocabulary_size, 5);
  CHECK_EQUAL(file.lstm<float>("rnn").config().num_layers, 2);
  const char* const seed = "\"seed\": null";
  for (std::string ModelFileMaker::* const part : {&ModelFileMaker::walk_config, &ModelFileMaker::out}) {
    for (const char* const value : {"false", "true"}) {
      ModelFileMaker maker;
      maker.*part = replaced(maker.*part, seed, std::string(seed) + ", \"trainable\": " + value);
      const TemporaryFile temporary(maker.bytes());
      CHECK_EQUAL(ModelFile(temporary.path()).layers().size(), 2u);
    }
    refused(part, seed, "\"seed\": null, \"trainable\": 0", "as trainable");
  }
}

TEST("precision") {
  const auto opened = [](const char* seed) {
    ModelFileMaker maker;
    maker.walk_config = replaced(maker.walk_config, "\"seed\": null", seed);
    const TemporaryFile temporary(maker.bytes());
    return ModelFile(temporary.path());
  };
  const ModelFile silent = opened("\"seed\": null"), null = opened("\"seed\": null, \"precision\": null");
  for (const ModelFile& file : {silent, null}) {
    CHECK_EQUAL(file.layer("walk").precision, "");
    CHECK(file.lstm<float>("walk").precision() == Precision::fp32);
    CHECK(file.lstm<float>("walk", Precision::int8).precision() == Precision::int8);
  }
  for (const std::string& name : lstmcore::precision_names()) {
    const check::Context context(name);
    const ModelFile file = opened(("\"seed\": null, \"precision\": \"" + name + "\"").c_str());
    CHECK_EQUAL(file.layer("walk").precision, name);
    const Precision precision = lstmcore::precision_of(name, "precision");
    const lstmcore::Lstm<float> lstm = file.lstm<float>("walk", Precision::bf16x2);  // what the file says goes first
    CHECK(lstm.precision() == precision);

    // As it is computed when the engine is asked for it, in a stream too.
    const lstmcore::Lstm<float> asked = silent.lstm<float>("walk", precision);
    const std::vector<float> x = {0.3F, -0.7F, 1.1F, 0.02F, -0.4F, 0.9F};
    std::vector<float> y(6), expected(6), step(2);
    const lstmcore::LstmSequence<float> sequence{{x.data(), {1, 3, 2}}};
    lstm.forward(sequence, lstmcore::View<float, 3>(y.data(), {1, 3, 2}), {});
    asked.forward(sequence, lstmcore::View<float, 3>(expected.data(), {1, 3, 2}), {});
    CHECK(y == expected);
    lstmcore::LstmStream<float> stream(lstm);
    for (std::size_t t = 0; t < 3; ++t) {
      stream.step(x.data() + 2 * t, step.data());
      CHECK_EQUAL(step[0], y[2 * t]);
      CHECK_EQUAL(step[1], y[2 * t + 1]);
    }
  }
  const char* const seed = "\"seed\": null";
  refused(&ModelFileMaker::walk_config, seed, "\"seed\": null, \"precision\": \"fp16\"",
          "layer 0 (LSTM): unknown precision \"fp16\"");
  refused(&ModelFileMaker::walk_config, seed, "\"seed\": null, \"precision\": 8", "expected a text as precision");
  refused(&ModelFileMaker::out, seed, "\"seed\": null, \"precision\": \"fp32\"", "layer 1 (Dense): unknown precision");

  ModelFileMaker wide;
  for (auto& [name, tensor] : wide.tensors) tensor.first = "F64";
  wide.document = replaced(wide.document, "float32", "float64");
  const std::string config = wide.walk_config;
  for (const char* const name : {"bf16", "int8"}) {
    wide.walk_config = replaced(config, seed, "\"seed\": null, \"precision\": \"" + std::string(name) + "\"");
    refused(wide, "layer \"walk\": expected \"fp32\" or \"auto\" as precision for float64");
  }
  wide.walk_config = replaced(config, seed, "\"seed\": null, \"precision\": \"auto\"");
  const TemporaryFile temporary(wide.bytes());
  CHECK(ModelFile(temporary.path()).lstm<double>("walk").precision() == Precision::automatic);
}

TEST("no file, no model file") {
  CHECK_THROWS(ModelFile("no_such_file.safetensors"), "no_such_file.safetensors: cannot be read");
  CHECK_THROWS(ModelFile("."), "cannot be read");
  const TemporaryFile text("This is a text that has more than a few bytes.");
  CHECK_THROWS(ModelFile(text.path()), "no safetensors file");
  refused_header("\"lstmcore\"", "\"somebody\"", "no lstmcore model");
  refused(&ModelFileMaker::document, "{\"format\"", "[\"format\"", "its metadata is not proper JSON");
  refused(&ModelFileMaker::document, "\"format\": 1", "\"format\": 3",
          "by a newer lstmcore in format 3, expected format 1 or 2");
  refused(&ModelFileMaker::document, "\"format\": 1", "\"format\": 0", "in format 0");
  refused(&ModelFileMaker::document, "\"format\": 1", "\"format\": 1.5", "an integer as format");
  refused(&ModelFileMaker::document, "\"format\": 1, ", "", "missing format");
}

namespace {

void check_truncations(const std::string& bytes) {
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const TemporaryFile file(bytes.substr(0, size));
    const check::Context context("first " + std::to_string(size) + " bytes");
    CHECK_THROWS(ModelFile(file.path()), file.path().c_str());
  }
  const TemporaryFile longer(bytes + '\0');
  CHECK_THROWS(ModelFile(longer.path()), "belong to no tensor");
}

// One bit of each byte turned: an error or, in a name or the like, another good file; never anything else.
void check_damages(const ModelFileMaker& maker) {
  const std::string bytes = maker.bytes();
  const std::size_t data = bytes.size() - maker.data().size();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const check::Context context("byte " + std::to_string(at));
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const TemporaryFile file(damaged);
    if (at >= data) {
      CHECK_THROWS(ModelFile(file.path()), "checksum");
      continue;
    }
    try {
      const ModelFile model(file.path());
      CHECK(at >= 8);
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()).find(file.path()) == 0);
    }
  }
}

}  // namespace

TEST("every truncation, and trailing bytes") { check_truncations(ModelFileMaker().bytes()); }

TEST("every damaged byte") { check_damages(ModelFileMaker()); }

TEST("the header of safetensors") {
  refused_header("\"F32\"", "\"F16\"", "tensor \"out.bias\": expected F32, F64 or I8, got F16");
  refused_header("\"F32\"", "32", "no proper \"dtype\"");
  refused_header("[1]", "[-1]", "no proper number");
  refused_header("[1]", "[1.0]", "no proper number");
  refused_header("[2,1]", "[2,2]", "expected 16 bytes for F32 of shape (2, 2), got 8");
  refused_header("[2,1]", "[4294967296,4294967296]", "overflows");
  refused_header("[0,4]", "[4,0]", "from begin to end");
  refused_header("[0,4]", "[0,4,8]", "from begin to end");
  refused_header("[4,12]", "[0,8]", "overlap at byte 0");
  refused_header("[4,12]", "[400,408]", "ends at byte 408 of 172");
  refused_header("[0,4]", "[0,4],\"more\":1", "expected dtype, shape and data_offsets");
  refused_header("\"shape\":[1],", "", "expected dtype, shape and data_offsets");
  refused_header("\"shape\"", "\"shapes\"", "no proper \"shape\"");
  refused_header("{\"__metadata__\":{", "{\"__metadata__\":{\"format\":1,", "__metadata__");
  refused_header("\"out.bias\"", "\"out.kernel\"", "\"out.kernel\" stands twice");
  refused_header("{\"__metadata__", " {\"__metadata__", "begins with '{'");
  // A hole: a tensor that nobody declares.
  ModelFileMaker maker;
  const std::string whole = maker.default_header();
  const std::size_t begin = whole.find(",\"out.kernel\""), end = whole.find(",\"walk.bias_l0\"");
  maker.header = whole.substr(0, begin) + whole.substr(end);
  refused(maker, "bytes from 4 on belong to no tensor");
}

TEST("unknown, missing, wrongly shaped and wrongly typed tensors") {
  {
    ModelFileMaker maker;
    maker.tensors["walk.weight_ih_l1"] = {"F32", {8, 2}};
    refused(maker, "unknown tensor \"walk.weight_ih_l1\"");
  }
  {
    ModelFileMaker maker;
    maker.tensors.erase("walk.bias_l0");
    refused(maker, "missing tensor \"walk.bias_l0\"");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.weight_hh_l0"].second = {2, 8};
    refused(maker, "tensor \"walk.weight_hh_l0\": expected F32 of shape (8, 2), got F32 of shape (2, 8)");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.bias_l0"].second = {8, 1};
    refused(maker, "expected F32 of shape (8,), got F32 of shape (8, 1)");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.bias_l0"].first = "F64";
    refused(maker, "expected F32 of shape (8,), got F64 of shape (8,)");
  }
  {
    ModelFileMaker maker;
    maker.tensors["walk.bias_l0"].first = "I8";  // of quantized models alone
    refused(maker, "expected F32 of shape (8,), got I8 of shape (8,)");
  }
  ModelFileMaker maker;
  maker.checksum = "1";
  refused(maker, "checksum");
}

TEST("optimizer slots") {
  const auto training = [](const char* optimizer) {
    return std::string(R"({"compile": {"optimizer": )") + optimizer + R"(}, "iterations": 3, "epoch": 1})";
  };
  ModelFileMaker maker;
  maker.tensors["optimizer.m"] = maker.tensors["optimizer.v"] = {"F32", {43}};
  refused(maker, "unknown tensor \"optimizer.m\"");
  maker.training = training(R"({"class": "Adam", "config": {}})");
  CHECK_EQUAL(ModelFile(TemporaryFile(maker.bytes()).path()).layers().size(), 2u);
  maker.tensors["optimizer.v"].second = {42};
  refused(maker, "tensor \"optimizer.v\": expected F32 of shape (43,)");
  maker.tensors.erase("optimizer.v");
  refused(maker, "missing tensor \"optimizer.v\"");
  maker.tensors.erase("optimizer.m");
  maker.training = training(R"({"class": "SGD", "config": {"momentum": 0.0}})");
  CHECK_EQUAL(ModelFile(TemporaryFile(maker.bytes()).path()).layers().size(), 2u);
  maker.training = training(R"({"class": "SGD", "config": {"momentum": 0.5}})");
  refused(maker, "missing tensor \"optimizer.velocity\"");
  maker.training = training(R"({"class": "RMSprop", "config": {}})");
  refused(maker, "missing tensor \"optimizer.mean_square\"");
  maker.training = training(R"({"class": "Lion", "config": {}})");
  refused(maker, "optimizer: unknown class \"Lion\"");
  maker.training = "{}";
  refused(maker, "training: missing compile");
}

TEST("what callbacks remember, and class names") {
  const auto training = [](const char* callbacks) {
    return std::string(R"({"compile": {"optimizer": {"class": "SGD", "config": {"momentum": 0}}}, "iterations": 3,)"
                       R"( "epoch": 1, "callbacks": )") +
           callbacks + "}";
  };
  ModelFileMaker maker;
  maker.document = replaced(maker.document, R"("seed")", R"("class_names": ["bad", "good"], "seed")");
  maker.training = training(R"([{"class": "EarlyStopping", "number": 0, "state": {}, "tensors": ["best_weights"]}])");
  refused(maker, "missing tensor \"callbacks.0.best_weights\"");
  maker.tensors["callbacks.0.best_weights"] = {"F32", {43}};
  CHECK_EQUAL(ModelFile(TemporaryFile(maker.bytes()).path()).layers().size(), 2u);
  maker.tensors["callbacks.1.best_weights"] = {"F32", {43}};
  refused(maker, "unknown tensor \"callbacks.1.best_weights\"");
  maker.tensors.erase("callbacks.1.best_weights");
  maker.training = training(R"([{"class": "EarlyStopping", "number": 0, "state": {}}])");
  refused(maker, "callbacks: missing tensors");
  maker.document = replaced(maker.document, R"(["bad", "good"])", R"(["bad", 1])");
  refused(maker, "class_names: expected a list of texts");
}

TEST("the state of a training over batches that continue each other") {
  ModelFileMaker maker;
  maker.training =
      R"({"compile": {"optimizer": {"class": "SGD", "config": {"momentum": 0}}}, "iterations": 3, "epoch": 1,)"
      R"( "state": ["walk"]})";
  maker.tensors["state.walk.h"] = {"F32", {1, 3, 2}};
  refused(maker, "missing tensor \"state.walk.c\"");
  maker.tensors["state.walk.c"] = {"F32", {1, 3, 2}};
  CHECK_EQUAL(ModelFile(TemporaryFile(maker.bytes()).path()).layers().size(), 2u);
  maker.tensors["state.walk.c"].first = "I8";
  refused(maker, "tensor \"state.walk.c\": expected F32 or F64, got I8");
  maker.training = replaced(maker.training, R"(["walk"])", "[1]");
  refused(maker, "state: expected a list of texts");
}

TEST("one recurrent matrix for all layers") {
  ModelFileMaker maker;
  maker.walk_config = replaced(maker.walk_config, R"("share_recurrent": false)", R"("share_recurrent": true)");
  refused(maker, "layer 0 (LSTM): expected at least two layers or directions with share_recurrent");
  maker.walk_config = replaced(maker.walk_config, R"("num_layers": 1)", R"("num_layers": 2)");
  maker.tensors["walk.bias_l1"] = {"F32", {8}};
  maker.tensors["walk.weight_ih_l1"] = {"F32", {8, 2}};
  const TemporaryFile shared(maker.bytes());
  const ModelFile file(shared.path());
  CHECK(file.layer("walk").share_recurrent);
  CHECK_EQUAL(file.lstm<float>("walk").config().num_layers, 2);
  maker.tensors["walk.weight_hh_l1"] = {"F32", {8, 2}};
  refused(maker, "unknown tensor \"walk.weight_hh_l1\"");
}

TEST("the description of the model") {
  const auto in_document = [](const char* from, const char* to, const char* text) {
    refused(&ModelFileMaker::document, from, to, text);
  };
  in_document("\"seed\": 0, ", "", "metadata: missing seed");
  in_document("\"seed\": 0, ", "\"seed\": 0, \"sede\": 1, ", "metadata: unknown sede");
  in_document("\"float32\"", "\"float16\"", "expected float32 or float64, got \"float16\"");
  in_document("[null, null, 2]", "[null, null, null]", "input_shape");
  in_document("[null, null, 2]", "[null, null, 0]", "input_shape");
  in_document("[null, null, 2]", "[null, null, 3]", "expected F32 of shape (8, 3), got F32 of shape (8, 2)");
  in_document("[null, null, 2]", "2", "expected a list as input_shape");
  in_document("\"seed\": 0, ", "\"seed\": 0, \"encoder_decoder\": {}, ", "holds an EncoderDecoder");
  in_document("[@walk, @out]", "[]", "layers: expected at least one");
  in_document("[@walk, @out]", "[@walk, @walk]", "the name \"walk\" stands twice");
  in_document("[@walk, @out]", "{}", "expected a list as layers");
  in_document("[@walk, @out]", "[1]", "layer 0: expected an object");

  const auto in_layer = [](const char* from, const char* to, const char* text) {
    refused(&ModelFileMaker::walk, from, to, text);
  };
  in_layer("\"LSTM\"", "\"GRU\"", "layer 0: unknown class \"GRU\"");
  in_layer("\"LSTM\"", "\"LSTMCell\"", "layer 0 (LSTMCell): unknown dropout");
  in_layer("\"walk\"", "\"wa.lk\"", "without dots");
  in_layer("\"name\"", "\"label\"", "layer 0: unknown label");

  const auto in_config = [](const char* from, const char* to, const char* text) {
    refused(&ModelFileMaker::walk_config, from, to, text);
  };
  in_config("\"seed\": null", "\"swish\": true", "layer 0 (LSTM): unknown swish");
  in_config("\"sigmoid\"", "\"swish\"", "layer 0 (LSTM): recurrent_activation: expected one of sigmoid, tanh");
  in_config("\"sigmoid\"", "[\"elu\", 1]", "expected recurrent_activation to be a name or [name, alpha, beta]");
  in_config(", \"seed\": null", "", "layer 0 (LSTM): missing seed");
  in_config("\"units\": 2", "\"units\": 0", "units of at least 1, got 0");
  in_config("\"units\": 2", "\"units\": 2.0", "an integer as units");
  in_config("\"units\": 2", "\"units\": 4611686018427387904", "layer 0 (LSTM): ");
  in_config("\"num_layers\": 1", "\"num_layers\": 1000000000", "more layers than the file has tensors");
  in_config("\"num_layers\": 1", "\"num_layers\": 2", "missing tensor \"walk.bias_l1\"");
  in_config("\"dropout\": 0.0", "\"dropout\": 1.0", "dropout");
  in_config("\"dropout\": 0.0", "\"dropout\": null", "a number as dropout");
  in_config("\"return_sequences\": false", "\"return_sequences\": 0", "true or false as return_sequences");

  const auto attention = [](const std::string& config, const char* text) {
    const check::Context context(config);
    ModelFileMaker maker;
    maker.walk = R"({"class": "Attention", "name": "walk", "config": {)" + config +
                 R"(, "kernel_initializer": "zeros", "kernel_regularizer": null, "seed": null}})";
    refused(maker, text);
  };
  const std::string rest = R"(, "scale": false)";
  attention(R"("kind": "dot", "units": 3, "query_size": null)" + rest, "unknown kind \"dot\"");
  attention(R"("kind": "additive", "units": 0, "query_size": null)" + rest, "units of at least 1, got 0");
  attention(R"("kind": "additive", "units": 3, "query_size": 2)" + rest, "expected null as query_size");
  attention(R"("kind": "additive", "units": 3, "query_size": null)", "missing scale");
  attention(R"("kind": "additive", "units": null, "query_size": null)" + rest, "missing tensor \"walk.bias\"");
  attention(R"("kind": "multiplicative", "units": 3, "query_size": null)" + rest, "missing tensor \"walk.kernel\"");
  attention(R"("kind": "additive", "units": 3, "query_size": null, "scale": true)", "no scale with additive");

  refused(&ModelFileMaker::out, "\"units\": 1", "\"units\": 2", "tensor \"out.bias\": expected F32 of shape (2,)");
  refused(&ModelFileMaker::out, "\"linear\"", "\"gelu\"", "unknown activation \"gelu\"");
  refused(&ModelFileMaker::out, "\"use_bias\": true", "\"use_bias\": false", "unknown tensor \"out.bias\"");
}

TEST("descriptions of windows, normalization and residual stacks") {
  const std::string conv =
      R"({"class": "Conv1D", "name": "walk", "config": {"filters": 2, "kernel_size": 3, "strides": 1,)"
      R"( "padding": "same", "dilation_rate": 1, "activation": "linear", "use_bias": true,)"
      R"( "kernel_initializer": "zeros", "bias_initializer": "zeros", "kernel_regularizer": null,)"
      R"( "bias_regularizer": null, "kernel_constraint": null, "bias_constraint": null, "seed": null}})";
  ModelFileMaker maker;
  for (const char* name : {"walk.bias_l0", "walk.weight_hh_l0", "walk.weight_ih_l0"}) maker.tensors.erase(name);
  ModelFileMaker good = maker;
  good.walk = conv;
  good.tensors["walk.kernel"] = {"F32", {3, 2, 2}};
  good.tensors["walk.bias"] = {"F32", {2}};
  CHECK_EQUAL(ModelFile(TemporaryFile(good.bytes()).path()).layer("walk").windows.size, 3);
  const auto in_conv = [&](const char* from, const char* to, const char* message) {
    const check::Context context(std::string(from) + " -> " + to);
    ModelFileMaker bad = good;
    bad.walk = replaced(conv, from, to);
    refused(bad, message);
  };
  in_conv("\"same\"", "\"full\"", "layer 0 (Conv1D): unknown padding \"full\"");
  in_conv("\"strides\": 1", "\"strides\": 0", "strides of at least 1, got 0");
  in_conv("\"dilation_rate\": 1", "\"dilation_rate\": 4611686018427387904", "dilation: expected 1 to");
  in_conv("\"kernel_size\": 3", "\"kernel_size\": 2", "tensor \"walk.kernel\": expected F32 of shape (2, 2, 2)");
  in_conv("\"linear\"", "\"gelu\"", "unknown activation \"gelu\"");
  in_conv("\"use_bias\": true", "\"use_bias\": false", "unknown tensor \"walk.bias\"");
  in_conv(", \"seed\": null", "", "missing seed");

  maker.walk = R"({"class": "MaxPooling1D", "name": "walk", "config": {"pool_size": 3, "strides": null,)"
               R"( "padding": "valid"}})";
  CHECK_EQUAL(ModelFile(TemporaryFile(maker.bytes()).path()).layer("walk").windows.stride, 3);
  maker.walk = replaced(maker.walk, "valid", "causal");
  refused(maker, "layer 0 (MaxPooling1D): unknown padding \"causal\"");

  maker.walk = R"({"class": "LayerNormalization", "name": "walk", "config": {"epsilon": 0.5, "center": false,)"
               R"( "scale": false, "beta_initializer": "zeros", "gamma_initializer": "ones",)"
               R"( "beta_regularizer": null, "gamma_regularizer": null, "beta_constraint": null,)"
               R"( "gamma_constraint": null, "seed": null}})";
  CHECK_EQUAL(ModelFile(TemporaryFile(maker.bytes()).path()).layer("walk").epsilon, 0.5);
  ModelFileMaker scaled = maker;
  scaled.walk = replaced(maker.walk, "\"scale\": false", "\"scale\": true");
  refused(scaled, "missing tensor \"walk.gamma\"");
  maker.walk = replaced(maker.walk, "0.5", "0.0");
  refused(maker, "expected epsilon greater than 0");

  const auto residual = [](const std::string& layers, const char* projection) {
    return R"({"class": "Residual", "name": "walk", "config": {"layers": [)" + layers + R"(], "projection": )" +
           projection + "}}";
  };
  const std::string inner =
      replaced(replaced(conv, "\"name\": \"walk\", ", ""), "\"seed\"", "\"name\": null, \"seed\"");
  const std::string wider = replaced(inner, "\"filters\": 2", "\"filters\": 3");
  ModelFileMaker stack = maker;
  stack.walk = residual(inner, "false");
  stack.tensors["walk.0.kernel"] = {"F32", {3, 2, 2}};
  stack.tensors["walk.0.bias"] = {"F32", {2}};
  CHECK_EQUAL(ModelFile(TemporaryFile(stack.bytes()).path()).layer("walk.0").windows.size, 3);
  const auto in_stack = [&](const std::string& walk, const char* message) {
    ModelFileMaker bad = stack;
    bad.walk = walk;
    refused(bad, message);
  };
  in_stack(residual("", "false"), "layer 0 (Residual): expected at least one layer");
  in_stack(residual("1", "false"), "layer 0 (Residual) layer 0: expected an object");
  in_stack(residual(inner, "1"), "true or false as projection");
  in_stack(residual(inner + ", " + inner, "false"), "missing tensor \"walk.1.");
  in_stack(residual(replaced(inner, "same", "valid"), "true"),
           "layer 0 (Residual) layer 0 (Conv1D): expected a layer that keeps the time steps");
  in_stack(residual(wider, "false"), "layer 0 (Residual): expected layers that keep the width 2, got 3");
  in_stack(residual(wider, "true"), "expected F32 of shape (3");
  in_stack(residual(R"({"class": "GlobalMaxPooling1D", "config": {"name": null}})", "false"), "keeps the time steps");
  const std::string attention =
      R"({"class": "Attention", "config": {"name": null, "kind": "additive", "units": null, "scale": false, )"
      R"("query_size": null, "kernel_initializer": "zeros", "kernel_regularizer": null, "seed": null}})";
  in_stack(residual(attention, "false"), "keeps the time steps");
  in_stack(residual(R"({"class": "LSTM", "config": {"name": null}})", "false"), "layer 0 (Residual) layer 0 (LSTM): ");
}

// ---- quantized models -----------------------------------------------------------------------------------------------

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

// The scale of 16 binary digits next to a value.
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

// What the engine makes of a matrix (K, U) with a scale for each of the U: numbers (K, U), as Python's `encode`.
struct Encoded {
  std::vector<std::int8_t> numbers;
  std::vector<float> scales;
};

Encoded encoded(const std::vector<float>& matrix, Index depth, Index columns) {
  using lstmcore::kernels::PackedGroup;
  const auto& table = lstmcore::active_table();
  const Index lanes = lstmcore::active_kernels<float>().lanes, words = (depth + 3) / 4;
  const Index width = (columns + lanes - 1) / lanes * lanes;
  std::vector<const float*> rows;
  for (Index k = 0; k < depth; ++k) rows.push_back(matrix.data() + k * columns);
  std::vector<PackedGroup> panel(static_cast<std::size_t>(words * width));
  std::vector<float> scales(static_cast<std::size_t>(width));
  std::vector<std::int32_t> start(static_cast<std::size_t>(width));
  CHECK(table.lowp.quantize_panel(rows.data(), depth, 0, columns, width, words, false, panel.data(), scales.data(),
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

// A tensor's elements as the file has them.
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

  const lstmcore::Lstm<float> lstm = file.lstm<float>("walk", Precision::fp32);  // what the file says goes first
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

TEST("a quantized file cut and damaged") {
  check_truncations(quantized_maker().bytes());
  check_damages(quantized_maker());
}

// One bit of each number and each scale turned, with the right checksum: refused, or other numbers.
TEST("a quantized file of other numbers") {
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

TEST("numbers and scales that quantizing does not make") {
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
                  "tensor \"out.kernel\": expected 0 as the largest magnitude of what scale 0 belongs to, got 127");
  refused_content("out.kernel", int8_bytes({126, -3}), "expected 127 as the largest magnitude");
  refused_content("out.kernel", int8_bytes({127, -128}), "what scale 0 belongs to, got 128");
  refused_content("out.kernel", int8_bytes({0, 0}), "got 0");
  std::vector<int> numbers = numbers_hh;
  numbers[10] = 126, numbers[11] = 0;
  refused_content("walk.weight_hh_l0", int8_bytes(numbers),
                  "tensor \"walk.weight_hh_l0\": expected 127 as the largest magnitude of what scale 5 belongs to");
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
  changed(document, "\"int8\"", "8", "expected a text as quantization");
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

// ---- files that Python wrote ----------------------------------------------------------------------------------------

TEST("a model of Python's predicts the same here") {
  const ModelFile file(golden + "/features_model.safetensors");
  const Index N = 3, S = 6;
  CHECK_EQUAL(file.layers().size(), 4u);
  CHECK_EQUAL(file.layers()[0].merge_mode, "concat");
  CHECK_EQUAL(file.layers()[0].lstm.num_layers, 2);
  CHECK_EQUAL(file.layers()[0].lstm.dropout, 0.25);
  CHECK_EQUAL(file.layers()[1].class_name, "RNN");
  CHECK_EQUAL(file.layers()[1].lstm.num_layers, 2);

  std::vector<float> values;
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < S; ++t) {
      for (Index c = 0; c < 3; ++c) values.push_back(static_cast<float>((5 * n + 7 * t + 3 * c) % 11) / 4 - 1.25f);
    }
  }
  Index width = 3;
  for (const ModelLayer& layer : file.layers()) {
    if (layer.class_name == "Dense") continue;
    CHECK_EQUAL(layer.input_size, width);
    std::vector<float> y(static_cast<std::size_t>(N * S * layer.output_size));
    file.lstm<float>(layer.name)
        .forward(lstmcore::View<const float, 3>(values.data(), {N, S, width}), {y.data(), {N, S, layer.output_size}},
                 {});
    values = y;
    width = layer.output_size;
  }
  const std::vector<float> kernel = file.tensor<float>("dense.kernel", {width, 2});
  const std::vector<float> bias = file.tensor<float>("dense.bias", {2});
  std::vector<double> y, expected;
  for (Index n = 0; n < N; ++n) {
    for (Index u = 0; u < 2; ++u) {
      double sum = bias[u];
      for (Index k = 0; k < width; ++k) sum += kernel[k * 2 + u] * values[((n + 1) * S - 1) * width + k];
      y.push_back(std::tanh(sum));
    }
  }
  std::ifstream text(golden + "/features_model.txt");
  std::string heading;
  std::getline(text, heading);
  for (double value = 0; text >> value;) expected.push_back(value);
  CHECK_EQUAL(expected.size(), 6u);
  CHECK_ARRAYS_CLOSE(y, expected, 3e-6);  // four layers of large weights, and two instruction sets
}

namespace {

lstmcore::Activation activation_of(const ModelLayer& layer) {
  return layer.activation == "relu"   ? lstmcore::Activation::relu
         : layer.activation == "tanh" ? lstmcore::Activation::tanh
                                      : lstmcore::Activation::linear;
}

// What the layers of a file compute of `rows` sequences, one after the other, in float.
struct Prediction {
  const ModelFile& file;
  Index rows, steps;
  std::vector<float> values;
  std::string classes{};

  // The layer's own part: not what goes around a Residual.
  std::vector<float> run(const ModelLayer& layer, const std::vector<float>& x) {
    const Index width = layer.input_size, units = layer.output_size;
    const Index after = layer.windows.count(steps);  // of layers without windows: as many as before
    const lstmcore::View<const float, 3> in(x.data(), {rows, steps, width});
    std::vector<float> y(static_cast<std::size_t>(rows * after * units));
    const lstmcore::View<float, 3> out(y.data(), {rows, after, units});
    const auto vector_of = [&](const char* name) { return file.tensor<float>(layer.name + "." + name, {units}); };
    if (layer.class_name == "Conv1D") {
      const Index size = layer.windows.size;
      const auto kernel = file.tensor<float>(layer.name + ".kernel", {size, width, units});
      const auto bias = vector_of("bias");
      lstmcore::conv1d_forward<float>(in, {}, {kernel.data(), {size, width, units}}, {bias.data(), {units}},
                                      layer.windows, activation_of(layer), out);
    } else if (layer.class_name == "MaxPooling1D") {
      lstmcore::max_pool1d_forward<float>(in, {}, layer.windows, out, {});
    } else if (layer.class_name == "LayerNormalization") {
      const auto gamma = vector_of("gamma"), beta = vector_of("beta");
      lstmcore::layer_norm_forward<float>(in, {}, {gamma.data(), {units}}, {beta.data(), {units}}, layer.epsilon, out,
                                          {});
    } else if (layer.class_name == "Dense") {
      const auto bias = vector_of("bias");
      y = multiply(x, layer.name + ".kernel", width, units, {bias.data(), {units}}, activation_of(layer));
    } else if (layer.class_name == "GlobalAveragePooling1D") {
      y.resize(static_cast<std::size_t>(rows * units));
      lstmcore::mean_over_time_forward<float>(in, {}, {y.data(), {rows, units}});
      steps = 1;
      return y;
    } else {
      file.lstm<float>(layer.name).forward(in, out, {});
      if (!layer.return_sequences) {
        std::vector<float> last;
        for (Index n = 0; n < rows; ++n) {
          const float* const row = y.data() + ((n + 1) * steps - 1) * units;
          last.insert(last.end(), row, row + units);
        }
        steps = 1;
        return last;
      }
    }
    steps = after;
    return y;
  }

  std::vector<float> multiply(const std::vector<float>& x, const std::string& name, Index width, Index units,
                              lstmcore::View<const float, 1> bias, lstmcore::Activation activation) const {
    const std::vector<float> kernel = file.tensor<float>(name, {width, units});
    std::vector<float> y(static_cast<std::size_t>(rows * steps * units));
    lstmcore::dense_forward<float>({x.data(), {rows * steps, width}}, {kernel.data(), {width, units}}, bias, activation,
                                   {y.data(), {rows * steps, units}});
    return y;
  }

  void apply(const ModelLayer& layer) {
    classes += layer.class_name + " ";
    if (layer.class_name != "Residual") {
      values = run(layer, values);
      return;
    }
    std::vector<float> inner = values, straight = values;
    for (const ModelLayer& part : layer.layers) inner = run(part, inner);
    if (layer.projection) {
      straight = multiply(values, layer.name + ".projection.kernel", layer.input_size, layer.output_size, {},
                          lstmcore::Activation::linear);
    }
    values.resize(inner.size());
    for (std::size_t k = 0; k < inner.size(); ++k) values[k] = straight[k] + inner[k];
  }
};

std::vector<double> numbers_in(const std::string& name) {
  std::ifstream text(golden + "/" + name);
  std::string heading;
  std::getline(text, heading);
  std::vector<double> numbers;
  for (double value = 0; text >> value;) numbers.push_back(value);
  return numbers;
}

}  // namespace

TEST("windows and a residual stack of Python's predict the same here") {
  const ModelFile file(golden + "/stack_model.safetensors");
  Prediction prediction{file, 3, 6, {}};
  for (Index n = 0; n < 3; ++n) {
    for (Index t = 0; t < 6; ++t) {
      for (Index c = 0; c < 3; ++c) {
        prediction.values.push_back(static_cast<float>((5 * n + 7 * t + 3 * c) % 11) / 4 - 1.25f);
      }
    }
  }
  for (const ModelLayer& layer : file.layers()) prediction.apply(layer);
  CHECK_EQUAL(prediction.classes,
              "Conv1D MaxPooling1D LayerNormalization Residual Residual GlobalAveragePooling1D Dense ");
  CHECK_EQUAL(file.layer("residual.0").lstm.hidden_size, 4);
  CHECK(file.layer("residual").projection && !file.layer("residual_1").projection);
  const std::vector<double> expected = numbers_in("stack_model.txt");
  CHECK_EQUAL(expected.size(), 6u);
  CHECK_ARRAYS_CLOSE(prediction.values, expected, 3e-6);  // eight layers, and two instruction sets
}

TEST("a quantized model of Python's predicts the same here") {
  const ModelFile file(golden + "/quantized_model.safetensors");
  CHECK(file.quantized());
  Prediction prediction{file, 3, 6, {}};
  const ModelLayer& embedding = file.layers().front();
  const Index V = embedding.vocabulary_size, E = embedding.output_size;
  const std::vector<float> table = file.tensor<float>("embedding.embeddings", {V, E});
  for (Index n = 0; n < 3; ++n) {
    for (Index t = 0; t < 6; ++t) {
      const float* const row = table.data() + (5 * n + 7 * t) % 11 * E;
      prediction.values.insert(prediction.values.end(), row, row + E);
    }
  }
  for (const ModelLayer& layer : file.layers()) {
    if (&layer != &embedding) prediction.apply(layer);
  }
  CHECK_EQUAL(prediction.classes, "Conv1D Bidirectional Residual RNN Dense ");
  const std::vector<double> expected = numbers_in("quantized_model.txt");
  CHECK_EQUAL(expected.size(), 9u);
  // Rounding to 8 bits takes away what instruction sets differ in, or makes it a thousand times larger.
  CHECK_ARRAYS_CLOSE(prediction.values, expected, 2e-6);
}

TEST("the engine makes of what a quantized file holds the same numbers and scales again") {
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

TEST("the engine and Python's encode round the same way") {
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

TEST("every layer of Python's is known here") {
  const ModelFile file(golden + "/text_model.safetensors");
  CHECK_EQUAL(file.dtype(), "float64");
  std::string classes;
  for (const ModelLayer& layer : file.layers()) classes += layer.class_name + " ";
  CHECK_EQUAL(classes, "TextVectorization Embedding Bidirectional Dense Dropout GlobalMaxPooling1D Dense ");
  const ModelLayer &embedding = file.layers()[1], &walk = file.layers()[2], &each = file.layers()[3];
  CHECK(embedding.mask_zero);
  CHECK_EQUAL(file.tensor<double>("embedding.embeddings", {embedding.vocabulary_size, 3}).size(), 15u);
  CHECK_EQUAL(walk.merge_mode, "ave");
  CHECK_EQUAL(walk.output_size, 2);
  CHECK(walk.return_sequences);
  CHECK(each.time_distributed && !each.use_bias);
  CHECK_EQUAL(each.activation, "relu");
  CHECK_EQUAL(file.lstm<double>(walk.name).config().bidirectional, true);
}

namespace {

// An LSTM and attention, as docs/cpp.md says it.
template <class T>
void check_attention(const std::string& name, const std::string& kind, double tolerance) {
  const ModelFile file(golden + "/" + name + "_model.safetensors");
  const Index N = 3, S = 6, C = 3;
  const ModelLayer &walk = file.layers()[0], &pool = file.layers()[1];
  CHECK_EQUAL(pool.class_name, "Attention");
  CHECK_EQUAL(pool.attention.kind, kind);
  const Index H = walk.output_size, U = pool.attention.units;
  CHECK_EQUAL(pool.output_size, H);
  std::vector<T> x, y(N * S * H), keys(N * S * U), weights(N * S), context(N * H);
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < S; ++t) {
      for (Index c = 0; c < C; ++c) x.push_back(static_cast<T>((5 * n + 7 * t + 3 * c) % 11) / 4 - T(1.25));
    }
  }
  file.lstm<T>(walk.name).forward(lstmcore::View<const T, 3>(x.data(), {N, S, C}), {y.data(), {N, S, H}}, {});
  const bool additive = kind == "additive";
  const std::vector<T> kernel = file.tensor<T>("attention.kernel", {H, U});
  const std::vector<T> own = file.tensor<T>(additive ? "attention.score" : "attention.query", {U});
  const std::vector<T> bias = additive ? file.tensor<T>("attention.bias", {U}) : std::vector<T>();
  lstmcore::dense_forward<T>({y.data(), {N * S, H}}, {kernel.data(), {H, U}},
                             additive ? lstmcore::View<const T, 1>(bias.data(), {U}) : lstmcore::View<const T, 1>(),
                             additive ? lstmcore::Activation::tanh : lstmcore::Activation::linear,
                             {keys.data(), {N * S, U}});
  std::vector<T> queries;
  for (Index n = 0; n < N; ++n) queries.insert(queries.end(), own.begin(), own.end());
  const double scale = pool.attention.scale ? 1 / std::sqrt(static_cast<double>(U)) : 1.0;
  lstmcore::attention_forward<T>({keys.data(), {N, S, U}}, {queries.data(), {N, 1, U}}, {y.data(), {N, S, H}}, {},
                                 scale, {}, {}, {weights.data(), {N, 1, S}}, {context.data(), {N, 1, H}});
  std::ifstream text(golden + "/" + name + "_model.txt");
  std::string heading;
  std::getline(text, heading);
  std::vector<double> expected;
  for (double value = 0; text >> value;) expected.push_back(value);
  CHECK_EQUAL(expected.size(), static_cast<std::size_t>(N * H));
  CHECK_ARRAYS_CLOSE(context, expected, tolerance);
}

}  // namespace

TEST("attention of Python's gives the same here") {
  check_attention<float>("attention", "multiplicative", 1e-6);
  check_attention<double>("additive", "additive", 1e-8);  // nine digits are written down
}
