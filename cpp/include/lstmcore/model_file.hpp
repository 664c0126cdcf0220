// Reads, without Python, models that Python saved (`model.save("model.safetensors")`). docs/model_files.md describes
// the format.
//
// Reading is strict. It throws std::runtime_error, naming the file and what is wrong, if the file is truncated,
// damaged, of a newer format or of another kind, or if a layer, an option or a tensor is unknown, missing, or of the
// wrong shape or type. Asking for something that a valid file does not hold throws std::invalid_argument.
#pragma once

#include <cstdint>
#include <filesystem>
#include <lstmcore/lstm.hpp>
#include <lstmcore/ops.hpp>
#include <memory>
#include <string>
#include <vector>

namespace lstmcore {

/// How an Attention layer scores the steps of a sequence. Its keys are tanh(x kernel + bias) if `kind` is "additive", x
/// kernel if it is "multiplicative"; its query is the tensor "score" or "query". The layer's output is the context that
/// `attention_forward`, without v, computes for that query, one for each row.
struct ModelAttention {
  std::string kind;        ///< "additive" or "multiplicative"
  std::int64_t units = 0;  ///< width of keys and query
  bool scale = false;      ///< whether scores are divided by the square root of `units`
};

/// One layer of a saved model. Members that do not concern its class have their default values.
struct ModelLayer {
  std::string class_name;         ///< "Attention", "Embedding", "LSTM", "RNN", "Bidirectional", "Dense", "Dropout", ...
  std::string name;               ///< prefix of the names of its tensors
  bool time_distributed = false;  ///< whether it is wrapped in a TimeDistributed
  std::int64_t input_size = 0;    ///< features of its input; 0 for token ids and texts
  std::int64_t output_size = 0;   ///< features of its output; 0 for token ids
  LstmConfig lstm;                ///< LSTM, RNN, Bidirectional
  /// LSTM, RNN, Bidirectional: whether its output is h of every step, or only the last h.
  bool return_sequences = false;
  /// LSTM, RNN, Bidirectional: name of the precision of its products; empty: the caller chooses.
  std::string precision;
  bool share_recurrent = false;      ///< all layers and directions share one weight_hh, "weight_hh_l0" in the file
  std::string merge_mode;            ///< Bidirectional: "concat", "sum", "mul" or "ave" of the two directions
  std::string activation;            ///< Dense, Conv1D: "linear", "relu", "tanh", "sigmoid" or "softmax"
  bool use_bias = false;             ///< Dense, Conv1D
  Windows windows;                   ///< Conv1D, MaxPooling1D
  double epsilon = 0;                ///< LayerNormalization
  bool scale = false;                ///< LayerNormalization: whether it has "gamma"
  bool center = false;               ///< LayerNormalization: whether it has "beta"
  std::int64_t vocabulary_size = 0;  ///< Embedding: ids are below this
  bool mask_zero = false;            ///< Embedding: whether id 0 is padding at the end of a row
  ModelAttention attention;          ///< Attention
  /// Residual: the layers whose output its input is added to. Their names are its own, a dot, and their index from 0.
  std::vector<ModelLayer> layers;
  bool projection = false;  ///< Residual: whether the input is first multiplied by "projection.kernel" (C, U)
};

/// A model file, read and checked as a whole by the constructor. Immutable.
class ModelFile {
 public:
  /// A path in UTF-8 is std::filesystem::u8path(text) on Windows, where a plain std::string is in the system's code
  /// page.
  explicit ModelFile(const std::filesystem::path& path);

  /// "float32" or "float64": the element type of all tensors as `tensor` returns them.
  const std::string& dtype() const;
  /// Whether the file stores matrices as 8-bit integers with scales. `tensor` returns integers times scales; `lstm`
  /// computes with the integers.
  bool quantized() const;
  /// All layers in order.
  const std::vector<ModelLayer>& layers() const;
  /// The layer with this name, which may be inside a Residual.
  const ModelLayer& layer(const std::string& name) const;

  /// An LSTM, RNN or Bidirectional layer with its weights. T must be the file's element type. Products are computed in
  /// the precision that the file names, or in `precision` if it names none.
  template <class T>
  Lstm<T> lstm(const std::string& layer, Precision precision = Precision::fp32) const;

  /// The elements of a tensor, row-major. `name` is "dense.kernel" and so on; `shape` must be its shape and T its
  /// element type. Dense: kernel (C, U), bias (U). Conv1D: kernel (K, C, F), bias (F). LayerNormalization: gamma (C),
  /// beta (C). Embedding: embeddings (V, E). Attention: kernel (C, U), bias (U) and score (U), or query (U). Recurrent
  /// layers: see `lstm_parameters`.
  template <class T>
  std::vector<T> tensor(const std::string& name, const std::vector<std::int64_t>& shape) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lstmcore
