# Finds Eigen 3.4: the system's, or the one that the Python package cmeel-eigen carries. Only headers are used, and only
# by the kernels: nothing that is installed depends on it, and in a cross build those of this machine serve.
find_package(Eigen3 3.4 QUIET NO_MODULE CMAKE_FIND_ROOT_PATH_BOTH)
if(NOT Eigen3_FOUND)
  find_package(Python COMPONENTS Interpreter QUIET)
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
              "import cmeel, pathlib; print(pathlib.Path(next(iter(cmeel.__path__))).parent / 'cmeel.prefix')"
      OUTPUT_VARIABLE LSTMCORE_CMEEL_PREFIX OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(LSTMCORE_CMEEL_PREFIX)
    find_package(Eigen3 3.4 QUIET NO_MODULE PATHS ${LSTMCORE_CMEEL_PREFIX} CMAKE_FIND_ROOT_PATH_BOTH)
  endif()
endif()
if(NOT Eigen3_FOUND)
  message(FATAL_ERROR "lstmcore: Eigen 3.4 was not found. Install it (Debian: libeigen3-dev; PyPI: cmeel-eigen), or "
                      "give its place with -DEigen3_DIR=...")
endif()
get_target_property(LSTMCORE_EIGEN_INCLUDE Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
