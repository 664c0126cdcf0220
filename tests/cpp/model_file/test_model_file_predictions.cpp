// Models that Python saved, compared with its predictions.
#include <cmath>
#include <fstream>
#include <lstmcore/model_file.hpp>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "model_file_kit.hpp"

using lstmcore::ModelFile;
using lstmcore::ModelLayer;

namespace {

/// The numbers that Python predicted, which follow a heading.
std::vector<double> numbers_in(const std::string& name) {
  std::ifstream text(golden + "/" + name);
  std::string heading;
  std::getline(text, heading);
  std::vector<double> numbers;
  for (double value = 0; text >> value;) numbers.push_back(value);
  return numbers;
}

/// The input of all models of features, (N, T, C).
template <class T>
std::vector<T> features(Index N, Index S, Index C) {
  std::vector<T> values;
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < S; ++t) {
      for (Index c = 0; c < C; ++c) values.push_back(static_cast<T>((5 * n + 7 * t + 3 * c) % 11) / 4 - T(1.25));
    }
  }
  return values;
}

lstmcore::Activation activation_of(const ModelLayer& layer) {
  return layer.activation == "relu"   ? lstmcore::Activation::relu
         : layer.activation == "tanh" ? lstmcore::Activation::tanh
                                      : lstmcore::Activation::linear;
}

/// The output of the layers of a file for `rows` sequences, computed layer after layer in float.
struct Prediction {
  const ModelFile& file;
  Index rows, steps;
  std::vector<float> values;
  std::string classes{};

  // The output of one layer; `apply` runs a Residual's inner layers one by one.
  std::vector<float> run(const ModelLayer& layer, const std::vector<float>& x) {
    const Index width = layer.input_size, units = layer.output_size;
    const Index after = layer.windows.count(steps);  // layers without windows return as many as before
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

}  // namespace

TEST("a model predicts here what it predicted in Python") {
  const ModelFile file(golden + "/features_model.safetensors");
  const Index N = 3, S = 6;
  CHECK_EQUAL(file.layers().size(), 4u);
  CHECK_EQUAL(file.layers()[0].merge_mode, "concat");
  CHECK_EQUAL(file.layers()[0].lstm.num_layers, 2);
  CHECK_EQUAL(file.layers()[0].lstm.dropout, 0.25);
  CHECK_EQUAL(file.layers()[1].class_name, "RNN");
  CHECK_EQUAL(file.layers()[1].lstm.num_layers, 2);

  std::vector<float> values = features<float>(N, S, 3);
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
  std::vector<double> y;
  for (Index n = 0; n < N; ++n) {
    for (Index u = 0; u < 2; ++u) {
      double sum = bias[u];
      for (Index k = 0; k < width; ++k) sum += kernel[k * 2 + u] * values[((n + 1) * S - 1) * width + k];
      y.push_back(std::tanh(sum));
    }
  }
  const std::vector<double> expected = numbers_in("features_model.txt");
  CHECK_EQUAL(expected.size(), 6u);
  CHECK_ARRAYS_CLOSE(y, expected, 3e-6);  // large weights; Python may have used another instruction set
}

TEST("windows and a residual stack predict what they predicted in Python") {
  const ModelFile file(golden + "/stack_model.safetensors");
  Prediction prediction{file, 3, 6, features<float>(3, 6, 3)};
  for (const ModelLayer& layer : file.layers()) prediction.apply(layer);
  CHECK_EQUAL(prediction.classes,
              "Conv1D MaxPooling1D LayerNormalization Residual Residual GlobalAveragePooling1D Dense ");
  CHECK_EQUAL(file.layer("residual.0").lstm.hidden_size, 4);
  CHECK(file.layer("residual").projection && !file.layer("residual_1").projection);
  const std::vector<double> expected = numbers_in("stack_model.txt");
  CHECK_EQUAL(expected.size(), 6u);
  CHECK_ARRAYS_CLOSE(prediction.values, expected, 3e-6);  // eight layers; Python may have used another instruction set
}

TEST("a quantized model predicts what it predicted in Python") {
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
  // Rounding to 8 bits removes differences between instruction sets, or makes them a thousand times larger.
  CHECK_ARRAYS_CLOSE(prediction.values, expected, 2e-6);
}

TEST("every class of layers that Python saves is known") {
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

/// An LSTM and attention over its outputs, computed as in docs/cpp.md.
template <class T>
void check_attention(const std::string& name, const std::string& kind, double tolerance) {
  const ModelFile file(golden + "/" + name + "_model.safetensors");
  const Index N = 3, S = 6, C = 3;
  const ModelLayer &walk = file.layers()[0], &pool = file.layers()[1];
  CHECK_EQUAL(pool.class_name, "Attention");
  CHECK_EQUAL(pool.attention.kind, kind);
  const Index H = walk.output_size, U = pool.attention.units;
  CHECK_EQUAL(pool.output_size, H);
  const std::vector<T> x = features<T>(N, S, C);
  std::vector<T> y(N * S * H), keys(N * S * U), weights(N * S), context(N * H);
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
  const std::vector<double> expected = numbers_in(name + "_model.txt");
  CHECK_EQUAL(expected.size(), static_cast<std::size_t>(N * H));
  CHECK_ARRAYS_CLOSE(context, expected, tolerance);
}

}  // namespace

TEST("attention returns what it returned in Python") {
  check_attention<float>("attention", "multiplicative", 1e-6);
  check_attention<double>("additive", "additive", 1e-8);  // the file has nine digits
}
