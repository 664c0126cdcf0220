/*
 * Runs a model step by step: reads a line of numbers for each step, and prints the model's output after it.
 *
 *   cmake -S . -B build -DCMAKE_PREFIX_PATH=<where lstmcore is installed> && cmake --build build
 *   build/step model.safetensors inputs.txt
 *
 * or with pkg-config, as docs/c.md says. "-" as the second argument reads the standard input, so that a sensor or
 * another program can write the steps.
 */
#include <lstmcore/lstmcore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads the inputs of one step; returns 0 at the end of the file. */
static int read_step(FILE* inputs, float* x, size_t count) {
  size_t c;
  for (c = 0; c < count; ++c) {
    if (fscanf(inputs, "%f", &x[c]) == 1) continue;
    if (c > 0 || !feof(inputs)) fprintf(stderr, "expected %lu numbers a step\n", (unsigned long)count);
    return 0;
  }
  return 1;
}

static int run(const lstmcore_model* model, FILE* inputs) {
  lstmcore_stream* stream = NULL;
  lstmcore_model_info info;
  float *x, *y;
  size_t inputs_of_a_step, outputs, u;
  int failed = 1;
  info.struct_size = sizeof(info);
  if (lstmcore_model_get_info(model, &info) != LSTMCORE_OK) return 1;
  if (lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream) != LSTMCORE_OK) return 1;
  inputs_of_a_step = (size_t)info.input_size;
  outputs = (size_t)info.output_size;
  x = malloc((inputs_of_a_step + outputs) * sizeof(float));
  if (x != NULL && inputs_of_a_step > 0) { /* 0: the model takes tokens, by lstmcore_stream_step_tokens */
    failed = 0;
    y = x + inputs_of_a_step;
    while (!failed && read_step(inputs, x, inputs_of_a_step)) {
      failed = lstmcore_stream_step(stream, x, inputs_of_a_step, y, outputs) != LSTMCORE_OK;
      for (u = 0; !failed && u < outputs; ++u) printf("%.9g%c", (double)y[u], u + 1 < outputs ? ' ' : '\n');
      fflush(stdout);
    }
  }
  free(x);
  lstmcore_stream_free(stream);
  return failed;
}

int main(int argc, char** argv) {
  lstmcore_model* model = NULL;
  FILE* inputs;
  int failed = 1;
  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL.safetensors INPUTS\n", argv[0]);
    return 2;
  }
  inputs = strcmp(argv[2], "-") == 0 ? stdin : fopen(argv[2], "r");
  if (inputs == NULL) {
    perror(argv[2]);
    return 1;
  }
  if (lstmcore_model_load(argv[1], &model) == LSTMCORE_OK) failed = run(model, inputs);
  if (failed) fprintf(stderr, "%s\n", lstmcore_last_error());
  lstmcore_model_free(model);
  fclose(inputs);
  return failed;
}
