# Installs the library of BUILD, which has no exceptions, into STAGE: C++ has its headers there, C none, since the library
# lacks what that declares.
file(REMOVE_RECURSE ${STAGE})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${STAGE} COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE headers RELATIVE ${STAGE} ${STAGE}/*.hpp ${STAGE}/*.h)
if(NOT "${headers}" MATCHES "lstmcore/lstm\\.hpp" OR "${headers}" MATCHES "lstmcore\\.h(;|$)")
  message(FATAL_ERROR "expected the headers for C++ and none for C, got ${headers}")
endif()
