// The instruction set in use, the number of threads, and where they run.
#pragma once

#include <string>
#include <vector>

namespace lstmcore {

/// Instruction set that the kernels run on: "baseline", "avx2" (x86-64-v3) or "avx512" (x86-64-v4). The best one that
/// both processor and operating system support, or the one that the environment variable LSTMCORE_ISA names. Chosen at
/// the first call and fixed from then on. Throws std::invalid_argument if LSTMCORE_ISA names an unknown or unsupported
/// one.
const std::string& isa();

/// The names of all instruction sets, on any machine, slowest first.
std::vector<std::string> known_isas();

/// Every instruction set that this library was built for and this machine can run, slowest first.
std::vector<std::string> supported_isas();

/// Bytes of a vector of an instruction set, also of one that this machine lacks; 0 if there is none of that name.
int vector_bytes(const std::string& name);

/// Largest number of threads that one call may use. Before `set_num_threads`, the smaller of OMP_NUM_THREADS (if set)
/// and the number of processors in the process's affinity mask or, in a container, its quota.
int get_num_threads();

/// Sets the largest number of threads for the whole process. Results do not depend on it. Throws std::invalid_argument
/// if `count` is not in 1..1024.
void set_num_threads(int count);

/// What would run the threads of a call now: "own pool", "OpenMP (path of the library)" where the program, or PyTorch
/// in it, uses an OpenMP runtime, or "executor" after `set_executor`.
std::string thread_provider();

}  // namespace lstmcore
