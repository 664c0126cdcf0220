# Runs vcpkg's portfile without vcpkg: the functions that it calls, as little of them as the port needs.
#   cmake -DPORTFILE=<file> -DWORK=<folder> -DEIGEN=<folder of Eigen3Config.cmake> -P vcpkg_by_hand.cmake
# The package is then in WORK/package.
cmake_minimum_required(VERSION 3.20)
set(PORT lstmcore)
set(CURRENT_PACKAGES_DIR ${WORK}/package)

function(by_hand)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_check_linkage)
  if(NOT "${ARGN}" STREQUAL "ONLY_STATIC_LIBRARY")
    message(FATAL_ERROR "expected a static library, got ${ARGN}")
  endif()
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 port "" "SOURCE_PATH" "OPTIONS")
  by_hand(${CMAKE_COMMAND} -S ${port_SOURCE_PATH} -B ${WORK}/build -G Ninja -DCMAKE_BUILD_TYPE=Release
          -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR} -DEigen3_DIR=${EIGEN} -DBUILD_SHARED_LIBS=OFF ${port_OPTIONS}
          -DLSTMCORE_KERNELS=baseline)  # which is enough to see that it works
endfunction()

function(vcpkg_cmake_install)
  by_hand(${CMAKE_COMMAND} --build ${WORK}/build --target install)
endfunction()

# Moves the packages of CMake to where vcpkg has them, from which their prefix is one folder nearer.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 port "" "PACKAGE_NAME;CONFIG_PATH" "")
  set(share ${CURRENT_PACKAGES_DIR}/share/${port_PACKAGE_NAME})
  file(MAKE_DIRECTORY ${CURRENT_PACKAGES_DIR}/share)
  file(RENAME ${CURRENT_PACKAGES_DIR}/${port_CONFIG_PATH} ${share})
  file(GLOB files ${share}/*.cmake)
  foreach(path IN LISTS files)
    file(READ ${path} text)
    string(REPLACE "/../../../\"" "/../../\"" text "${text}")
    string(REPLACE
           "get_filename_component(_IMPORT_PREFIX \"\${CMAKE_CURRENT_LIST_FILE}\" PATH)\nget_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n"
           "get_filename_component(_IMPORT_PREFIX \"\${CMAKE_CURRENT_LIST_FILE}\" PATH)\n" text "${text}")
    file(WRITE ${path} "${text}")
  endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
  if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/lib/pkgconfig/lstmcore.pc)
    message(FATAL_ERROR "the port installed no file for pkg-config")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 port "" "" "FILE_LIST")
  file(INSTALL ${port_FILE_LIST} DESTINATION ${CURRENT_PACKAGES_DIR}/share/${PORT})
endfunction()

include(${PORTFILE})
