# Run by the build: cmake -DPROGRAM=... -DOUTPUT=... -P make_man.cmake. Nothing is written when the program fails.
execute_process(COMMAND ${PROGRAM} help --man OUTPUT_VARIABLE page RESULT_VARIABLE status)
if(NOT status EQUAL 0 OR NOT page MATCHES "^[.']")
  message(FATAL_ERROR "vonk help --man: exit status ${status}, no manual page on its output")
endif()
file(WRITE ${OUTPUT} "${page}")
