// The error of the readers of files.
#pragma once

#include <string>

#include "../runtime/errors.hpp"

namespace lstmcore {

/// For what is wrong with a file. (`fail`, of api/check.hpp, is for arguments and raises std::invalid_argument.)
[[noreturn]] inline void fail_reading(const std::string& what) { raise<std::runtime_error>(what); }

}  // namespace lstmcore
