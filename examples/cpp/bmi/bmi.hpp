// The Basic Model Interface 2.0 for C++: the functions by which frameworks of hydrology and of the earth's surface
// control a model and exchange its variables.
//
// The interface is that of the Community Surface Dynamics Modeling System: Hutton, Piper & Tucker (2020), "The Basic
// Model Interface 2.0: A standard interface for coupling numerical models in the geosciences", Journal of Open Source
// Software 5(51), 2317; https://bmi.csdms.io. Names, parameters and their order are those of its header bmi.hxx, which
// is used instead of this one where the compiler finds it.
#pragma once

#if __has_include(<bmi.hxx>)
#include <bmi.hxx>
#else

#include <string>
#include <vector>

namespace bmi {

class Bmi {
 public:
  // Control
  virtual void Initialize(std::string config_file) = 0;
  virtual void Update() = 0;
  virtual void UpdateUntil(double time) = 0;
  virtual void Finalize() = 0;

  // The model
  virtual std::string GetComponentName() = 0;
  virtual int GetInputItemCount() = 0;
  virtual int GetOutputItemCount() = 0;
  virtual std::vector<std::string> GetInputVarNames() = 0;
  virtual std::vector<std::string> GetOutputVarNames() = 0;

  // Its variables
  virtual int GetVarGrid(std::string name) = 0;
  virtual std::string GetVarType(std::string name) = 0;
  virtual std::string GetVarUnits(std::string name) = 0;
  virtual int GetVarItemsize(std::string name) = 0;
  virtual int GetVarNbytes(std::string name) = 0;
  virtual std::string GetVarLocation(std::string name) = 0;

  // Time
  virtual double GetCurrentTime() = 0;
  virtual double GetStartTime() = 0;
  virtual double GetEndTime() = 0;
  virtual std::string GetTimeUnits() = 0;
  virtual double GetTimeStep() = 0;

  // Values
  virtual void GetValue(std::string name, void* dest) = 0;
  virtual void* GetValuePtr(std::string name) = 0;
  virtual void GetValueAtIndices(std::string name, void* dest, int* inds, int count) = 0;
  virtual void SetValue(std::string name, void* src) = 0;
  virtual void SetValueAtIndices(std::string name, int* inds, int count, void* src) = 0;

  // Grids
  virtual int GetGridRank(const int grid) = 0;
  virtual int GetGridSize(const int grid) = 0;
  virtual std::string GetGridType(const int grid) = 0;
  virtual void GetGridShape(const int grid, int* shape) = 0;
  virtual void GetGridSpacing(const int grid, double* spacing) = 0;
  virtual void GetGridOrigin(const int grid, double* origin) = 0;
  virtual void GetGridX(const int grid, double* x) = 0;
  virtual void GetGridY(const int grid, double* y) = 0;
  virtual void GetGridZ(const int grid, double* z) = 0;
  virtual int GetGridNodeCount(const int grid) = 0;
  virtual int GetGridEdgeCount(const int grid) = 0;
  virtual int GetGridFaceCount(const int grid) = 0;
  virtual void GetGridEdgeNodes(const int grid, int* edge_nodes) = 0;
  virtual void GetGridFaceEdges(const int grid, int* face_edges) = 0;
  virtual void GetGridFaceNodes(const int grid, int* face_nodes) = 0;
  virtual void GetGridNodesPerFace(const int grid, int* nodes_per_face) = 0;

  virtual ~Bmi() = default;  // last, since the standard has none: the order of the others stays
};

}  // namespace bmi

#endif
