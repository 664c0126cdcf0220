# Packages in other forms, projects that export what uses lstmcore, small programs, and captures of amplifiers.
if(LSTMCORE_PKG_CONFIG)
  lstmcore_add_consumer(pkg_config SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/pkg_config PROGRAM consumer
                        OPTIONS -DLSTMCORE_VERSION=${PROJECT_VERSION})
  set_tests_properties("consumer[pkg_config]" PROPERTIES
                       FIXTURES_REQUIRED lstmcore_installed
                       ENVIRONMENT "PKG_CONFIG_PATH=${LSTMCORE_STAGE}/${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()

# The host of consumer[add_subdirectory] installs its library and lstmcore; a third project finds both.
set_tests_properties("consumer[add_subdirectory]" PROPERTIES FIXTURES_SETUP lstmcore_host)
set(LSTMCORE_HOST_STAGE ${CMAKE_CURRENT_BINARY_DIR}/host)
add_test(NAME "consumer[install of a host]"
         COMMAND ${CMAKE_COMMAND} --install ${CMAKE_CURRENT_BINARY_DIR}/add_subdirectory --prefix ${LSTMCORE_HOST_STAGE})
set_tests_properties("consumer[install of a host]" PROPERTIES FIXTURES_REQUIRED lstmcore_host
                     FIXTURES_SETUP lstmcore_host_installed LABELS "cpp;consumer")
lstmcore_add_consumer(export_user SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/export_user PROGRAM user
                      OPTIONS -DCMAKE_PREFIX_PATH=${LSTMCORE_HOST_STAGE} -DCMAKE_BUILD_TYPE=Debug)
set_tests_properties("consumer[export_user]" PROPERTIES FIXTURES_REQUIRED lstmcore_host_installed)

# A host that exports lstmcore as a part of its own package. CMake checks exports when it generates, so nothing is built.
add_test(NAME "consumer[an export of its own]"
         COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_SOURCE_DIR}/add_subdirectory
                 -B ${CMAKE_CURRENT_BINARY_DIR}/own_export -G ${CMAKE_GENERATOR}
                 -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DLSTMCORE_SOURCE=${PROJECT_SOURCE_DIR}
                 -DEigen3_DIR=${Eigen3_DIR} -DCMAKE_BUILD_TYPE=Debug -DLSTMCORE_INSTALL=OFF -DUSE_FETCH_CONTENT=ON)
set_tests_properties("consumer[an export of its own]" PROPERTIES LABELS "cpp;consumer")

# lstmcore_add_configuration(name [options] [THEN options]): configures the library in a folder that is empty, and with the
# options after THEN once more.
function(lstmcore_add_configuration name)
  string(MAKE_C_IDENTIFIER "${name}" folder)
  add_test(NAME "consumer[${name}]"
           COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DBUILD=${CMAKE_CURRENT_BINARY_DIR}/${folder}
                   -P ${CMAKE_CURRENT_SOURCE_DIR}/configure.cmake -- -G ${CMAKE_GENERATOR}
                   -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DEigen3_DIR=${Eigen3_DIR} ${ARGN})
endfunction()

# Options that contradict each other.
function(lstmcore_add_refusal name expected)
  lstmcore_add_configuration("refused: ${name}" ${ARGN})
  set_tests_properties("consumer[refused: ${name}]" PROPERTIES LABELS "cpp;consumer" PASS_REGULAR_EXPRESSION "${expected}")
endfunction()
lstmcore_add_refusal(kernels "LSTMCORE_KERNELS: expected baseline" -DLSTMCORE_KERNELS=avx2)
lstmcore_add_refusal(unknown "LSTMCORE_KERNELS: expected some of[^\n]*got.*sse9" -DLSTMCORE_KERNELS=sse9)
lstmcore_add_refusal(exceptions "LSTMCORE_EXCEPTIONS=OFF excludes" -DLSTMCORE_EXCEPTIONS=OFF -DLSTMCORE_TESTS=ON)
lstmcore_add_refusal(shared "LSTMCORE_EXCEPTIONS=OFF excludes LSTMCORE_SHARED" -DLSTMCORE_EXCEPTIONS=OFF -DLSTMCORE_SHARED=ON)
lstmcore_add_refusal(module "LSTMCORE_PYTHON=ON excludes LSTMCORE_SHARED" -DLSTMCORE_PYTHON=ON -DLSTMCORE_SHARED=ON)

# What options are where nobody sets them: whoever installs the library must not fail at a warning.
function(lstmcore_add_defaults name expected)
  lstmcore_add_configuration("defaults: ${name}" -DLSTMCORE_KERNELS=baseline ${ARGN})
  set_tests_properties("consumer[defaults: ${name}]" PROPERTIES LABELS "cpp;consumer" PASS_REGULAR_EXPRESSION "${expected}")
endfunction()
lstmcore_add_defaults(plain "LSTMCORE_SHARED: ON.*LSTMCORE_WERROR: OFF")
lstmcore_add_defaults(exceptions "with.*LSTMCORE_SHARED: OFF" THEN -DLSTMCORE_EXCEPTIONS=OFF)
lstmcore_add_defaults(tests "with.*LSTMCORE_WERROR: ON" THEN -DLSTMCORE_TESTS=ON)

# In a project whose only language is C, there is the shared library without a word, and what the static one needs is said.
# Unoptimized, to save time.
get_target_property(LSTMCORE_EIGEN Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
set(LSTMCORE_C_HOST ${CMAKE_CURRENT_SOURCE_DIR}/c_subdirectory)
lstmcore_add_consumer(c_subdirectory SOURCE ${LSTMCORE_C_HOST}
                      PROGRAM step ${PROJECT_SOURCE_DIR}/tests/golden/stream_model.safetensors
                              ${PROJECT_SOURCE_DIR}/tests/golden/stream_inputs.txt
                      OPTIONS -DLSTMCORE_SOURCE=${PROJECT_SOURCE_DIR} -DEIGEN=${LSTMCORE_EIGEN} -DCMAKE_BUILD_TYPE=Debug
                              -DLSTMCORE_KERNELS=baseline)
# lstmcore_add_c_host(name expected [options]): what such a project is told.
function(lstmcore_add_c_host name expected)
  string(MAKE_C_IDENTIFIER "c_host_${name}" folder)
  add_test(NAME "consumer[C alone: ${name}]"
           COMMAND ${CMAKE_COMMAND} -DSOURCE=${LSTMCORE_C_HOST} -DBUILD=${CMAKE_CURRENT_BINARY_DIR}/${folder}
                   -P ${CMAKE_CURRENT_SOURCE_DIR}/configure.cmake -- -G ${CMAKE_GENERATOR}
                   -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DLSTMCORE_SOURCE=${PROJECT_SOURCE_DIR}
                   -DLSTMCORE_KERNELS=baseline ${ARGN})
  set_tests_properties("consumer[C alone: ${name}]" PROPERTIES LABELS "c;consumer" PASS_REGULAR_EXPRESSION "${expected}")
endfunction()
lstmcore_add_c_host("shared" "no C\\+\\+: link lstmcore::lstmcore_c; for lstmcore::lstmcore, add CXX"
                    -DEIGEN=${LSTMCORE_EIGEN} THEN -DLSTMCORE_WERROR=OFF)
lstmcore_add_c_host("static" "without[ \n]+LSTMCORE_SHARED; for lstmcore::lstmcore,[ \n]+add CXX" -DEIGEN=${LSTMCORE_EIGEN}
                    -DLSTMCORE_SHARED=OFF)
set(LSTMCORE_OLD_EIGEN ${CMAKE_CURRENT_BINARY_DIR}/old_eigen)
file(WRITE ${LSTMCORE_OLD_EIGEN}/Eigen/src/Core/util/Macros.h
     "#define EIGEN_WORLD_VERSION 3\n#define EIGEN_MAJOR_VERSION 3\n#define EIGEN_MINOR_VERSION 9\n")
lstmcore_add_c_host("an old Eigen" "Eigen3::Eigen:[ \n]+expected version 3.4 or newer, got 3.3" -DEIGEN=${LSTMCORE_OLD_EIGEN})

# Without exceptions and RTTI, and with one instruction set. Unoptimized, to save time.
lstmcore_add_consumer(small SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/small PROGRAM small
                      OPTIONS -DLSTMCORE_SOURCE=${PROJECT_SOURCE_DIR} -DEigen3_DIR=${Eigen3_DIR}
                              -DCMAKE_BUILD_TYPE=Debug -DLSTMCORE_KERNELS=baseline -DSMALL_READS_FILES=ON
                              -DLSTMCORE_INSTALL=ON)
set_tests_properties("consumer[small]" PROPERTIES FIXTURES_SETUP lstmcore_small)
add_test(NAME "consumer[small: installed headers]"
         COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_CURRENT_BINARY_DIR}/small -DSTAGE=${CMAKE_CURRENT_BINARY_DIR}/small_installed
                 -P ${CMAKE_CURRENT_SOURCE_DIR}/small/headers.cmake)
set_tests_properties("consumer[small: installed headers]" PROPERTIES FIXTURES_REQUIRED lstmcore_small LABELS "cpp;consumer")
function(lstmcore_add_small name expected)
  add_test(NAME "consumer[small: ${name}]" COMMAND ${CMAKE_CURRENT_BINARY_DIR}/small/small ${ARGN})
  set_tests_properties("consumer[small: ${name}]" PROPERTIES FIXTURES_REQUIRED lstmcore_small LABELS "cpp;consumer"
                       PASS_REGULAR_EXPRESSION "${expected}")
endfunction()
set(LSTMCORE_GOLDEN ${PROJECT_SOURCE_DIR}/tests/golden)
lstmcore_add_small("a wrong argument" "handled: hidden_size: expected at least 1, got 0" wrong)
lstmcore_add_small("a model" "3 layers" model ${LSTMCORE_GOLDEN}/stream_model.safetensors)
lstmcore_add_small("no file" "handled: no_such_file: cannot be read" model no_such_file)
lstmcore_add_small("a wrong header" "handled: [^\n]*catchment.csv: not a safetensors file"
                   model ${LSTMCORE_GOLDEN}/catchment.csv)
lstmcore_add_small("a wrong capture" "handled: [^\n]*catchment.csv: not valid JSON: expected a value at byte 0"
                   capture ${LSTMCORE_GOLDEN}/catchment.csv)
lstmcore_add_small("an instruction set that was left out"
                   "handled: LSTMCORE_ISA: [^\n]*can run \\(baseline\\), got \"avx2\"")
set_tests_properties("consumer[small: an instruction set that was left out]" PROPERTIES ENVIRONMENT LSTMCORE_ISA=avx2)

# A sound is played through captures, and compared with a slow loop in Python.
if(Python_Interpreter_FOUND)
  set(LSTMCORE_CAPTURES ${CMAKE_CURRENT_BINARY_DIR}/captures)
  set(LSTMCORE_MAKE_CAPTURE ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/capture/make_capture.py)
  add_test(NAME "consumer[capture: files]" COMMAND ${LSTMCORE_MAKE_CAPTURE} ${LSTMCORE_CAPTURES})
  set_tests_properties("consumer[capture: files]" PROPERTIES FIXTURES_SETUP lstmcore_captures LABELS "cpp;consumer")
  foreach(name capture.nam capture.json)
    add_test(NAME "consumer[${name}: played]"
             COMMAND ${CMAKE_CURRENT_BINARY_DIR}/example/play_capture ${LSTMCORE_CAPTURES}/${name}
                     ${LSTMCORE_CAPTURES}/guitar.wav ${LSTMCORE_CAPTURES}/${name}.wav)
    set_tests_properties("consumer[${name}: played]" PROPERTIES
                         FIXTURES_REQUIRED "lstmcore_example;lstmcore_captures" FIXTURES_SETUP lstmcore_played_${name}
                         LABELS "cpp;consumer")
    add_test(NAME "consumer[${name}: heard]"
             COMMAND ${LSTMCORE_MAKE_CAPTURE} ${LSTMCORE_CAPTURES}/${name}.wav ${LSTMCORE_CAPTURES}/${name}.expected)
    set_tests_properties("consumer[${name}: heard]" PROPERTIES FIXTURES_REQUIRED lstmcore_played_${name}
                         LABELS "cpp;consumer")
  endforeach()
  # lstmcore_add_refused_sound(name expected from to [controls])
  function(lstmcore_add_refused_sound name expected from to)
    lstmcore_add_refused_run("play_capture, ${name}" "${expected}" play_capture ${LSTMCORE_CAPTURES}/capture.nam ${from} ${to}
                             ${ARGN})
    set_tests_properties("consumer[play_capture, ${name}]" PROPERTIES FIXTURES_REQUIRED "lstmcore_example;lstmcore_captures")
  endfunction()
  set(LSTMCORE_GUITAR ${LSTMCORE_CAPTURES}/guitar.wav)
  set(LSTMCORE_PLAYED ${LSTMCORE_CAPTURES}/refused.wav)
  foreach(control abc " " 0,5 nan 1e39)
    lstmcore_add_refused_sound("\"${control}\"" "CONTROL 2: expected a finite number, got \"${control}\"" ${LSTMCORE_GUITAR}
                               ${LSTMCORE_PLAYED} 0.5 "${control}")
  endforeach()
  lstmcore_add_refused_sound("a text" "catchment.csv: expected a WAV file" ${LSTMCORE_GOLDEN}/catchment.csv ${LSTMCORE_PLAYED})
  lstmcore_add_refused_sound("a folder" "golden: cannot be " ${LSTMCORE_GOLDEN} ${LSTMCORE_PLAYED})
  lstmcore_add_refused_sound("no rate" "rate.wav: expected a rate above 0" ${LSTMCORE_CAPTURES}/rate.wav ${LSTMCORE_PLAYED})
  lstmcore_add_refused_sound("a part" "part.wav: expected a whole WAV file" ${LSTMCORE_CAPTURES}/part.wav ${LSTMCORE_PLAYED})
  lstmcore_add_refused_sound("8 bits" "bits.wav: expected samples of" ${LSTMCORE_CAPTURES}/bits.wav ${LSTMCORE_PLAYED})
  if(EXISTS /dev/full)
    lstmcore_add_refused_sound("a full disk" "/dev/full: cannot be written" ${LSTMCORE_GUITAR} /dev/full)
  endif()
endif()
