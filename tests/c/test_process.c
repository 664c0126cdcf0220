/*
 * What belongs to the process: versions, threads, the instruction set.
 *
 * Usage: test_process VERSION MODEL [WRONG]. WRONG is the variable of the environment that is set to what no machine
 * runs: LSTMCORE_ISA or LSTMCORE_UNITS, to "sse9".
 */
#include "check.h"

static void test_wrong_instruction_set(const char* path) {
  lstmcore_model* model = NULL;
  CHECK(lstmcore_instruction_set() == NULL);
  CHECK(strstr(lstmcore_last_error(), "LSTMCORE_ISA: expected an instruction set") != NULL);
  CHECK_ERROR(lstmcore_model_load(path, &model), LSTMCORE_ERROR_MACHINE, "got \"sse9\"");
  CHECK(model == NULL);
}

static void test_wrong_units(const char* path) {
  lstmcore_model* model = NULL;
  CHECK_ERROR(lstmcore_model_load(path, &model), LSTMCORE_ERROR_MACHINE,
              "LSTMCORE_UNITS: expected \"any\" or nothing, got \"sse9\"");
  CHECK_ERROR(lstmcore_model_load_memory("LSTMCORE", 8, &model), LSTMCORE_ERROR_MACHINE, "got \"sse9\"");
  CHECK(model == NULL);
}

int main(int argc, char** argv) {
  const char* set;
  if (argc < 3) return 2;
  CHECK(lstmcore_abi_version() == LSTMCORE_ABI_VERSION);
  CHECK(strcmp(lstmcore_version(), argv[1]) == 0);
  CHECK(lstmcore_get_num_threads() >= 1);
  CHECK_OK(lstmcore_set_num_threads(3));
  CHECK(lstmcore_get_num_threads() == 3);
  if (argc > 3) {
    (strcmp(argv[3], "LSTMCORE_ISA") == 0 ? test_wrong_instruction_set : test_wrong_units)(argv[2]);
    return check_end();
  }
  set = lstmcore_instruction_set();
  CHECK(set != NULL && (strcmp(set, "baseline") == 0 || strcmp(set, "avx2") == 0 || strcmp(set, "avx512") == 0));
  CHECK(lstmcore_instruction_set() == set);
  return check_end();
}
