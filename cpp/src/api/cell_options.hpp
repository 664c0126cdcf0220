// The one table of LstmConfig's options, and how to visit it.
//
// Everything that concerns every option goes through this table and repeats no names: checks, comparison, the Python
// binding, the C++ reader of model files, what conversions refuse, and the tests of Python's LSTMConfig and of
// docs/variants.md. CONTRIBUTING.md lists what else a new option needs besides its row here.
#pragma once

#include <cstdint>
#include <lstmcore/lstm.hpp>
#include <tuple>

namespace lstmcore {

/// True if all options are equal.
bool operator==(const LstmConfig& a, const LstmConfig& b);
inline bool operator!=(const LstmConfig& a, const LstmConfig& b) { return !(a == b); }

/// Throws std::invalid_argument, naming the option `name`, if the function does not take these parameters.
void check_activation(const char* name, const LstmActivation& activation);

namespace cell_options {

/// The values that an option may have.
enum class Domain {
  any,             ///< all values of its type; an activation needs parameters that its function takes
  size,            ///< at least 1; a default of 0 means that the option must be set
  to_hidden_size,  ///< from 0 to hidden_size
  rate,            ///< in [0, 1)
  bound,           ///< finite and at least 0; 0: no bound
  positive,        ///< finite and above 0
};

/// Whether the plain cell of lstm.hpp computes an option whose value is not the default.
enum class Cell { plain, varied };

/// Where a layer, in Python and in a model file, has an option.
enum class Stored {
  nowhere,   ///< it follows from other layers, or from the layer's class
  by_layer,  ///< among the options of the layer, which the reader of model files reads by itself
  always,    ///< with each cell; a file without it is refused
  optional,  ///< with each cell; older files lack it, which means the default. For all new options. Python's layers
             ///< name them in `_left_out_if_none`.
};

/// The ONNX name of an option that a node of its LSTM operator does not mention: a node is one layer, and at inference
/// nothing is dropped. It is also used for parameters of an option that ONNX lacks.
constexpr const char* unmentioned = "";
/// An option that ONNX's LSTM operator lacks.
constexpr const char* lacking = nullptr;

template <class Value>
struct Option {
  const char* name;  ///< of the member of LstmConfig, and of the field of Python's LSTMConfig
  Value LstmConfig::* member;
  Domain domain;
  Cell cell;
  Stored stored;
  const char* layer_name;  ///< what layers and model files call it; null if they do not have it
  const char* onnx;        ///< attribute or input of ONNX's LSTM operator, or `unmentioned`, or `lacking`

  Value default_value() const { return LstmConfig().*member; }
  bool stored_with_cells() const { return stored == Stored::always || stored == Stored::optional; }
  /// Whether its value is compared with elements or added to them, so that their type must be able to hold it.
  bool used_as_element() const { return domain == Domain::bound || domain == Domain::positive; }
};

template <class Value>
constexpr Option<Value> option(const char* name, Value LstmConfig::* member, Domain domain, Cell cell, Stored stored,
                               const char* layer_name, const char* onnx) {
  return {name, member, domain, cell, stored, layer_name != nullptr && *layer_name == 0 ? name : layer_name, onnx};
}

constexpr const char* same_name = "";
constexpr const char* no_name = nullptr;

#define OPTION(member, ...) option(#member, &LstmConfig::member, __VA_ARGS__)
// clang-format off
/// In the order of Python's arguments.
constexpr auto table = std::make_tuple(
    //     member              domain                  cell          stored            name in layers          in ONNX
    OPTION(input_size,         Domain::size,           Cell::plain,  Stored::nowhere,  no_name,                "W"),
    OPTION(hidden_size,        Domain::size,           Cell::plain,  Stored::by_layer, "units",                "hidden_size"),
    OPTION(num_layers,         Domain::size,           Cell::plain,  Stored::by_layer, same_name,              unmentioned),
    OPTION(bidirectional,      Domain::any,            Cell::plain,  Stored::nowhere,  no_name,                "direction"),
    OPTION(go_backwards,       Domain::any,            Cell::plain,  Stored::by_layer, same_name,              "direction"),
    OPTION(dropout,            Domain::rate,           Cell::plain,  Stored::by_layer, same_name,              unmentioned),
    OPTION(bias,               Domain::any,            Cell::plain,  Stored::always,   "use_bias",             "B"),
    OPTION(peephole,           Domain::any,            Cell::varied, Stored::always,   same_name,              "P"),
    OPTION(coupled_gates,      Domain::any,            Cell::varied, Stored::always,   same_name,              "input_forget"),
    OPTION(gate_activation,    Domain::any,            Cell::varied, Stored::always,   "recurrent_activation", "activations"),
    OPTION(cell_activation,    Domain::any,            Cell::varied, Stored::always,   "activation",           "activations"),
    OPTION(output_activation,  Domain::any,            Cell::varied, Stored::always,   same_name,              "activations"),
    OPTION(gate_clip,          Domain::bound,          Cell::varied, Stored::always,   same_name,              "clip"),
    OPTION(cell_clip,          Domain::bound,          Cell::varied, Stored::always,   same_name,              lacking),
    OPTION(output_clip,        Domain::bound,          Cell::varied, Stored::optional, same_name,              "clip"),
    OPTION(zoneout_h,          Domain::rate,           Cell::varied, Stored::always,   same_name,              lacking),
    OPTION(zoneout_c,          Domain::rate,           Cell::varied, Stored::always,   same_name,              lacking),
    OPTION(recurrent_dropout,  Domain::rate,           Cell::varied, Stored::always,   same_name,              unmentioned),
    OPTION(input_dropout,      Domain::rate,           Cell::plain,  Stored::always,   same_name,              unmentioned),
    OPTION(weight_dropout,     Domain::rate,           Cell::plain,  Stored::always,   same_name,              unmentioned),
    OPTION(proj_size,          Domain::to_hidden_size, Cell::plain,  Stored::always,   same_name,              lacking),
    OPTION(proj_clip,          Domain::bound,          Cell::plain,  Stored::always,   same_name,              unmentioned),
    OPTION(layer_norm,         Domain::any,            Cell::varied, Stored::always,   same_name,              lacking),
    OPTION(layer_norm_epsilon, Domain::positive,       Cell::plain,  Stored::always,   same_name,              unmentioned));
// clang-format on
#undef OPTION

/// Calls visit(option) for every option, in the order of the table.
template <class Visit>
void for_each(Visit&& visit) {
  std::apply([&](const auto&... option) { (visit(option), ...); }, table);
}

}  // namespace cell_options
}  // namespace lstmcore
