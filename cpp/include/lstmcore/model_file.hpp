// Models that Python saved (`model.save("model.safetensors")`), read without Python. docs/model_files.md describes the
// format.
//
// Reading is strict: a file that is truncated, damaged, of a newer format or of another kind, and a layer, an option or
// a tensor that is unknown, missing, or of the wrong shape or type is a std::runtime_error whose message names the file
// and what is wrong. Asking for what a good file does not hold is a std::invalid_argument.
#pragma once

#include <cstdint>
#include <lstmcore/lstm.hpp>
#include <lstmcore/ops.hpp>
#include <memory>
#include <string>
#include <vector>

namespace lstmcore {

/// How an Attention layer scores the steps of a sequence. Its keys are tanh(x kernel + bias) if `kind` is "additive", x
/// kernel if it is "multiplicative"; its query is the tensor "score" or "query". With `attention_forward`, without v,
/// the layer's output is the context of that query, one for each row.
struct ModelAttention {
  std::string kind;        ///< "additive" or "multiplicative"
  std::int64_t units = 0;  ///< width of keys and query
  bool scale = false;      ///< whether scores are divided by the root of `units`
};

/// One layer of a saved model. What does not concern its class has its default value.
struct ModelLayer {
  std::string class_name;         ///< "Attention", "Embedding", "LSTM", "RNN", "Bidirectional", "Dense", "Dropout", ...
  std::string name;               ///< what its tensors' names begin with
  bool time_distributed = false;  ///< wrapped into a TimeDistributed
  std::int64_t input_size = 0;    ///< features that go in; 0 for token ids and texts
  std::int64_t output_size = 0;   ///< features that come out; 0 for token ids
  LstmConfig lstm;                ///< LSTM, RNN, Bidirectional
  /// LSTM, RNN, Bidirectional: whether the model goes on with every step or only with the last h.
  bool return_sequences = false;
  /// LSTM, RNN, Bidirectional: name of the precision of its products; empty: that of whoever runs it.
  std::string precision;
  bool share_recurrent = false;      ///< all layers and directions have one weight_hh, "weight_hh_l0" in the file
  std::string merge_mode;            ///< Bidirectional: "concat", "sum", "mul" or "ave" of the two directions
  std::string activation;            ///< Dense, Conv1D: "linear", "relu", "tanh", "sigmoid" or "softmax"
  bool use_bias = false;             ///< Dense, Conv1D
  Windows windows;                   ///< Conv1D, MaxPooling1D
  double epsilon = 0;                ///< LayerNormalization
  bool scale = false;                ///< LayerNormalization: whether it has "gamma"
  bool center = false;               ///< LayerNormalization: whether it has "beta"
  std::int64_t vocabulary_size = 0;  ///< Embedding: ids are below this
  bool mask_zero = false;            ///< Embedding: whether id 0 is padding behind the end
  ModelAttention attention;          ///< Attention
  /// Residual: what its input is added to the output of. Their names are its own, a dot, and their places from 0.
  std::vector<ModelLayer> layers;
  bool projection = false;  ///< Residual: whether the input goes through "projection.kernel" (C, U) before
};

/// A whole file, read and checked by the constructor. Immutable.
class ModelFile {
 public:
  explicit ModelFile(const std::string& path);

  /// "float32" or "float64": the element type of all tensors as `tensor` gives them.
  const std::string& dtype() const;
  /// Whether the file has matrices as 8-bit integers with scales. `tensor` multiplies them, and `lstm` computes with
  /// the integers again.
  bool quantized() const;
  /// All layers in order.
  const std::vector<ModelLayer>& layers() const;
  /// A layer, or one within a Residual.
  const ModelLayer& layer(const std::string& name) const;

  /// An LSTM, RNN or Bidirectional layer with its weights. T must be the file's element type. Products are computed in
  /// the precision that the file asks for, else in this one.
  template <class T>
  Lstm<T> lstm(const std::string& layer, Precision precision = Precision::fp32) const;

  /// The elements of a tensor, row-major. `name` is "dense.kernel" and so on; `shape` must be its shape, T its type.
  /// Dense: kernel (C, U), bias (U). Conv1D: kernel (K, C, F), bias (F). LayerNormalization: gamma (C), beta (C).
  /// Embedding: embeddings (V, E). Attention: kernel (C, U), bias (U) and score (U), or query (U). Recurrent layers:
  /// see `lstm_parameters`.
  template <class T>
  std::vector<T> tensor(const std::string& name, const std::vector<std::int64_t>& shape) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lstmcore
