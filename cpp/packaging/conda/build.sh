#!/usr/bin/env bash
# Installs the Python package into $PREFIX, whose Eigen the build reads. conda-build sets PYTHON and PREFIX.
set -euo pipefail
export CMAKE_PREFIX_PATH="$PREFIX${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
"$PYTHON" -m pip install . --no-deps --no-build-isolation -vv
