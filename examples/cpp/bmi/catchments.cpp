#include "catchments.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "files.hpp"

namespace catchments {
namespace {

void check(lstmcore_status status) {
  if (status != LSTMCORE_OK) throw std::runtime_error(lstmcore_last_error());
}

struct FreeModel {
  void operator()(lstmcore_model* model) const { lstmcore_model_free(model); }
};
using Model = std::unique_ptr<lstmcore_model, FreeModel>;

Model load(const std::string& path) {
  lstmcore_model* model = nullptr;
  check(lstmcore_model_load(path.c_str(), &model));
  return Model(model);
}

void require_width(const std::string& path, const char* what, std::int64_t expected, std::size_t came, const char* of) {
  if (expected == static_cast<std::int64_t>(came)) return;
  throw std::runtime_error(path + ": the model has " + std::to_string(expected) + " " + what +
                           ", but the config file " + "has " + std::to_string(came) + " " + of);
}

[[noreturn]] void refuse_forcing(const std::string& name, double value, const std::string& catchment) {
  throw std::invalid_argument(
      "Update: " + name +
      (std::isnan(value)
           ? " has no value (NaN) for catchment " + catchment
           : " for catchment " + catchment + ": expected a number that is finite as float, got " + text_of(value)));
}

}  // namespace

// ---- control --------------------------------------------------------------------------------------------------------

void Catchments::Initialize(std::string config_file) {
  const Config config(config_file);
  if (!config.final_state.empty()) check_can_be_written(config.final_state);  // rather than after a long run
  Run run{config, Attributes(config.attributes), nullptr, 0, {}, {}, {}, {}, 0};
  const Model model = load(config.model);
  lstmcore_model_info info;
  info.struct_size = sizeof(info);
  check(lstmcore_model_get_info(model.get(), &info));
  const std::size_t inputs = config.forcings.size() + run.attributes.names.size();
  require_width(config.model, "inputs", info.input_size, inputs, "forcings and attributes");
  require_width(config.model, "outputs", info.output_size, config.outputs.size(), "outputs");

  lstmcore_stream* stream = nullptr;
  const auto rows = static_cast<std::int64_t>(run.count());
  check(lstmcore_stream_create(model.get(), rows, LSTMCORE_MANY_THREADS, &stream));
  run.stream.reset(stream);
  run.state_size = run.count() * static_cast<std::size_t>(info.state_size);
  if (!config.initial_state.empty()) {
    const std::vector<float> state = read_state(config.initial_state, run.state_size);
    check(lstmcore_stream_set_state(stream, 0, rows, state.data(), state.size()));
  }
  const double missing = std::numeric_limits<double>::quiet_NaN();
  run.forcings.assign(config.forcings.size(), Values(run.count(), missing));
  run.outputs.assign(config.outputs.size(), Values(run.count(), missing));
  run.x.resize(run.count() * inputs);
  run.y.resize(run.count() * config.outputs.size());
  const std::size_t attributes = run.attributes.names.size();
  for (std::size_t n = 0; n < run.count(); ++n) {  // attributes never change
    std::copy_n(run.attributes.values.data() + n * attributes, attributes,
                run.x.data() + n * inputs + config.forcings.size());
  }
  if (config.threads > 0) check(lstmcore_set_num_threads(config.threads));  // last: nothing fails after it
  run_.emplace(std::move(run));
}

void Catchments::Update() {
  Run& run = this->run();
  const std::size_t inputs = run.x.size() / run.count();
  for (std::size_t k = 0; k < run.forcings.size(); ++k) {
    for (std::size_t n = 0; n < run.count(); ++n) {
      const double value = run.forcings[k][n];
      if (!finite_as_float(value)) refuse_forcing(run.config.forcings[k].name, value, run.attributes.catchments[n]);
      run.x[n * inputs + k] = static_cast<float>(value);
    }
  }
  check(lstmcore_stream_step(run.stream.get(), run.x.data(), run.x.size(), run.y.data(), run.y.size()));
  for (std::size_t k = 0; k < run.outputs.size(); ++k) {
    for (std::size_t n = 0; n < run.count(); ++n) {
      run.outputs[k][n] = static_cast<double>(run.y[n * run.outputs.size() + k]);
    }
  }
  run.time += run.config.time_step;
}

void Catchments::UpdateUntil(double time) {
  const Run& run = this->run();
  const double steps = (time - run.time) / run.config.time_step, whole = std::round(steps);
  if (!(steps >= 0 && steps < 1e15) || std::fabs(steps - whole) > 1e-6) {
    throw std::invalid_argument("UpdateUntil: expected a time that is a whole number of steps after " +
                                text_of(run.time) + ", got " + text_of(time));
  }
  for (auto left = static_cast<std::int64_t>(whole); left > 0; --left) Update();
}

void Catchments::Finalize() {
  const Run& run = this->run();
  if (!run.config.final_state.empty()) {
    std::vector<float> state(run.state_size);
    const auto rows = static_cast<std::int64_t>(run.count());
    check(lstmcore_stream_get_state(run.stream.get(), 0, rows, state.data(), state.size()));
    write_state(run.config.final_state, state);
  }
  run_.reset();
}

// ---- the model and its variables ------------------------------------------------------------------------------------

namespace {

std::vector<std::string> names_of(const std::vector<Variable>& variables) {
  std::vector<std::string> names;
  for (const Variable& variable : variables) names.push_back(variable.name);
  return names;
}

}  // namespace

Catchments::Run& Catchments::run() {
  if (!run_) throw std::logic_error("the model is not initialized: call Initialize first");
  return *run_;
}

Catchments::Found Catchments::find(const std::string& name) {
  Run& run = this->run();
  for (std::size_t k = 0; k < run.forcings.size(); ++k) {
    if (run.config.forcings[k].name == name) return {run.config.forcings[k], run.forcings[k], true};
  }
  for (std::size_t k = 0; k < run.outputs.size(); ++k) {
    if (run.config.outputs[k].name == name) return {run.config.outputs[k], run.outputs[k], false};
  }
  std::string known;
  for (const auto* list : {&run.config.forcings, &run.config.outputs}) {
    for (const Variable& variable : *list) known += (known.empty() ? "" : ", ") + variable.name;
  }
  throw std::invalid_argument("there is no variable \"" + name + "\"; expected one of " + known);
}

std::string Catchments::GetComponentName() { return "lstmcore catchments"; }
int Catchments::GetInputItemCount() { return static_cast<int>(run().forcings.size()); }
int Catchments::GetOutputItemCount() { return static_cast<int>(run().outputs.size()); }
std::vector<std::string> Catchments::GetInputVarNames() { return names_of(run().config.forcings); }
std::vector<std::string> Catchments::GetOutputVarNames() { return names_of(run().config.outputs); }

int Catchments::GetVarGrid(std::string name) {
  find(name);
  return 0;
}
std::string Catchments::GetVarType(std::string name) {
  find(name);
  return "double";
}
std::string Catchments::GetVarUnits(std::string name) { return find(name).variable.units; }
int Catchments::GetVarItemsize(std::string name) {
  find(name);
  return static_cast<int>(sizeof(double));
}
int Catchments::GetVarNbytes(std::string name) { return static_cast<int>(find(name).values.size() * sizeof(double)); }
std::string Catchments::GetVarLocation(std::string name) {
  find(name);
  return "node";
}

// ---- time -----------------------------------------------------------------------------------------------------------

double Catchments::GetCurrentTime() { return run().time; }
double Catchments::GetStartTime() { return 0; }
double Catchments::GetEndTime() { return run().config.end_time; }
std::string Catchments::GetTimeUnits() { return "s"; }
double Catchments::GetTimeStep() { return run().config.time_step; }

// ---- values ---------------------------------------------------------------------------------------------------------

double& Catchments::at(const Found& found, int index) {
  if (index < 0 || static_cast<std::size_t>(index) >= found.values.size()) {
    throw std::invalid_argument(found.variable.name + ": expected indices from 0 to " +
                                std::to_string(found.values.size() - 1) + ", got " + std::to_string(index));
  }
  return found.values[static_cast<std::size_t>(index)];
}

void Catchments::GetValue(std::string name, void* dest) {
  const Values& values = find(name).values;
  std::memcpy(dest, values.data(), values.size() * sizeof(double));
}

void* Catchments::GetValuePtr(std::string name) { return find(name).values.data(); }

void Catchments::GetValueAtIndices(std::string name, void* dest, int* inds, int count) {
  const Found found = find(name);
  for (int k = 0; k < count; ++k) static_cast<double*>(dest)[k] = at(found, inds[k]);
}

void Catchments::SetValue(std::string name, void* src) {
  const Found found = find(name);
  if (!found.input) throw std::invalid_argument(name + ": is an output, which cannot be set");
  std::memcpy(found.values.data(), src, found.values.size() * sizeof(double));
}

void Catchments::SetValueAtIndices(std::string name, int* inds, int count, void* src) {
  const Found found = find(name);
  if (!found.input) throw std::invalid_argument(name + ": is an output, which cannot be set");
  for (int k = 0; k < count; ++k) at(found, inds[k]);  // all of them before the first is set
  for (int k = 0; k < count; ++k) at(found, inds[k]) = static_cast<const double*>(src)[k];
}

// ---- the grid -------------------------------------------------------------------------------------------------------

namespace {

[[noreturn]] void refuse(const char* what) {
  throw std::logic_error(std::string(what) + ": the catchments are points, which have none");
}

}  // namespace

void Catchments::check_grid(int grid) {
  run();
  if (grid != 0) throw std::invalid_argument("there is no grid " + std::to_string(grid) + "; expected 0");
}

int Catchments::GetGridRank(const int grid) {
  check_grid(grid);
  return 2;
}
int Catchments::GetGridSize(const int grid) {
  check_grid(grid);
  return static_cast<int>(run().count());
}
std::string Catchments::GetGridType(const int grid) {
  check_grid(grid);
  return "points";
}
void Catchments::GetGridShape(const int, int*) { refuse("GetGridShape"); }
void Catchments::GetGridSpacing(const int, double*) { refuse("GetGridSpacing"); }
void Catchments::GetGridOrigin(const int, double*) { refuse("GetGridOrigin"); }
void Catchments::GetGridX(const int grid, double* x) {
  check_grid(grid);
  std::copy(run().attributes.longitude.begin(), run().attributes.longitude.end(), x);
}
void Catchments::GetGridY(const int grid, double* y) {
  check_grid(grid);
  std::copy(run().attributes.latitude.begin(), run().attributes.latitude.end(), y);
}
void Catchments::GetGridZ(const int, double*) { refuse("GetGridZ"); }
int Catchments::GetGridNodeCount(const int grid) { return GetGridSize(grid); }
int Catchments::GetGridEdgeCount(const int grid) {
  check_grid(grid);
  return 0;
}
int Catchments::GetGridFaceCount(const int grid) {
  check_grid(grid);
  return 0;
}
// There are no edges and no faces to write.
void Catchments::GetGridEdgeNodes(const int grid, int*) { check_grid(grid); }
void Catchments::GetGridFaceEdges(const int grid, int*) { check_grid(grid); }
void Catchments::GetGridFaceNodes(const int grid, int*) { check_grid(grid); }
void Catchments::GetGridNodesPerFace(const int grid, int*) { check_grid(grid); }

}  // namespace catchments
