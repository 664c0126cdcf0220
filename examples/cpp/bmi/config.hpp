// The files that describe a set of catchments.
#pragma once

#include <string>
#include <vector>

namespace catchments {

struct Variable {
  std::string name;
  std::string units;
};

/// A text file with lines "key = value", each key once; "#" begins a comment. Paths are relative to the folder of the
/// file. Numbers are decimal: 0, or from 1e-300 to 1e300.
///
///     model = catchments.safetensors       the model file
///     attributes = attributes.csv          the catchments
///     forcings = precipitation [mm d-1], temperature [degC]
///     outputs = discharge [mm d-1]
///     time_step = 86400                    seconds; 86400 by default
///     end_time = 31536000                  seconds; without it, the model never ends
///     threads = 4                          optional: a limit for all models of the process; it stays after Finalize
///     initial_state = state.bin            optional: the state to begin with, instead of zeros
///     final_state = state.bin              optional: where Finalize writes the state
///
/// The model's inputs are the forcings and then the attributes, in their order, in the units of the files. No two
/// variables have the same name.
struct Config {
  std::string model, attributes, initial_state, final_state;
  std::vector<Variable> forcings, outputs;
  double time_step = 86400;
  double end_time;
  int threads = 0;

  /// Throws std::runtime_error, naming file and line, if a line cannot be understood or a key is missing.
  explicit Config(const std::string& path);
};

/// A table with a header and a line for each catchment: its name, longitude and latitude, and its attributes. Blank
/// lines are skipped.
struct Attributes {
  std::vector<std::string> catchments;
  std::vector<std::string> names;  ///< of the attributes
  std::vector<double> longitude, latitude;
  std::vector<float> values;  ///< (catchments, attributes)

  /// Throws std::runtime_error, naming file and line, if a line cannot be understood.
  explicit Attributes(const std::string& path);
};

}  // namespace catchments
