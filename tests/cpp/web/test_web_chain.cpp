// The model of the page in examples/web, here without a browser. What the module computes in one is tested in
// tests/python/web.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../../../examples/web/chain.hpp"
#include "inference/network.hpp"
#include "model_file_kit.hpp"

using example::Chain;
using example::Sequence;

namespace {

constexpr std::int64_t steps = 5;

/// One LSTM, with weights that do not saturate its gates; before it an Embedding of four tokens, if `embedding` is its
/// mask_zero.
ModelFileMaker lstm_file(bool backwards, bool every_step, const char* embedding = nullptr) {
  ModelFileMaker maker;
  if (embedding != nullptr) {
    maker.document = replaced(maker.document, "[null, null, 2]", "[null, null]");
    maker.document = replaced(maker.document, "[@walk",
                              std::string(R"([{"class": "Embedding", "name": "words", "config": {"input_dim": 4, )"
                                          R"("output_dim": 2, "mask_zero": )") +
                                  embedding +
                                  R"(, "embeddings_initializer": "uniform", "embeddings_regularizer": null, )"
                                  R"("seed": null}}, @walk)");
    maker.tensors["words.embeddings"] = {"F32", {4, 2}};
  }
  const auto set = [&](const char* option) {
    maker.walk_config =
        replaced(maker.walk_config, std::string(option) + "\": false", std::string(option) + "\": true");
  };
  if (backwards) set("go_backwards");
  if (every_step) set("return_sequences");
  std::size_t number = 0;
  for (const auto& [name, tensor] : maker.tensors) {
    std::string bytes;
    for (std::size_t left = ModelFileMaker::elements(tensor); left > 0; --left) {
      const float value = static_cast<float>(7 * ++number % 11) / 10 - 0.5f;
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    maker.contents[name] = bytes;
  }
  return maker;
}

Sequence input(bool reversed) {
  Sequence x(steps, 2);
  for (std::int64_t t = 0; t < steps; ++t) {
    const std::int64_t at = reversed ? steps - 1 - t : t;
    for (std::int64_t k = 0; k < 2; ++k) {
      x.values[static_cast<std::size_t>(2 * at + k)] = static_cast<float>((5 * t + 3 * k) % 7) / 3 - 1;
    }
  }
  return x;
}

}  // namespace

TEST("an LSTM that walks backwards returns its steps in the order in which it walks") {
  for (const bool every_step : {false, true}) {
    const check::Context context(every_step ? "every step" : "the last step");
    const Chain backwards(opened(lstm_file(true, every_step))), forwards(opened(lstm_file(false, every_step)));
    const Sequence found = backwards.run(input(false)), expected = forwards.run(input(true));
    CHECK_EQUAL(found.steps, every_step ? steps : 1);
    CHECK_SAME_BITS(found.values, expected.values);
    CHECK(found.values != forwards.run(input(false)).values);
  }
}

TEST("the same bits as the models of the C interface") {
  for (const bool backwards : {false, true}) {
    for (const bool every_step : {false, true}) {
      const lstmcore::ModelFile file = opened(lstm_file(backwards, every_step));
      const Sequence x = input(false), found = Chain(file).run(x);
      std::vector<float> expected(found.values.size());
      lstmcore::inference::Network(file).forward(x.view(), {}, expected.data());
      CHECK_SAME_BITS(found.values, expected);
    }
  }
}

TEST("token 0 is a token like others without mask_zero, and padding at the end with it") {
  for (const bool backwards : {false, true}) {
    for (const bool every_step : {false, true}) {
      for (const bool mask_zero : {false, true}) {
        const check::Context context(std::string(backwards ? "backwards " : "") + (every_step ? "every step " : "") +
                                     (mask_zero ? "mask_zero" : ""));
        const lstmcore::ModelFile file = opened(lstm_file(backwards, every_step, mask_zero ? "true" : "false"));
        const Chain chain(file);
        const std::int32_t ids[4] = {3, 1, 0, 0};
        const std::int64_t tokens[4] = {3, 1, 0, 0};
        const Sequence found = chain.run(chain.embedded(ids, 4));
        CHECK_EQUAL(found.steps, every_step ? 4 : 1);
        std::vector<float> expected(found.values.size());
        lstmcore::inference::Network(file).forward(lstmcore::View<const std::int64_t, 2>(tokens, {1, 4}), {},
                                                   expected.data());
        // The C interface returns zeros for padding; here it is what the layers make of it, as in Python.
        const std::size_t valid = every_step && mask_zero ? 2 : found.values.size();
        CHECK_SAME_BITS(std::vector<float>(found.values.begin(), found.values.begin() + static_cast<long>(valid)),
                        std::vector<float>(expected.begin(), expected.begin() + static_cast<long>(valid)));
        const std::int32_t first[3] = {0, 1, 2}, unknown[2] = {1, 4}, negative[1] = {-1};
        if (mask_zero) {
          CHECK_THROWS(chain.embedded(first, 3), "ids: 0 is padding and may appear only at the end, got 1 at step 1");
        } else {
          CHECK_EQUAL(chain.embedded(first, 3).valid, 3);
        }
        CHECK_THROWS(chain.embedded(unknown, 2), "ids: expected 0 to 3, got 4 at step 1");
        CHECK_THROWS(chain.embedded(negative, 1), "ids: expected 0 to 3, got -1 at step 0");
      }
    }
  }
}
