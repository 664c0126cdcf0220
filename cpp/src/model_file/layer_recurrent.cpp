// Layers with an LSTM: LSTM, RNN with its LSTMCells, Bidirectional.

#include "../api/cell_options.hpp"
#include "../runtime/errors.hpp"
#include "file_error.hpp"
#include "layer_kind.hpp"
#include "model_layers.hpp"

namespace lstmcore {
namespace {

using json::Value;
using Kind = json::Value::Kind;

Names operator+(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

/// Names in files of the options that each cell has.
Names options_of_cells(cell_options::Stored stored) {
  Names names;
  cell_options::for_each([&](const auto& option) {
    if (option.stored == stored) names.emplace_back(option.layer_name);
  });
  return names;
}

// ---- the options of a cell ----

void read_option(const Description& from, const char* name, LstmConfig&, bool& value) { value = from.flag(name); }

void read_option(const Description& from, const char* name, LstmConfig&, std::int64_t& value) {
  value = from.integer(name);
}

void read_option(const Description& from, const char* name, LstmConfig&, double& value) { value = from.number(name); }

void read_option(const Description& from, const char* name, LstmConfig& lstm, LstmActivation& value) {
  // The output's activation follows that of the cell, which has been read before, if the file has null.
  const bool follows = &value == &lstm.output_activation && from.is_null(name);
  value = follows ? lstm.cell_activation : from.activation(name);
}

void read_cell(const Description& from, LstmConfig& lstm) {
  from.flag("recurrent_trainable");
  cell_options::for_each([&](const auto& option) {
    if (!option.stored_with_cells()) return;
    auto& value = lstm.*option.member;
    if (from.has(option.layer_name)) {
      read_option(from, option.layer_name, lstm, value);
    } else {
      value = option.default_value();
    }
  });
}

/// The precision of the products; empty if the file does not say.
std::string read_precision(const Description& from) {
  if (!from.has("precision") || from.is_null("precision")) return {};
  return from.choice("precision", precision_names());
}

// ---- the layers ----

void read_walk(const Description& from, ModelLayer& layer) {
  layer.return_sequences = from.flag("return_sequences");
  from.flag("return_state");
  from.flag("stateful");
  layer.lstm.go_backwards = from.flag("go_backwards");
  layer.share_recurrent = from.flag("share_recurrent");
  const Value& recompute = from.value("recompute");  // of training only
  const bool every = recompute.is(Kind::integer) && recompute.integer() >= 1;
  const bool root = recompute.is(Kind::string) && recompute.string() == "sqrt";
  if (!every && !root && !recompute.is(Kind::null)) {
    from.fail("expected recompute to be null, \"sqrt\" or an integer of at least 1");
  }
}

void read_lstm_options(const Description& from, ModelLayer& layer) {
  read_walk(from, layer);
  layer.precision = read_precision(from);
  read_cell(from, layer.lstm);
  layer.lstm.hidden_size = from.count("units");
  layer.lstm.num_layers = from.count("num_layers");
  layer.lstm.dropout = from.number("dropout");
}

/// Checks that the cell is like the first one, whose options `layer` has.
void require_same_cell(const Description& cell, const ModelLayer& layer) {
  const std::int64_t units = cell.count("units");
  if (units != layer.lstm.hidden_size) {
    cell.fail("expected cells of the same units, got " + std::to_string(layer.lstm.hidden_size) + " and " +
              std::to_string(units));
  }
  LstmConfig own = layer.lstm;
  read_cell(cell, own);
  const std::string precision = read_precision(cell);
  if (own != layer.lstm) cell.fail("expected cells with the same options");
  if (precision != layer.precision) cell.fail("expected cells with the same precision");
}

void read_rnn_options(const Description& from, ModelLayer& layer) {
  read_walk(from, layer);
  const Value& cell = from.value("cell");
  const bool several = cell.is(Kind::array);
  const Value* const cells = several ? cell.array().data() : &cell;
  const std::size_t count = several ? cell.array().size() : 1;
  if (count == 0) from.fail("expected at least one cell");
  for (std::size_t k = 0; k < count; ++k) {
    const Value& entry = cells[k];
    const Description description(from.where() + " cell", entry, true);
    if (!description.is("LSTMCell")) description.fail("expected an LSTMCell");
    if (k == 0) {
      layer.lstm.hidden_size = description.count("units");
      read_cell(description, layer.lstm);
      layer.precision = read_precision(description);
    }
    require_same_cell(description, layer);
  }
  layer.lstm.num_layers = static_cast<std::int64_t>(count);
}

/// Checks what the options of all recurrent layers have to fulfil together.
void finish_recurrent(const Description& from, ModelLayer& layer) {
  layer.lstm.input_size = layer.input_size;
  rephrased<std::invalid_argument>([&] { layer.lstm.validate(); }, [&](const std::string& text) { from.fail(text); });
  if (layer.share_recurrent && layer.lstm.num_layers * layer.lstm.directions() == 1) {
    from.fail("expected at least two layers or directions with share_recurrent");
  }
  const bool side_by_side = layer.merge_mode.empty() || layer.merge_mode == "concat";
  layer.output_size = side_by_side ? layer.lstm.output_size() : layer.lstm.state_size();
}

void read_lstm(const Description& from, ModelLayer& layer) {
  read_lstm_options(from, layer);
  finish_recurrent(from, layer);
}

void read_rnn(const Description& from, ModelLayer& layer) {
  read_rnn_options(from, layer);
  finish_recurrent(from, layer);
}

void read_bidirectional(const Description& from, ModelLayer& layer) {
  layer.merge_mode = from.choice("merge_mode", {"concat", "sum", "mul", "ave"});
  const Description inner(from.where() + " layer", from.at("layer", Kind::object), true);
  if (inner.is("LSTM")) {
    read_lstm_options(inner, layer);
  } else if (inner.is("RNN")) {
    read_rnn_options(inner, layer);
  } else {
    inner.fail("expected an LSTM or RNN");
  }
  layer.lstm.bidirectional = true;
  finish_recurrent(from, layer);
}

void refuse_cell(const Description& from, ModelLayer&) { from.fail("a cell is not a layer of a model"); }

void add_recurrent(const ModelLayer& layer, const std::string& prefix, NeededTensors& tensors) {
  if (layer.lstm.num_layers > static_cast<std::int64_t>(tensors.most_tensors)) {
    fail_reading(tensors.where + ": has more layers than the file has tensors");
  }
  for (const LstmParameter& parameter : lstm_parameters(layer.lstm)) {
    tensors.shapes[prefix + stored_name(layer, parameter)] = parameter.shape;
  }
}

bool recurrent_keeps_steps(const ModelLayer& layer) { return layer.return_sequences; }

}  // namespace

std::vector<LayerKind> recurrent_kinds() {
  const Names cell = options_of_cells(cell_options::Stored::always) + Names{"units",
                                                                            "unit_forget_bias",
                                                                            "forget_bias",
                                                                            "recurrent_trainable",
                                                                            "kernel_initializer",
                                                                            "recurrent_initializer",
                                                                            "kernel_regularizer",
                                                                            "recurrent_regularizer",
                                                                            "bias_regularizer",
                                                                            "kernel_constraint",
                                                                            "recurrent_constraint",
                                                                            "bias_constraint",
                                                                            "seed"};
  const Names optional = options_of_cells(cell_options::Stored::optional) + Names{"precision"};
  const Names walk = {"return_sequences", "return_state", "go_backwards", "recompute", "share_recurrent", "stateful"};
  return {
      {"LSTM", cell + walk + Names{"num_layers", "dropout"}, optional, read_lstm, add_recurrent, recurrent_keeps_steps},
      {"LSTMCell", cell, optional, refuse_cell, nullptr, nullptr},
      {"RNN", walk + Names{"cell"}, {}, read_rnn, add_recurrent, recurrent_keeps_steps},
      {"Bidirectional", {"layer", "merge_mode"}, {}, read_bidirectional, add_recurrent, recurrent_keeps_steps}};
}

}  // namespace lstmcore
