// The layers in a model file: required and optional members of their descriptions.
#include <lstmcore/model_file.hpp>
#include <string>
#include <vector>

#include "api/cell_options.hpp"
#include "check.hpp"
#include "model_file_kit.hpp"

using lstmcore::ModelFile;
using lstmcore::Precision;

TEST("frozen layers are read like others") {
  const ModelFile file(golden + "/frozen_model.safetensors");
  CHECK_EQUAL(file.layers().size(), 7u);
  CHECK_EQUAL(file.layer("embedding").vocabulary_size, 5);
  CHECK_EQUAL(file.lstm<float>("rnn").config().num_layers, 2);
  const char* const seed = "\"seed\": null";
  for (std::string ModelFileMaker::* const part : {&ModelFileMaker::walk_config, &ModelFileMaker::out}) {
    for (const char* const value : {"false", "true"}) {
      ModelFileMaker maker;
      maker.*part = replaced(maker.*part, seed, std::string(seed) + ", \"trainable\": " + value);
      CHECK_EQUAL(opened(maker).layers().size(), 2u);
    }
    refused(part, seed, "\"seed\": null, \"trainable\": 0", "as trainable");
  }
}

TEST("precision") {
  const auto with_seed = [](const char* seed) {
    ModelFileMaker maker;
    maker.walk_config = replaced(maker.walk_config, "\"seed\": null", seed);
    const TemporaryFile temporary(maker.bytes());
    return ModelFile(temporary.path());
  };
  const ModelFile silent = with_seed("\"seed\": null"), null = with_seed("\"seed\": null, \"precision\": null");
  for (const ModelFile& file : {silent, null}) {
    CHECK_EQUAL(file.layer("walk").precision, "");
    CHECK(file.lstm<float>("walk").precision() == Precision::fp32);
    CHECK(file.lstm<float>("walk", Precision::int8).precision() == Precision::int8);
  }
  for (const std::string& name : lstmcore::precision_names()) {
    const check::Context context(name);
    const ModelFile file = with_seed(("\"seed\": null, \"precision\": \"" + name + "\"").c_str());
    CHECK_EQUAL(file.layer("walk").precision, name);
    const Precision precision = lstmcore::precision_of(name, "precision");
    const lstmcore::Lstm<float> lstm = file.lstm<float>("walk", Precision::bf16x2);  // the file takes precedence
    CHECK(lstm.precision() == precision);

    // The same bits as with this precision as an argument, in a stream too.
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
  refused(&ModelFileMaker::walk_config, seed, "\"seed\": null, \"precision\": 8", "expected a string as precision");
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
  CHECK(opened(wide).lstm<double>("walk").precision() == Precision::automatic);
}

TEST("one recurrent matrix for all layers") {
  ModelFileMaker maker;
  maker.walk_config = replaced(maker.walk_config, R"("share_recurrent": false)", R"("share_recurrent": true)");
  refused(maker, "layer 0 (LSTM): expected at least two layers or directions with share_recurrent");
  maker.walk_config = replaced(maker.walk_config, R"("num_layers": 1)", R"("num_layers": 2)");
  maker.tensors["walk.bias_l1"] = {"F32", {8}};
  maker.tensors["walk.weight_ih_l1"] = {"F32", {8, 2}};
  const ModelFile file = opened(maker);
  CHECK(file.layer("walk").share_recurrent);
  CHECK_EQUAL(file.lstm<float>("walk").config().num_layers, 2);
  maker.tensors["walk.weight_hh_l1"] = {"F32", {8, 2}};
  refused(maker, "unknown tensor \"walk.weight_hh_l1\"");
}

TEST("the description of a model") {
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
  in_document("\"seed\": 0, ", "\"seed\": 0, \"graph\": {}, ", "holds a Model, a graph of layers");
  in_document("[@walk, @out]", "[]", "layers: expected at least one");
  in_document("[@walk, @out]", "[@walk, @walk]", "the name \"walk\" appears twice");
  in_document("[@walk, @out]", "{}", "expected a list as layers");
  in_document("[@walk, @out]", "[1]", "layer 0: expected an object");
}

TEST("the description of a layer") {
  const auto in_layer = [](const char* from, const char* to, const char* text) {
    refused(&ModelFileMaker::walk, from, to, text);
  };
  in_layer("\"LSTM\"", "\"GRU\"", "layer 0: unknown class \"GRU\"");
  in_layer("\"LSTM\"", "\"LSTMCell\"", "layer 0 (LSTMCell): unknown dropout");
  in_layer("\"walk\"", "\"wa.lk\"", "without dots");
  in_layer("\"name\"", "\"label\"", "layer 0: unknown label");
}

TEST("the description of an LSTM") {
  const auto in_config = [](const char* from, const char* to, const char* text) {
    refused(&ModelFileMaker::walk_config, from, to, text);
  };
  in_config("\"seed\": null", "\"swish\": true", "layer 0 (LSTM): unknown swish");
  in_config("\"cell_clip\": 0.0", "\"cell_clip\": 1e300",
            "layer \"walk\": cell_clip: expected a number that the element");
  in_config("\"gate_clip\": 0.0", "\"gate_clip\": 1e999",
            "layer \"walk\": gate_clip: expected a number that the element");
  in_config("\"sigmoid\"", "\"swish\"", "layer 0 (LSTM): recurrent_activation: expected one of sigmoid, tanh");
  in_config("\"sigmoid\"", "\"swish\"", ", got \"swish\"");
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
}

namespace {

// A value other than the default, and the same value in JSON.
bool other_value(bool usual) { return !usual; }
std::int64_t other_value(std::int64_t) { return 2; }
double other_value(double) { return 0.25; }
lstmcore::LstmActivation other_value(const lstmcore::LstmActivation&) { return {lstmcore::LstmFunction::elu, 0.25, 0}; }

const char* in_json(bool value) { return value ? "true" : "false"; }
const char* in_json(std::int64_t) { return "2"; }
const char* in_json(double) { return "0.25"; }
const char* in_json(const lstmcore::LstmActivation&) { return "[\"elu\", 0.25, 0]"; }

/// A flat JSON object without the member `name`, if it has it.
std::string without(const std::string& object, const std::string& name) {
  const std::size_t begin = object.find("\"" + name + "\": ");
  if (begin == std::string::npos) return object;
  return object.substr(0, begin) + object.substr(object.find(", \"", begin) + 2);
}

/// The description of a cell with another value of the option; proj_clip needs a projection too.
template <class Option>
std::string cell_with_other(const std::string& config, const Option& option) {
  const std::string name = option.layer_name, value = in_json(other_value(option.default_value()));
  const std::string result = "{\"" + name + "\": " + value + ", " + without(config, name).substr(1);
  return name == "proj_clip" ? replaced(result, "\"proj_size\": 0", "\"proj_size\": 2") : result;
}

}  // namespace

TEST("every option of a cell is read, and those that files always store may not be missing") {
  namespace options = lstmcore::cell_options;
  options::for_each([&](const auto& option) {
    if (!option.stored_with_cells()) return;
    const check::Context context(option.name);
    const auto value = other_value(option.default_value());
    lstmcore::LstmConfig expected;
    expected.input_size = expected.hidden_size = 2;
    expected.*option.member = value;
    if (expected.proj_clip != 0.0) expected.proj_size = 2;
    // Without its own activation, the output has that of the cell.
    if (option.layer_name == std::string("activation")) expected.output_activation = expected.cell_activation;

    ModelFileMaker maker;
    const std::string config = maker.walk_config;
    maker.walk_config = cell_with_other(config, option);
    if (!expected.bias) maker.tensors.erase("walk.bias_l0");
    for (const lstmcore::LstmParameter& parameter : lstmcore::lstm_parameters(expected)) {
      maker.tensors["walk." + parameter.name] = {"F32", parameter.shape};
    }
    CHECK(opened(maker).layer("walk").lstm == expected);

    maker = ModelFileMaker();
    maker.walk_config = without(config, option.layer_name);
    if (option.stored == options::Stored::always) {
      refused(maker, (std::string("layer 0 (LSTM): missing ") + option.layer_name).c_str());
    } else {
      CHECK(opened(maker).layer("walk").lstm.*option.member == option.default_value());
    }
  });
}

TEST("cells of an RNN have the same options") {
  ModelFileMaker maker;
  std::string cell = maker.walk_config;
  for (const char* const name : {"return_sequences", "return_state", "go_backwards", "recompute", "num_layers",
                                 "dropout", "share_recurrent", "stateful"}) {
    cell = without(cell, name);
  }
  const auto rnn = [&](const std::string& second) {
    const std::string begin = R"({"class": "LSTMCell", "config": {"name": null, )";
    return R"({"class": "RNN", "name": "walk", "config": {"return_sequences": false, "return_state": false,)"
           R"( "go_backwards": true, "recompute": null, "share_recurrent": false, "stateful": false, "cell": [)" +
           begin + cell.substr(1) + "}, " + begin + second.substr(1) + "}]}}";
  };
  maker.tensors["walk.bias_l1"] = {"F32", {8}};
  maker.tensors["walk.weight_hh_l1"] = maker.tensors["walk.weight_ih_l1"] = {"F32", {8, 2}};
  maker.walk = rnn(cell);
  CHECK_EQUAL(opened(maker).layer("walk").lstm.num_layers, 2);
  maker.walk = rnn(replaced(cell, "\"units\": 2", "\"units\": 3"));
  refused(maker, "layer 0 (RNN) cell (LSTMCell): expected cells of the same units, got 2 and 3");
  lstmcore::cell_options::for_each([&](const auto& option) {
    if (!option.stored_with_cells()) return;
    const check::Context context(option.name);
    maker.walk = rnn(cell_with_other(cell, option));
    refused(maker, "layer 0 (RNN) cell (LSTMCell): expected cells with the same options");
  });
}

TEST("the description of attention") {
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
}

TEST("the description of a Dense") {
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
  CHECK_EQUAL(opened(good).layer("walk").windows.size, 3);
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
  CHECK_EQUAL(opened(maker).layer("walk").windows.stride, 3);
  maker.walk = replaced(maker.walk, "valid", "causal");
  refused(maker, "layer 0 (MaxPooling1D): unknown padding \"causal\"");

  maker.walk = R"({"class": "LayerNormalization", "name": "walk", "config": {"epsilon": 0.5, "center": false,)"
               R"( "scale": false, "beta_initializer": "zeros", "gamma_initializer": "ones",)"
               R"( "beta_regularizer": null, "gamma_regularizer": null, "beta_constraint": null,)"
               R"( "gamma_constraint": null, "seed": null}})";
  CHECK_EQUAL(opened(maker).layer("walk").epsilon, 0.5);
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
  CHECK_EQUAL(opened(stack).layer("walk.0").windows.size, 3);
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
