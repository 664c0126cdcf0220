// The only home of the version number: CMake and pyproject.toml read it from here.
#pragma once

#define LSTMCORE_VERSION "0.1.0"
