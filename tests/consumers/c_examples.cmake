# The programs of examples/c with the installed shared library; step.c also with the static one. Each must print what Python
# predicts step by step.
set(LSTMCORE_MODEL ${PROJECT_SOURCE_DIR}/tests/golden/stream_model.safetensors)
set(LSTMCORE_INPUTS ${PROJECT_SOURCE_DIR}/tests/golden/stream_inputs.txt)
set(LSTMCORE_STAGED_LIB ${LSTMCORE_STAGE}/${CMAKE_INSTALL_LIBDIR})
set(LSTMCORE_STAGED_C ${LSTMCORE_STAGED_LIB}/${CMAKE_SHARED_LIBRARY_PREFIX}lstmcore_c${CMAKE_SHARED_LIBRARY_SUFFIX})
find_package(Python REQUIRED COMPONENTS Interpreter)
find_program(LSTMCORE_RUSTC rustc)

lstmcore_add_consumer(c_example SOURCE ${PROJECT_SOURCE_DIR}/examples/c
                      PROGRAM step ${LSTMCORE_MODEL} ${LSTMCORE_INPUTS} OPTIONS -DCMAKE_PREFIX_PATH=${LSTMCORE_STAGE})
set_tests_properties("consumer[c_example]" PROPERTIES FIXTURES_REQUIRED lstmcore_installed
                                                      FIXTURES_SETUP lstmcore_c_example)

lstmcore_add_consumer(c_static SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/c_static
                      PROGRAM step ${LSTMCORE_MODEL} ${LSTMCORE_INPUTS} OPTIONS -DCMAKE_PREFIX_PATH=${LSTMCORE_STAGE})
set_tests_properties("consumer[c_static]" PROPERTIES FIXTURES_REQUIRED lstmcore_installed FIXTURES_SETUP lstmcore_c_static)

# lstmcore_add_c_example(name REQUIRES fixtures COMMAND program [arguments])
function(lstmcore_add_c_example name)
  cmake_parse_arguments(example "" "REQUIRES" "COMMAND" ${ARGN})
  add_test(NAME "consumer[steps in ${name}]"
           COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/c/compare.py
                   ${PROJECT_SOURCE_DIR}/tests/golden/stream_steps.txt ${example_COMMAND} ${LSTMCORE_MODEL}
                   ${LSTMCORE_INPUTS})
  set_tests_properties("consumer[steps in ${name}]" PROPERTIES FIXTURES_REQUIRED ${example_REQUIRES}
                                                               LABELS "c;consumer")
endfunction()

# lstmcore_add_c_refusals(name REQUIRES fixtures COMMAND program [arguments]): what it says to wrong inputs.
function(lstmcore_add_c_refusals name)
  cmake_parse_arguments(example "" "REQUIRES" "COMMAND" ${ARGN})
  add_test(NAME "consumer[refusals in ${name}]"
           COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/c/refusals.py ${PROJECT_SOURCE_DIR}/tests/golden
                   ${example_COMMAND})
  set_tests_properties("consumer[refusals in ${name}]" PROPERTIES FIXTURES_REQUIRED ${example_REQUIRES}
                                                                  LABELS "c;consumer")
endfunction()

# lstmcore_add_built_example(name TOOL tool COMMAND command): builds a program of that name by a command, then runs it.
# If the tool is not installed, the test is reported as skipped.
function(lstmcore_add_built_example name)
  cmake_parse_arguments(example "" "TOOL" "COMMAND" ${ARGN})
  set(build "consumer[build in ${name}]")
  if(example_TOOL)
    add_test(NAME ${build} COMMAND ${example_COMMAND} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    set_tests_properties(${build} PROPERTIES FIXTURES_REQUIRED lstmcore_installed FIXTURES_SETUP lstmcore_in_${name})
    lstmcore_add_c_example(${name} REQUIRES lstmcore_in_${name} COMMAND ${CMAKE_CURRENT_BINARY_DIR}/step_${name})
  else()
    add_test(NAME ${build} COMMAND ${CMAKE_COMMAND} -E echo "skipped: its tool is not installed")
    set_tests_properties(${build} PROPERTIES SKIP_REGULAR_EXPRESSION "skipped")
  endif()
  set_tests_properties(${build} PROPERTIES LABELS "c;consumer")
endfunction()

lstmcore_add_c_example(c REQUIRES lstmcore_c_example COMMAND ${CMAKE_CURRENT_BINARY_DIR}/c_example/step)
lstmcore_add_c_example(static REQUIRES lstmcore_c_static COMMAND ${CMAKE_CURRENT_BINARY_DIR}/c_static/step)
lstmcore_add_c_example(ctypes REQUIRES lstmcore_installed
                       COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/examples/c/ctypes_step.py ${LSTMCORE_STAGED_C})
lstmcore_add_built_example(
  rust TOOL ${LSTMCORE_RUSTC}
  COMMAND ${LSTMCORE_RUSTC} -O -D warnings ${PROJECT_SOURCE_DIR}/examples/c/step.rs -o step_rust -L
          native=${LSTMCORE_STAGED_LIB} -l dylib=lstmcore_c -C link-arg=-Wl,-rpath,${LSTMCORE_STAGED_LIB})
lstmcore_add_c_refusals(c REQUIRES lstmcore_c_example COMMAND ${CMAKE_CURRENT_BINARY_DIR}/c_example/step)
lstmcore_add_c_refusals(ctypes REQUIRES lstmcore_installed
                        COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/examples/c/ctypes_step.py ${LSTMCORE_STAGED_C})
if(LSTMCORE_RUSTC)
  lstmcore_add_c_refusals(rust REQUIRES lstmcore_in_rust COMMAND ${CMAKE_CURRENT_BINARY_DIR}/step_rust)
endif()

# The commands of docs/c.md.
function(lstmcore_add_pkg_config_example name options)
  lstmcore_add_built_example(
    ${name} TOOL ${LSTMCORE_PKG_CONFIG}
    COMMAND ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${LSTMCORE_STAGED_LIB}/pkgconfig CC=${CMAKE_C_COMPILER} sh -c
            "$CC ${PROJECT_SOURCE_DIR}/examples/c/step.c ${options} -o step_${name}")
endfunction()
lstmcore_add_pkg_config_example(
  pkg_config "$(${LSTMCORE_PKG_CONFIG} --cflags --libs lstmcore_c) -Wl,-rpath,$(${LSTMCORE_PKG_CONFIG} --variable=libdir lstmcore_c)")
lstmcore_add_pkg_config_example(pkg_config_static "$(${LSTMCORE_PKG_CONFIG} --static --cflags --libs lstmcore)")
