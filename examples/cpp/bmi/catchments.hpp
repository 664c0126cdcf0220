// An LSTM for each of many catchments as a component with the Basic Model Interface: all of them take a step together,
// by one call of the C interface of lstmcore.
#pragma once

#include <lstmcore/lstmcore.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bmi.hpp"
#include "config.hpp"

namespace catchments {

/// Variables are arrays of double with one value for each catchment. The inputs are the forcings of the config file,
/// which hold for the next step and stay until they are set again; the outputs are what the model returned for the last
/// one. Time is in seconds and begins at 0. The only grid, 0, has the catchments as points.
///
/// Errors are exceptions: std::runtime_error for files, std::invalid_argument for names, indices and values,
/// std::logic_error for calls before Initialize or after Finalize and for what a grid of points does not have.
class Catchments final : public bmi::Bmi {
 public:
  /// Reads the files of the config file, and tries whether the final state can be written. An error leaves the model as
  /// it was, and the threads of the process.
  void Initialize(std::string config_file) override;
  /// One step. Throws std::invalid_argument, before anything changes, if a forcing is missing (NaN), or not finite as
  /// float.
  void Update() override;
  /// Steps until `time`, which must be a whole number of steps away.
  void UpdateUntil(double time) override;
  /// Writes the final state, if the config file says where, and frees everything.
  void Finalize() override;

  std::string GetComponentName() override;
  int GetInputItemCount() override;
  int GetOutputItemCount() override;
  std::vector<std::string> GetInputVarNames() override;
  std::vector<std::string> GetOutputVarNames() override;

  int GetVarGrid(std::string name) override;
  std::string GetVarType(std::string name) override;
  std::string GetVarUnits(std::string name) override;
  int GetVarItemsize(std::string name) override;
  int GetVarNbytes(std::string name) override;
  std::string GetVarLocation(std::string name) override;

  double GetCurrentTime() override;
  double GetStartTime() override;
  double GetEndTime() override;
  std::string GetTimeUnits() override;
  double GetTimeStep() override;

  void GetValue(std::string name, void* dest) override;
  void* GetValuePtr(std::string name) override;
  void GetValueAtIndices(std::string name, void* dest, int* inds, int count) override;
  void SetValue(std::string name, void* src) override;
  void SetValueAtIndices(std::string name, int* inds, int count, void* src) override;

  int GetGridRank(const int grid) override;
  int GetGridSize(const int grid) override;
  std::string GetGridType(const int grid) override;
  void GetGridShape(const int grid, int* shape) override;
  void GetGridSpacing(const int grid, double* spacing) override;
  void GetGridOrigin(const int grid, double* origin) override;
  void GetGridX(const int grid, double* x) override;
  void GetGridY(const int grid, double* y) override;
  void GetGridZ(const int grid, double* z) override;
  int GetGridNodeCount(const int grid) override;
  int GetGridEdgeCount(const int grid) override;
  int GetGridFaceCount(const int grid) override;
  void GetGridEdgeNodes(const int grid, int* edge_nodes) override;
  void GetGridFaceEdges(const int grid, int* face_edges) override;
  void GetGridFaceNodes(const int grid, int* face_nodes) override;
  void GetGridNodesPerFace(const int grid, int* nodes_per_face) override;

 private:
  struct Free {
    void operator()(lstmcore_stream* stream) const { lstmcore_stream_free(stream); }
  };
  using Values = std::vector<double>;

  /// All that exists between Initialize and Finalize.
  struct Run {
    Config config;
    Attributes attributes;
    std::unique_ptr<lstmcore_stream, Free> stream;
    std::size_t state_size = 0;             ///< of all catchments
    std::vector<Values> forcings, outputs;  ///< in the order of the config file, one value for each catchment
    std::vector<float> x, y;                ///< (catchments, forcings then attributes), (catchments, outputs)
    double time = 0;

    std::size_t count() const { return attributes.catchments.size(); }
  };

  /// A variable of the config file, and its values.
  struct Found {
    const Variable& variable;
    Values& values;
    bool input;
  };

  Run& run();
  Found find(const std::string& name);
  void check_grid(int grid);
  double& at(const Found& found, int index);

  std::optional<Run> run_;
};

}  // namespace catchments
