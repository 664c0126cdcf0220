/*
 * One model, many threads: streams and whole sequences at the same time, and an error text for each thread.
 *
 * Usage: test_threads GOLDEN, the folder of the files that Python wrote.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#include "check.h"

enum { threads = 8, steps = 200, rows = 2 };

typedef struct {
  const lstmcore_model* model;
  int number;
  int failures; /* the CHECK macros are not for several threads */
  float last;
} worker;

static void fail_if(worker* own, int failed) { own->failures += failed != 0; }

/* Every thread has its own stream and input, calls forward now and then, and makes errors of its own. */
static void* work(void* data) {
  worker* const own = (worker*)data;
  lstmcore_stream* stream = NULL;
  int t;
  fail_if(own, strcmp(lstmcore_last_error(), "") != 0);
  fail_if(own, lstmcore_stream_create(own->model, 1, own->number % 2, &stream) != LSTMCORE_OK);
  for (t = 0; t < steps; ++t) {
    char expected[64];
    const float x[2] = {check_input(own->number, t, 0), check_input(own->number, t, 1)};
    float y[rows];
    fail_if(own, lstmcore_stream_step(stream, x, 2, &own->last, 1) != LSTMCORE_OK);
    fail_if(own, lstmcore_model_forward(own->model, 1, 1, NULL, x, 2, y, 1) != LSTMCORE_OK);
    fail_if(own, lstmcore_stream_step(stream, x, (size_t)own->number + 10, y, 1) != LSTMCORE_ERROR_SIZE);
    snprintf(expected, sizeof(expected), "got %d", own->number + 10);
    fail_if(own, strstr(lstmcore_last_error(), expected) == NULL);
  }
  lstmcore_stream_free(stream);
  return NULL;
}

/* The last output of the same steps, on this thread. */
static float expected_last(const lstmcore_model* model, int number) {
  lstmcore_stream* stream = NULL;
  float y = 0;
  int t;
  CHECK_OK(lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream));
  for (t = 0; t < steps; ++t) {
    const float x[2] = {check_input(number, t, 0), check_input(number, t, 1)};
    CHECK_OK(lstmcore_stream_step(stream, x, 2, &y, 1));
  }
  lstmcore_stream_free(stream);
  return y;
}

int main(int argc, char** argv) {
  lstmcore_model* model;
  pthread_t handles[threads];
  worker workers[threads];
  int k;
  if (argc != 2) return 2;
  CHECK_MACHINE();
  model = check_load(argv[1], "stream_model.safetensors");
  for (k = 0; k < threads; ++k) {
    workers[k].model = model;
    workers[k].number = k;
    workers[k].failures = 0;
    CHECK(pthread_create(&handles[k], NULL, work, &workers[k]) == 0);
  }
  for (k = 0; k < threads; ++k) {
    CHECK(pthread_join(handles[k], NULL) == 0);
    CHECK(workers[k].failures == 0);
    CHECK(workers[k].last == expected_last(model, k));
  }
  CHECK(strcmp(lstmcore_last_error(), "") == 0);
  lstmcore_model_free(model);
  return check_end();
}
