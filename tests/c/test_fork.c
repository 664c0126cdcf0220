/*
 * A child process computes what its parent does, although the threads of the parent's calls are not in it.
 *
 * Usage: test_fork GOLDEN, the folder of the files that Python wrote.
 */
#define _POSIX_C_SOURCE 200809L
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { rows = 3000, steps = 30 }; /* enough for several threads */

/* The outputs (rows) of sequences, and after them those (rows) of each step of a stream that is there already. */
static int compute(const lstmcore_model* model, lstmcore_stream* stream, const float* x, float* y) {
  int64_t n, t;
  float step[rows * 2];
  if (lstmcore_model_forward(model, rows, steps, NULL, x, (size_t)rows * steps * 2, y, rows)) return 0;
  for (t = 0; t < steps; ++t) {
    for (n = 0; n < rows; ++n) memcpy(step + 2 * n, x + (n * steps + t) * 2, 2 * sizeof(float));
    y += rows;
    if (lstmcore_stream_step(stream, step, (size_t)rows * 2, y, rows)) return 0;
  }
  return 1;
}

int main(int argc, char** argv) {
  lstmcore_model* model;
  lstmcore_stream* stream = NULL;
  const size_t outputs = (size_t)rows * (steps + 1);
  float *x, *y, *again;
  pid_t child;
  int round, status = -1;
  if (argc != 2) return 2;
  CHECK_MACHINE();
  CHECK_OK(lstmcore_set_num_threads(3));
  model = check_load(argv[1], "stream_model.safetensors");
  CHECK_OK(lstmcore_stream_create(model, rows, LSTMCORE_MANY_THREADS, &stream));
  x = check_inputs(rows, steps, 2);
  y = check_floats((int64_t)outputs);
  again = check_floats((int64_t)outputs);
  CHECK(compute(model, stream, x, y));
  lstmcore_stream_reset(stream);
  child = fork();
  if (child == 0) alarm(120);           /* rather than to wait for ever for threads that are not there */
  for (round = 0; round < 2; ++round) { /* in both processes, at the same time */
    memset(again, 0, outputs * sizeof(float));
    CHECK(compute(model, stream, x, again));
    CHECK(memcmp(again, y, outputs * sizeof(float)) == 0);
    lstmcore_stream_reset(stream);
  }
  CHECK(lstmcore_get_num_threads() == 3);
  lstmcore_stream_free(stream);
  lstmcore_model_free(model);
  free(again);
  free(y);
  free(x);
  if (child == 0) _exit(check_failures == 0 ? 0 : 1);
  CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  return check_end();
}
