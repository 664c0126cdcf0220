/*
 * A small test kit for C: the CHECK macros print what failed and go on; a program ends with `return check_end();`.
 */
#ifndef LSTMCORE_TESTS_CHECK_H
#define LSTMCORE_TESTS_CHECK_H

#include <lstmcore/lstmcore.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures = 0, check_passes = 0;

static inline void check_record(int passed, const char* file, int line, const char* text) {
  if (passed) {
    ++check_passes;
  } else if (++check_failures <= 20) {
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
  }
}

#define CHECK(condition) check_record((condition) != 0, __FILE__, __LINE__, "CHECK(" #condition ") does not hold")

/* Checks that a call succeeds. */
#define CHECK_OK(call) check_ok(call, __FILE__, __LINE__, #call)

/* Checks that a call fails with this status, and that the error text contains `part`. */
#define CHECK_ERROR(call, status, part) check_error(call, status, part, __FILE__, __LINE__, #call)

static inline void check_ok(lstmcore_status status, const char* file, int line, const char* call) {
  char text[2048];
  snprintf(text, sizeof(text), "%.200s is %s: %s", call, lstmcore_status_name(status), lstmcore_last_error());
  check_record(status == LSTMCORE_OK, file, line, text);
}

static inline void check_error(lstmcore_status status, lstmcore_status expected, const char* part, const char* file,
                               int line, const char* call) {
  char text[2048];
  const char* const came = lstmcore_last_error();
  snprintf(text, sizeof(text), "%.200s is %s with \"%s\", expected %s with \"%s\"", call, lstmcore_status_name(status),
           came, lstmcore_status_name(expected), part);
  check_record(status == expected && strstr(came, part) != NULL, file, line, text);
}

/* Memory that the test frees; ends the program if there is none. Never NULL, also for no bytes. */
static inline void* check_memory(size_t bytes) {
  void* const memory = malloc(bytes > 0 ? bytes : 1);
  if (memory == NULL) {
    fprintf(stderr, "out of memory\n");
    exit(EXIT_FAILURE);
  }
  return memory;
}

static inline float* check_floats(int64_t count) { return (float*)check_memory((size_t)count * sizeof(float)); }

/* The path of a file in a folder, in memory that the caller frees. */
static inline char* check_path(const char* folder, const char* name) {
  const size_t size = strlen(folder) + strlen(name) + 2;
  char* const path = (char*)check_memory(size);
  snprintf(path, size, "%s/%s", folder, name);
  return path;
}

/* A model of a file in a folder; ends the program if it cannot be loaded. */
static inline lstmcore_model* check_load(const char* folder, const char* name) {
  char* const path = check_path(folder, name);
  lstmcore_model* model = NULL;
  if (lstmcore_model_load(path, &model) != LSTMCORE_OK) {
    fprintf(stderr, "%s\n", lstmcore_last_error());
    exit(EXIT_FAILURE);
  }
  free(path);
  return model;
}

static inline lstmcore_model_info check_info(const lstmcore_model* model) {
  lstmcore_model_info info;
  memset(&info, 0, sizeof(info));
  info.struct_size = sizeof(info);
  CHECK_OK(lstmcore_model_get_info(model, &info));
  return info;
}

/* Input of row n, step t, feature c, exact in binary: as tests/golden/make_predictions.py makes it. */
static inline float check_input(int64_t n, int64_t t, int64_t c) {
  return (float)((5 * n + 7 * t + 3 * c) % 11) / 4 - 1.25f;
}

/* Fills x (rows, steps, width). */
static inline float* check_inputs(int64_t rows, int64_t steps, int64_t width) {
  float* const x = check_floats(rows * steps * width);
  int64_t n, t, c, at = 0;
  for (n = 0; n < rows; ++n) {
    for (t = 0; t < steps; ++t) {
      for (c = 0; c < width; ++c) x[at++] = check_input(n, t, c);
    }
  }
  return x;
}

/* Tokens (rows, steps), which are not 0. */
static inline int64_t* check_tokens(int64_t rows, int64_t steps, int64_t vocabulary) {
  int64_t* const tokens = (int64_t*)check_memory((size_t)(rows * steps) * sizeof(int64_t));
  int64_t n, t;
  for (n = 0; n < rows; ++n) {
    for (t = 0; t < steps; ++t) tokens[n * steps + t] = 1 + (5 * n + 7 * t) % (vocabulary - 1);
  }
  return tokens;
}

/* Ends a program: its status, and a line that says how many checks there were. 77, if the machine lacks LSTMCORE_ISA.
 */
static inline int check_end(void) {
  printf("%d checks passed, %d failed\n", check_passes, check_failures);
  return check_failures == 0 && check_passes > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* CTest's SKIP_RETURN_CODE, for a machine that does not run the instruction set LSTMCORE_ISA. */
#define CHECK_MACHINE()                       \
  do {                                        \
    if (lstmcore_instruction_set() == NULL) { \
      printf("%s\n", lstmcore_last_error());  \
      return 77;                              \
    }                                         \
  } while (0)

#endif
