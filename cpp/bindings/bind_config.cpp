// The configuration of an LSTM. Its options and their names are those of `cell_options::table`.
#include <lstmcore/lstm.hpp>

#include "../src/api/cell_options.hpp"
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

// ---- values of options, from Python and to Python ----

void read_option(py::handle value, const char* name, std::int64_t& option) { option = to_int64(value, name); }
void read_option(py::handle value, const char* name, double& option) { option = to_double(value, name); }
void read_option(py::handle value, const char* name, bool& option) { option = to_bool(value, name); }

/// The name of an activation, or a tuple (name, alpha, beta), in which None stands for the usual parameter.
void read_option(py::handle value, const char* name, LstmActivation& option) {
  const auto named = [&](py::handle function) {
    if (!py::isinstance<py::str>(function)) fail_type(name, "the name of an activation", function);
    return lstm_activation(py::cast<std::string>(function), name);
  };
  if (!py::isinstance<py::tuple>(value)) {
    option = named(value);
    return;
  }
  const auto parts = py::reinterpret_borrow<py::tuple>(value);
  if (parts.size() != 3) fail_type(name, "a name, or (name, alpha, beta)", value);
  option = named(parts[0]);
  if (!parts[1].is_none()) option.alpha = to_double(parts[1], name);
  if (!parts[2].is_none()) option.beta = to_double(parts[2], name);
}

py::object to_python(std::int64_t value) { return py::int_(value); }
py::object to_python(double value) { return py::float_(value); }
py::object to_python(bool value) { return py::bool_(value); }
py::object to_python(const LstmActivation& value) {
  return py::make_tuple(lstm_function_name(value.function), value.alpha, value.beta);
}

const char* type_name(std::int64_t) { return "int"; }
const char* type_name(double) { return "float"; }
const char* type_name(bool) { return "bool"; }
const char* type_name(const LstmActivation&) { return "activation"; }

py::object text_or_none(const char* text) { return text == nullptr ? py::none() : py::object(py::str(text)); }

// ---- the configuration ----

LstmConfig make_config(const py::kwargs& arguments) {
  LstmConfig config;
  py::dict unknown = arguments.attr("copy")();
  cell_options::for_each([&](const auto& option) {
    if (!arguments.contains(option.name)) return;
    read_option(arguments[option.name], option.name, config.*option.member);
    unknown.attr("pop")(option.name);
  });
  for (const auto& [name, value] : unknown) {
    throw py::type_error("LstmConfig: no option " + py::cast<std::string>(name));
  }
  config.validate();
  return config;
}

py::dict values_of(const LstmConfig& config) {
  py::dict values;
  cell_options::for_each([&](const auto& option) { values[option.name] = to_python(config.*option.member); });
  return values;
}

py::list list_options() {
  py::list rows;
  cell_options::for_each([&](const auto& option) {
    const auto value = option.default_value();
    rows.append(py::make_tuple(option.name, type_name(value), to_python(value), text_or_none(option.layer_name),
                               text_or_none(option.onnx), option.stored == cell_options::Stored::optional));
  });
  return rows;
}

}  // namespace

void bind_config(py::module_& module) {
  py::class_<LstmConfig>(module, "LstmConfig", "Sizes and options of an LSTM.")
      .def(py::init(&make_config))
      .def("values", &values_of, "Every option by its name; an activation as (name, alpha, beta).")
      .def(
          "parameters", [](const LstmConfig& config) { return parameter_list(lstm_parameters(config)); },
          "Name and shape of every weight, in order.");
  module.def("lstm_options", &list_options,
             "Of every option: name, type, default, name in layers, name in ONNX's LSTM operator, and whether files "
             "may lack it.");
  module.def(
      "lstm_activation", [](const std::string& name) { return to_python(lstm_activation(name, "name")); },
      py::arg("name"), "The activation of this name, (name, alpha, beta), with its usual parameters.");
}

}  // namespace lstmcore::bindings
