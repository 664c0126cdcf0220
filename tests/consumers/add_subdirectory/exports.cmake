# Fails if PLUGIN exports anything of lstmcore. Templates of the standard library that are made for its types do not count:
# they are visible wherever they come from.
execute_process(COMMAND ${NM} --dynamic --defined-only --demangle ${PLUGIN} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]*lstmcore[^\n]*" exported "${symbols}")
list(FILTER exported EXCLUDE REGEX "^[0-9a-f]* [A-Za-z] std::")
if(exported)
  message(FATAL_ERROR "the plugin exports parts of lstmcore: ${exported}")
endif()
