// Models that cannot run as a whole, although their files are good. What those that can run compute is tested in
// tests/c.
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "inference/network.hpp"
#include "inference/stream.hpp"
#include "model_file_kit.hpp"

using lstmcore::inference::Network;

namespace {

/// A file in which another layer, without tensors, takes the place of the Dense one.
ModelFileMaker with_layer(const std::string& layer) {
  ModelFileMaker maker;
  maker.tensors.erase("out.bias");
  maker.tensors.erase("out.kernel");
  maker.out = layer;
  return maker;
}

/// The same, where the LSTM returns every step.
ModelFileMaker after_every_step(const std::string& layer) {
  ModelFileMaker maker = with_layer(layer);
  maker.walk_config = replaced(maker.walk_config, R"("return_sequences": false)", R"("return_sequences": true)");
  return maker;
}

const std::string pooling = R"({"class": "GlobalMaxPooling1D", "name": "out", "config": {}})";

}  // namespace

TEST("sequences and vectors") {
  const Network every(opened(after_every_step(pooling)));
  CHECK(!every.output_has_steps());
  CHECK_EQUAL(every.output_size(), 2);
  CHECK_EQUAL(every.no_stepper(), "out");
  CHECK_THROWS(Network(opened(with_layer(pooling))), "layer \"out\": expected sequences, got one vector for each row");
  const std::string residual =
      R"({"class": "Residual", "name": "out", "config": {"projection": false, "layers": )"
      R"([{"class": "MaxPooling1D", "config": {"name": null, "pool_size": 2, "strides": 1, "padding": "same"}}]}})";
  const Network around(opened(after_every_step(residual)));
  CHECK(around.output_has_steps());
  CHECK_EQUAL(around.no_stepper(), "out.0");
  CHECK_THROWS(Network(opened(with_layer(residual))), "layer \"out\": expected sequences");
}

TEST("a wrapped layer that would see the steps of a step") {
  const std::string wrapped = R"({"class": "TimeDistributed", "name": "out", "config": {"layer": )"
                              R"({"class": "GlobalMaxPooling1D", "config": {"name": null}}}})";
  CHECK_THROWS(Network(opened(after_every_step(wrapped))),
               "layer \"out\": cannot run a TimeDistributed around a GlobalMaxPooling1D here");
}

TEST("a wrapped embedding") {
  ModelFileMaker maker = with_layer(pooling);
  maker.tensors = {{"walk.embeddings", {"F32", {5, 2}}}};
  maker.walk =
      R"({"class": "TimeDistributed", "name": "walk", "config": {"layer": {"class": "Embedding", "config": )"
      R"({"input_dim": 5, "output_dim": 2, "embeddings_initializer": "uniform", "embeddings_regularizer": null, )"
      R"("mask_zero": false, "seed": null, "name": null}}}})";
  maker.document = replaced(maker.document, "[null, null, 2]", "[null, null]");
  CHECK_THROWS(Network(opened(maker)), "layer \"walk\": cannot run a TimeDistributed around an Embedding here");
}

TEST("a model of dropout alone returns its input") {
  ModelFileMaker maker = with_layer(R"({"class": "Dropout", "name": "out", "config": {"rate": 0.5, "seed": null}})");
  maker.tensors.clear();
  maker.walk = R"({"class": "Dropout", "name": "walk", "config": {"rate": 0.5, "seed": null}})";
  const Network network(opened(maker));
  const float x[4] = {1, 2, 3, 4};
  float y[4] = {};
  network.forward(lstmcore::View<const float, 3>(x, {1, 2, 2}), {}, y);
  CHECK(y[0] == 1 && y[3] == 4);
  network.stepper(1)->step(x, y);
  CHECK(y[0] == 1 && y[1] == 2);
}

TEST("texts without an embedding") {
  ModelFileMaker maker = with_layer("");
  maker.tensors.clear();
  maker.document = replaced(maker.document, "[@walk, @out]", "[@walk]");
  maker.walk = R"({"class": "TextVectorization", "name": "words", "config": {"max_tokens": null, "standardize": null, )"
               R"("split": "whitespace", "output_sequence_length": null, "vocabulary": ["a"]}})";
  CHECK_THROWS(Network(opened(maker)), "layer \"words\": expected an Embedding after it");
}

TEST("float64") {
  ModelFileMaker maker;
  for (auto& [name, tensor] : maker.tensors) tensor.first = "F64";
  maker.document = replaced(maker.document, "float32", "float64");
  CHECK_THROWS(Network(opened(maker)), "holds float64, expected float32");
}

TEST("a stream steps with the tokens that it has checked") {
  const auto network = std::make_shared<const Network>(lstmcore::ModelFile(golden + "/steps_model.safetensors"));
  CHECK_EQUAL(network->no_stepper(), "");
  lstmcore::inference::Stream stream(network, 3, lstmcore::inference::Stream::Threads::one);
  const std::int64_t none = network->vocabulary_size();
  std::vector<std::int64_t> tokens = {0, 1, none};
  CHECK_EQUAL(stream.read(tokens.data()), 2);
  CHECK_EQUAL(stream.token(2), none);
  tokens = {0, 1, 0};
  CHECK_EQUAL(stream.read(tokens.data()), 3);
  tokens = {none, none, none};  // as another thread might
  const auto outputs = static_cast<std::size_t>(network->output_size());
  std::vector<float> y(3 * outputs);
  stream.step_tokens(y.data());
  CHECK(std::vector<float>(y.begin(), y.begin() + network->output_size()) ==
        std::vector<float>(y.end() - network->output_size(), y.end()));
}

#if !defined(__SANITIZE_THREAD__)  // which would find the race that this is about
TEST("another thread may change lengths and tokens during a call: what was checked is what is used") {
  const Network network(lstmcore::ModelFile(golden + "/steps_model.safetensors"));
  constexpr std::int64_t rows = 16, steps = 200, none = std::int64_t{1} << 40;
  std::vector<std::int64_t> tokens(rows * steps, 1), lengths(rows, steps);
  std::vector<float> y(static_cast<std::size_t>(rows * network.output_steps(steps) * network.output_size()));
  std::atomic<bool> over{false};
  std::thread other([&] {
    volatile std::int64_t* const places[] = {&tokens.front(), &tokens.back(), &lengths.front(), &lengths.back()};
    while (!over) {
      for (volatile std::int64_t* const place : places) {
        const std::int64_t valid = *place;
        *place = none;
        *place = valid;
      }
    }
  });
  // On a busy machine the other thread may be stopped, for longer than all calls take, while its tokens are wrong.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  int refused = 0, calls = 0;
  for (; calls < 300 || (refused == calls && std::chrono::steady_clock::now() < deadline); ++calls) {
    try {
      network.forward(lstmcore::View<const std::int64_t, 2>(tokens.data(), {rows, steps}), {lengths.data(), {rows}},
                      y.data());
    } catch (const std::invalid_argument&) {
      ++refused;
    }
  }
  over = true;
  other.join();
  CHECK(refused < calls);
}
#endif
