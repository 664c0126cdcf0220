# Windows or macOS, built by the C and C++ compilers of Zig, which bring the headers and libraries of its targets. Configure
# with -DLSTMCORE_ZIG=<zig> and -DLSTMCORE_ZIG_TARGET=<processor>-<windows-gnu or macos>.
if(NOT LSTMCORE_ZIG_TOOLS)
  set(LSTMCORE_ZIG_TOOLS ${CMAKE_BINARY_DIR}/zig)
endif()
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # what the build asks of a compiler needs no linker, which takes long
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LSTMCORE_ZIG LSTMCORE_ZIG_TARGET LSTMCORE_ZIG_TOOLS)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${LSTMCORE_ZIG_TARGET}")
if(LSTMCORE_ZIG_TARGET MATCHES "-windows-gnu$")
  set(CMAKE_SYSTEM_NAME Windows)
elseif(LSTMCORE_ZIG_TARGET MATCHES "-macos$")
  set(CMAKE_SYSTEM_NAME Darwin)
else()
  message(FATAL_ERROR "LSTMCORE_ZIG_TARGET: expected <processor>-windows-gnu or <processor>-macos, got "
                      "\"${LSTMCORE_ZIG_TARGET}\"")
endif()

# CMake wants programs, where Zig has commands of one program. Zig also has names of its own for processors.
function(lstmcore_add_zig_tool name command)
  set(program ${LSTMCORE_ZIG_TOOLS}/${name})
  if(NOT EXISTS ${program})
    file(WRITE ${program} "#!/bin/sh
for argument in \"$@\"; do
  shift
  case $argument in
    -march=x86-64-v*) argument=-march=x86_64_v\${argument#-march=x86-64-v} ;;
    -march=armv8.2-a+*) argument=-mcpu=generic+v8_2a+\${argument#*+} ;;
  esac
  set -- \"$@\" \"$argument\"
done
exec '${LSTMCORE_ZIG}' ${command} \"$@\"
")
    file(CHMOD ${program} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  endif()
endfunction()
lstmcore_add_zig_tool(cc "cc -target ${LSTMCORE_ZIG_TARGET}")
lstmcore_add_zig_tool(c++ "c++ -target ${LSTMCORE_ZIG_TARGET}")
foreach(tool ar ranlib rc)
  lstmcore_add_zig_tool(${tool} ${tool})
endforeach()
set(CMAKE_C_COMPILER ${LSTMCORE_ZIG_TOOLS}/cc)
set(CMAKE_CXX_COMPILER ${LSTMCORE_ZIG_TOOLS}/c++)
set(CMAKE_AR ${LSTMCORE_ZIG_TOOLS}/ar)
set(CMAKE_RANLIB ${LSTMCORE_ZIG_TOOLS}/ranlib)
set(CMAKE_RC_COMPILER ${LSTMCORE_ZIG_TOOLS}/rc)
set(CMAKE_INSTALL_NAME_TOOL false)  # CMake asks for one, and uses it only where it installs
