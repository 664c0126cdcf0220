// The configuration of an LSTM: its options from Python's arguments.
#include <lstmcore/lstm.hpp>

#include "arrays.hpp"
#include "bind.hpp"

namespace lstmcore::bindings {

py::list parameter_list(const std::vector<LstmParameter>& parameters) {
  py::list list;
  for (const LstmParameter& parameter : parameters) {
    py::tuple shape(parameter.shape.size());
    for (std::size_t axis = 0; axis < parameter.shape.size(); ++axis) shape[axis] = parameter.shape[axis];
    list.append(py::make_tuple(parameter.name, shape));
  }
  return list;
}

namespace {

/// A name, or a name and its parameters (name, alpha, beta), None being the usual one.
LstmActivation to_activation(py::handle value, const char* argument) {
  const auto name_of = [&](py::handle name) {
    if (!py::isinstance<py::str>(name)) fail_type(argument, "the name of an activation", name);
    return py::cast<std::string>(name);
  };
  if (!py::isinstance<py::tuple>(value)) return lstm_activation(name_of(value), argument);
  const auto parts = py::reinterpret_borrow<py::tuple>(value);
  if (parts.size() != 3) fail_type(argument, "a name, or (name, alpha, beta)", value);
  LstmActivation activation = lstm_activation(name_of(parts[0]), argument);
  if (!parts[1].is_none()) activation.alpha = to_double(parts[1], argument);
  if (!parts[2].is_none()) activation.beta = to_double(parts[2], argument);
  return activation;
}

py::tuple from_activation(const LstmActivation& activation) {
  return py::make_tuple(lstm_function_name(activation.function), activation.alpha, activation.beta);
}

LstmConfig make_config(py::handle input_size, py::handle hidden_size, py::handle num_layers, py::handle bidirectional,
                       py::handle go_backwards, py::handle dropout, py::handle bias, py::handle peephole,
                       py::handle coupled_gates, py::handle gate_activation, py::handle cell_activation,
                       py::handle output_activation, py::handle gate_clip, py::handle cell_clip, py::handle zoneout_h,
                       py::handle zoneout_c, py::handle recurrent_dropout, py::handle input_dropout,
                       py::handle weight_dropout, py::handle proj_size, py::handle proj_clip, py::handle layer_norm,
                       py::handle layer_norm_epsilon) {
  LstmConfig config;
  config.input_size = to_int64(input_size, "input_size");
  config.hidden_size = to_int64(hidden_size, "hidden_size");
  config.num_layers = to_int64(num_layers, "num_layers");
  config.bidirectional = to_bool(bidirectional, "bidirectional");
  config.go_backwards = to_bool(go_backwards, "go_backwards");
  config.dropout = to_double(dropout, "dropout");
  config.bias = to_bool(bias, "bias");
  config.peephole = to_bool(peephole, "peephole");
  config.coupled_gates = to_bool(coupled_gates, "coupled_gates");
  config.gate_activation = to_activation(gate_activation, "gate_activation");
  config.cell_activation = to_activation(cell_activation, "cell_activation");
  config.output_activation = to_activation(output_activation, "output_activation");
  config.gate_clip = to_double(gate_clip, "gate_clip");
  config.cell_clip = to_double(cell_clip, "cell_clip");
  config.zoneout_h = to_double(zoneout_h, "zoneout_h");
  config.zoneout_c = to_double(zoneout_c, "zoneout_c");
  config.recurrent_dropout = to_double(recurrent_dropout, "recurrent_dropout");
  config.input_dropout = to_double(input_dropout, "input_dropout");
  config.weight_dropout = to_double(weight_dropout, "weight_dropout");
  config.proj_size = to_int64(proj_size, "proj_size");
  config.proj_clip = to_double(proj_clip, "proj_clip");
  config.layer_norm = to_bool(layer_norm, "layer_norm");
  config.layer_norm_epsilon = to_double(layer_norm_epsilon, "layer_norm_epsilon");
  config.validate();
  return config;
}

}  // namespace

void bind_config(py::module_& module) {
  py::class_<LstmConfig>(module, "LstmConfig", "Sizes and options of an LSTM.")
      .def(py::init(&make_config), py::arg("input_size"), py::arg("hidden_size"), py::arg("num_layers") = 1,
           py::arg("bidirectional") = false, py::arg("go_backwards") = false, py::arg("dropout") = 0.0,
           py::arg("bias") = true, py::arg("peephole") = false, py::arg("coupled_gates") = false,
           py::arg("gate_activation") = "sigmoid", py::arg("cell_activation") = "tanh",
           py::arg("output_activation") = "tanh", py::arg("gate_clip") = 0.0, py::arg("cell_clip") = 0.0,
           py::arg("zoneout_h") = 0.0, py::arg("zoneout_c") = 0.0, py::arg("recurrent_dropout") = 0.0,
           py::arg("input_dropout") = 0.0, py::arg("weight_dropout") = 0.0, py::arg("proj_size") = 0,
           py::arg("proj_clip") = 0.0, py::arg("layer_norm") = false, py::arg("layer_norm_epsilon") = 1e-5)
      .def_readonly("input_size", &LstmConfig::input_size)
      .def_readonly("hidden_size", &LstmConfig::hidden_size)
      .def_readonly("num_layers", &LstmConfig::num_layers)
      .def_readonly("bidirectional", &LstmConfig::bidirectional)
      .def_readonly("go_backwards", &LstmConfig::go_backwards)
      .def_readonly("dropout", &LstmConfig::dropout)
      .def_readonly("bias", &LstmConfig::bias)
      .def_readonly("peephole", &LstmConfig::peephole)
      .def_readonly("coupled_gates", &LstmConfig::coupled_gates)
      .def_property_readonly("gate_activation",
                             [](const LstmConfig& config) { return from_activation(config.gate_activation); })
      .def_property_readonly("cell_activation",
                             [](const LstmConfig& config) { return from_activation(config.cell_activation); })
      .def_property_readonly("output_activation",
                             [](const LstmConfig& config) { return from_activation(config.output_activation); })
      .def_readonly("gate_clip", &LstmConfig::gate_clip)
      .def_readonly("cell_clip", &LstmConfig::cell_clip)
      .def_readonly("zoneout_h", &LstmConfig::zoneout_h)
      .def_readonly("zoneout_c", &LstmConfig::zoneout_c)
      .def_readonly("recurrent_dropout", &LstmConfig::recurrent_dropout)
      .def_readonly("input_dropout", &LstmConfig::input_dropout)
      .def_readonly("weight_dropout", &LstmConfig::weight_dropout)
      .def_readonly("proj_size", &LstmConfig::proj_size)
      .def_readonly("proj_clip", &LstmConfig::proj_clip)
      .def_readonly("layer_norm", &LstmConfig::layer_norm)
      .def_readonly("layer_norm_epsilon", &LstmConfig::layer_norm_epsilon)
      .def(
          "parameters", [](const LstmConfig& config) { return parameter_list(lstm_parameters(config)); },
          "Name and shape of every weight, in order.");
}

}  // namespace lstmcore::bindings
