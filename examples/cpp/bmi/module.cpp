// The component as a shared library that a framework loads while it runs. The names of these functions are those under
// which the NextGen water modeling framework (ngen) looks for them.
#include "catchments.hpp"

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

extern "C" {

EXPORTED bmi::Bmi* bmi_model_create() { return new catchments::Catchments(); }

EXPORTED void bmi_model_destroy(bmi::Bmi* model) { delete static_cast<catchments::Catchments*>(model); }
}
