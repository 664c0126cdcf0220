// A shared library with the engine inside, as a plugin of another program would have it.
#include <exception>
#include <lstmcore/cpu.hpp>
#include <lstmcore/model_file.hpp>

#if defined(_WIN32)
#define PLUGIN_EXPORT extern "C" __declspec(dllexport)
#else
#define PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

/// Number of layers of a model file; -1 if it cannot be read.
PLUGIN_EXPORT int plugin_layers(const char* path) {
  try {
    return static_cast<int>(lstmcore::ModelFile(path).layers().size());
  } catch (const std::exception&) {
    return -1;
  }
}

/// Bytes of a vector of the instruction set in use.
PLUGIN_EXPORT int plugin_vector_bytes() { return lstmcore::vector_bytes(lstmcore::isa()); }
