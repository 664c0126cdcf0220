// The version number is defined here alone: CMake and pyproject.toml read it from this file.
#pragma once

#define LSTMCORE_VERSION "0.1.0"
