// Models: loading, description, whole sequences.
#include <algorithm>
#include <filesystem>
#include <limits>
#include <lstmcore/model_file.hpp>
#include <string>

#include "handles.hpp"
#include "status.hpp"
#include "structs.hpp"

using lstmcore::ModelFile;
using lstmcore::ModelLayer;
using lstmcore::View;
using lstmcore::c::elements;
using lstmcore::c::Failure;
using lstmcore::c::give;
using lstmcore::c::guarded;
using lstmcore::c::require_array;
using lstmcore::c::require_in;
using lstmcore::c::required;
using lstmcore::inference::Network;

namespace {

constexpr std::int64_t any_number = std::numeric_limits<std::int64_t>::max();

/// Reads a model by read(), packs it and stores it in `model`. `name` begins the error texts.
template <class Read>
void load(const std::string& name, lstmcore_model** model, Read&& read) {
  lstmcore_model*& result = required(model, "model");
  lstmcore::c::require_machine();
  std::shared_ptr<const Network> network;
  try {
    network = std::make_shared<const Network>(read());
  } catch (const std::domain_error& error) {
    throw std::domain_error(name + ": " + error.what());
  } catch (const std::runtime_error& error) {  // it names the file already
    throw Failure(LSTMCORE_ERROR_FILE, error.what());
  }
  result = new lstmcore_model{std::move(network)};
}

lstmcore_model_info describe(const Network& network) {
  lstmcore_model_info info{};
  info.input_size = network.input_size();
  info.vocabulary_size = network.vocabulary_size();
  info.output_size = network.output_size();
  info.can_stream = network.no_stepper().empty() ? 1 : 0;
  info.state_size = info.can_stream != 0 ? network.state_size() : 0;
  info.layer_count = static_cast<std::int64_t>(network.layers().size());
  info.output_has_steps = network.output_has_steps() ? 1 : 0;
  return info;
}

/// Checks what both ways of running on whole sequences have in common; returns the view of the lengths.
View<const std::int64_t, 1> check_sequences(const Network& network, std::int64_t rows, std::int64_t steps,
                                            const std::int64_t* lengths, const float* y, std::size_t y_size) {
  require_in("rows", rows, 0, any_number);
  require_in("steps", steps, 0, any_number);
  const char* const shape = network.output_has_steps() ? "rows x output steps x output_size" : "rows x output_size";
  require_array("y", y, y_size, elements(rows, network.output_steps(steps), network.output_size()), shape);
  if (lengths == nullptr) return {};
  return {lengths, {rows}};
}

}  // namespace

extern "C" {

lstmcore_status lstmcore_model_load(const char* path, lstmcore_model** model) {
  return guarded([&] {
    required(path, "path");
    load(path, model, [&] { return ModelFile(std::filesystem::u8path(path)); });
  });
}

lstmcore_status lstmcore_model_load_memory(const void* bytes, size_t size, lstmcore_model** model) {
  return guarded([&] {
    if (size > 0) required(static_cast<const char*>(bytes), "bytes");
    const char* const name = "model in memory";
    load(name, model, [&] { return ModelFile::from_memory(bytes, size, name); });
  });
}

void lstmcore_model_free(lstmcore_model* model) { delete model; }

lstmcore_status lstmcore_model_get_info(const lstmcore_model* model, lstmcore_model_info* info) {
  return guarded([&] {
    const Network& network = *required(model, "model").network;
    give(required(info, "info"), describe(network), lstmcore::c::first_model_info_size);
  });
}

lstmcore_status lstmcore_model_get_layer(const lstmcore_model* model, int64_t index, lstmcore_layer_info* info) {
  return guarded([&] {
    const std::vector<ModelLayer>& layers = required(model, "model").network->layers();
    lstmcore_layer_info& to = required(info, "info");
    require_in("index", index, 0, static_cast<std::int64_t>(layers.size()) - 1);
    const ModelLayer& layer = layers[static_cast<std::size_t>(index)];
    give(to, {0, layer.name.c_str(), layer.class_name.c_str(), layer.input_size, layer.output_size},
         lstmcore::c::first_layer_info_size);
  });
}

lstmcore_status lstmcore_model_output_steps(const lstmcore_model* model, int64_t steps, int64_t* output_steps) {
  return guarded([&] {
    const Network& network = *required(model, "model").network;
    std::int64_t& result = required(output_steps, "output_steps");
    require_in("steps", steps, 0, any_number);
    result = network.output_steps(steps);
  });
}

lstmcore_status lstmcore_model_forward(const lstmcore_model* model, int64_t rows, int64_t steps, const int64_t* lengths,
                                       const float* x, size_t x_size, float* y, size_t y_size) {
  return guarded([&] {
    const Network& network = *required(model, "model").network;
    if (network.takes_tokens()) {
      throw Failure(LSTMCORE_ERROR_UNSUPPORTED, "model: takes tokens; call lstmcore_model_forward_tokens");
    }
    const auto valid = check_sequences(network, rows, steps, lengths, y, y_size);
    const std::int64_t width = network.input_size();
    require_array("x", x, x_size, elements(rows, steps, width), "rows x steps x input_size");
    if (rows > 0) network.forward(View<const float, 3>(x, {rows, steps, width}), valid, y);
  });
}

lstmcore_status lstmcore_model_forward_tokens(const lstmcore_model* model, int64_t rows, int64_t steps,
                                              const int64_t* lengths, const int64_t* tokens, size_t tokens_size,
                                              float* y, size_t y_size) {
  return guarded([&] {
    const Network& network = *required(model, "model").network;
    if (!network.takes_tokens()) {
      throw Failure(LSTMCORE_ERROR_UNSUPPORTED, "model: takes features; call lstmcore_model_forward");
    }
    const auto valid = check_sequences(network, rows, steps, lengths, y, y_size);
    require_array("tokens", tokens, tokens_size, elements(rows, steps), "rows x steps");
    if (rows > 0) network.forward(View<const std::int64_t, 2>(tokens, {rows, steps}), valid, y);
  });
}

}  // extern "C"
