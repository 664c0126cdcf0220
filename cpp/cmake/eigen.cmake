# Finds Eigen 3.4: the target of the project that adds lstmcore, the system's, or the one that the Python package cmeel-eigen
# carries. Only headers are used, and only by the kernels: nothing that is installed depends on it, and in a cross build those
# of this machine serve.
if(TARGET Eigen3::Eigen)
  # No find_package has compared its version, and the errors of the compiler would not name it.
  get_target_property(LSTMCORE_EIGEN_FOLDERS Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
  string(REGEX REPLACE "\\$<BUILD_INTERFACE:([^>]*)>" "\\1" LSTMCORE_EIGEN_FOLDERS "${LSTMCORE_EIGEN_FOLDERS}")
  foreach(folder IN LISTS LSTMCORE_EIGEN_FOLDERS)
    if(EXISTS "${folder}/Eigen/src/Core/util/Macros.h")
      file(STRINGS "${folder}/Eigen/src/Core/util/Macros.h" LSTMCORE_EIGEN_VERSION REGEX "define EIGEN_(WORLD|MAJOR)_VERSION [0-9]+")
      string(REGEX REPLACE "[^;]* ([0-9]+)[^;]*" "\\1" LSTMCORE_EIGEN_VERSION "${LSTMCORE_EIGEN_VERSION}")
      list(JOIN LSTMCORE_EIGEN_VERSION "." LSTMCORE_EIGEN_VERSION)
      if(LSTMCORE_EIGEN_VERSION AND LSTMCORE_EIGEN_VERSION VERSION_LESS 3.4)
        message(FATAL_ERROR "lstmcore: the target Eigen3::Eigen: expected version 3.4 or newer, got ${LSTMCORE_EIGEN_VERSION} "
                            "in ${folder}")
      endif()
    endif()
  endforeach()
else()
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
endif()
set(LSTMCORE_EIGEN_INCLUDE $<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>)
