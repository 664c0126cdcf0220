# Fails if PLUGIN exports anything of lstmcore.
execute_process(COMMAND ${NM} --dynamic --defined-only --demangle ${PLUGIN} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]*lstmcore[^\n]*" exported "${symbols}")
if(exported)
  message(FATAL_ERROR "the plugin exports parts of lstmcore: ${exported}")
endif()
