// A small model file, each part of which a test can change or damage.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// CRC-32 bit by bit.
inline std::uint32_t crc32(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("nothing to replace: " + from);
  return text.replace(at, from.size(), to);
}

/// The text, escaped for a JSON string.
inline std::string escaped(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result;
}

/// An LSTM "walk" with two features and two units, and a Dense "out" with one output. The tensors, in the order of
/// their names, hold 0, 1, 2, ...
struct ModelFileMaker {
  using Tensor = std::pair<std::string, std::vector<std::int64_t>>;  // type and shape

  std::map<std::string, Tensor> tensors = {{"out.bias", {"F32", {1}}},
                                           {"out.kernel", {"F32", {2, 1}}},
                                           {"walk.bias_l0", {"F32", {8}}},
                                           {"walk.weight_hh_l0", {"F32", {8, 2}}},
                                           {"walk.weight_ih_l0", {"F32", {8, 2}}}};
  std::string walk_config =
      R"({"units": 2, "return_sequences": false, "return_state": false, "go_backwards": false,)"
      R"( "recompute": null, "num_layers": 1,)"
      R"( "dropout": 0.0, "activation": "tanh", "recurrent_activation": "sigmoid", "output_activation": null,)"
      R"( "use_bias": true, "peephole": false, "coupled_gates": false, "gate_clip": 0.0, "cell_clip": 0.0,)"
      R"( "zoneout_h": 0.0, "zoneout_c": 0.0, "recurrent_dropout": 0.0, "input_dropout": 0.0,)"
      R"( "weight_dropout": 0.0, "proj_size": 0, "proj_clip": 0.0, "layer_norm": false, "layer_norm_epsilon": 1e-5,)"
      R"( "unit_forget_bias": true, "forget_bias": null, "recurrent_trainable": true, "share_recurrent": false,)"
      R"( "stateful": false, "kernel_initializer": "glorot_uniform",)"
      R"( "recurrent_initializer": "orthogonal", "kernel_regularizer": null, "recurrent_regularizer": null,)"
      R"( "bias_regularizer": null, "kernel_constraint": null, "recurrent_constraint": null, "bias_constraint": null,)"
      R"( "seed": null})";
  std::string walk = R"({"class": "LSTM", "name": "walk", "config": @config})";
  std::string out =
      R"({"class": "Dense", "name": "out", "config": {"units": 1, "activation": "linear", "use_bias": true,)"
      R"( "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros", "kernel_regularizer": null,)"
      R"( "bias_regularizer": null, "kernel_constraint": null, "bias_constraint": null, "seed": null}})";
  std::string document =
      R"({"format": 1, "lstmcore": "0.1.0", "dtype": "float32", "seed": 0, "input_shape": [null, null, 2],)"
      R"( "layers": [@walk, @out], "training": @training, "checksum": @checksum})";
  std::string training = "null";
  std::string checksum{};                         // empty: the correct one
  std::string header{};                           // empty: the one that fits the tensors
  std::map<std::string, std::string> contents{};  // bytes of tensors with other values

  static std::size_t element_size(const Tensor& tensor) {
    return tensor.first == "F64" ? 8 : tensor.first == "I8" ? 1 : 4;
  }

  static std::size_t elements(const Tensor& tensor) {
    std::size_t count = 1;
    for (const std::int64_t extent : tensor.second) count *= static_cast<std::size_t>(extent);
    return count;
  }

  std::string data() const {
    std::string bytes;
    float value = 0;
    for (const auto& [name, tensor] : tensors) {
      const auto own = contents.find(name);
      if (own != contents.end()) bytes += own->second;
      for (std::size_t k = 0; k < elements(tensor) && own == contents.end(); ++k, ++value) {
        const double wide = value;
        if (tensor.first == "I8") {
          bytes += static_cast<char>(value);
        } else if (tensor.first == "F64") {
          bytes.append(reinterpret_cast<const char*>(&wide), 8);
        } else {
          bytes.append(reinterpret_cast<const char*>(&value), 4);
        }
      }
    }
    return bytes;
  }

  std::string metadata() const {
    std::string text = document;
    const std::vector<std::pair<std::string, std::string>> parts = {
        {"@checksum", checksum.empty() ? std::to_string(crc32(data())) : checksum},
        {"@training", training},
        {"@walk", walk},
        {"@out", out},
        {"@config", walk_config}};
    for (const auto& [name, value] : parts) {
      while (text.find(name) != std::string::npos) text = replaced(text, name, value);
    }
    return text;
  }

  std::string default_header() const {
    std::string text = R"({"__metadata__":{"lstmcore":")" + escaped(metadata()) + "\"}";
    std::size_t begin = 0;
    for (const auto& [name, tensor] : tensors) {
      const std::size_t end = begin + elements(tensor) * element_size(tensor);
      std::string shape;
      for (const std::int64_t extent : tensor.second) shape += (shape.empty() ? "" : ",") + std::to_string(extent);
      text.append(",\"").append(name).append("\":{\"dtype\":\"").append(tensor.first);
      text.append("\",\"shape\":[").append(shape).append("],\"data_offsets\":[");
      text.append(std::to_string(begin)).append(",").append(std::to_string(end)).append("]}");
      begin = end;
    }
    return text + "}";
  }

  std::string bytes() const {
    const std::string text = header.empty() ? default_header() : header;
    std::string length(8, '\0');
    for (std::size_t k = 0; k < 8; ++k) length[k] = static_cast<char>((text.size() >> (8 * k)) & 0xFF);
    return length + text + data();
  }
};
