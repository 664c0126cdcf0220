// The instruction set in use and the number of threads.
#pragma once

#include <string>
#include <vector>

namespace lstmcore {

/// Instruction set that the kernels run on: "baseline", "avx2" (x86-64-v3) or "avx512" (x86-64-v4). The best one that
/// both processor and operating system support, or the one that the environment variable LSTMCORE_ISA names. Chosen at
/// the first call and fixed from then on. Throws std::invalid_argument if LSTMCORE_ISA names an unknown or unsupported
/// one.
const std::string& isa();

/// Every instruction set that this library was built for and this machine can run, slowest first.
std::vector<std::string> supported_isas();

/// Bytes of a vector of an instruction set, also of one that this machine lacks; 0 if there is none of that name.
int vector_bytes(const std::string& name);

/// Largest number of threads that one call may use. Before `set_num_threads`, the smaller of OMP_NUM_THREADS (if set)
/// and the number of processors in the process's affinity mask or, in a container, its quota; always 1 when built
/// without OpenMP.
int get_num_threads();

/// Sets the largest number of threads for the whole process. Results do not depend on it. Throws std::invalid_argument
/// if `count` is not in 1..1024.
void set_num_threads(int count);

/// True if the library was built with OpenMP.
bool has_openmp();

}  // namespace lstmcore
