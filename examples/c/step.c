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
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text file, line by line; errors name the line. */
typedef struct {
  FILE* file;
  const char* name;
  unsigned long number; /* of the line */
  char* text;           /* of the line, without its end */
  size_t size, capacity;
} lines;

enum { FAILED = -1, AT_END = 0, FOUND = 1 };

static int next_line(lines* from) {
  int c;
  ++from->number;
  from->size = 0;
  while ((c = getc(from->file)) != EOF && c != '\n') {
    if (from->size + 1 >= from->capacity) {
      const size_t capacity = 2 * from->capacity + 128;
      char* const text = realloc(from->text, capacity);
      if (text == NULL) {
        perror(from->name);
        return FAILED;
      }
      from->text = text;
      from->capacity = capacity;
    }
    from->text[from->size++] = (char)c;
  }
  if (ferror(from->file)) {
    perror(from->name);
    return FAILED;
  }
  if (c == EOF && from->size == 0) return AT_END;
  if (from->size > 0) from->text[from->size] = '\0';
  return FOUND;
}

/* Reads the inputs of one step. */
static int read_step(lines* from, float* x, size_t count) {
  static const char spaces[] = " \t\r\v\f";
  size_t came = 0;
  const char* at;
  const int found = next_line(from);
  if (found != FOUND) return found;
  at = from->text;
  while (from->size > 0) {
    char* end;
    float value;
    at += strspn(at, spaces);
    if (at == from->text + from->size) break;
    value = strtof(at, &end);
    /* What is not finite would stay in the state for ever. */
    if (end == at || strchr(spaces, *end) == NULL || !isfinite(value)) {
      fprintf(stderr, "%s, line %lu: expected finite numbers, got \"%.40s\"\n", from->name, from->number, at);
      return FAILED;
    }
    if (came < count) x[came] = value;
    ++came;
    at = end;
  }
  if (came == count) return FOUND;
  fprintf(stderr, "%s, line %lu: expected %lu numbers, got %lu\n", from->name, from->number, (unsigned long)count,
          (unsigned long)came);
  return FAILED;
}

static int check(lstmcore_status status) {
  if (status != LSTMCORE_OK) fprintf(stderr, "%s\n", lstmcore_last_error());
  return status == LSTMCORE_OK;
}

/* Returns whether all lines were read, and their outputs written. */
static int run_steps(lstmcore_stream* stream, lines* from, float* x, size_t inputs, float* y, size_t outputs) {
  int found;
  while ((found = read_step(from, x, inputs)) == FOUND) {
    size_t u;
    if (!check(lstmcore_stream_step(stream, x, inputs, y, outputs))) return 0;
    for (u = 0; u < outputs; ++u) printf("%.9g%c", (double)y[u], u + 1 < outputs ? ' ' : '\n');
    if (fflush(stdout) != 0) {
      perror("the output");
      return 0;
    }
  }
  return found == AT_END;
}

static int run(const char* path, const lstmcore_model* model, lines* from) {
  lstmcore_stream* stream = NULL;
  lstmcore_model_info info;
  size_t inputs, outputs;
  float* x;
  int done = 0;
  info.struct_size = sizeof(info);
  if (!check(lstmcore_model_get_info(model, &info))) return 0;
  if (info.input_size == 0) {
    fprintf(stderr, "%s: the model takes tokens, by lstmcore_stream_step_tokens, and not numbers\n", path);
    return 0;
  }
  inputs = (size_t)info.input_size;
  outputs = (size_t)info.output_size;
  if (!check(lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream))) return 0;
  x = malloc((inputs + outputs) * sizeof(float));
  if (x == NULL) {
    perror(path);
  } else {
    done = run_steps(stream, from, x, inputs, x + inputs, outputs);
  }
  free(x);
  lstmcore_stream_free(stream);
  return done;
}

int main(int argc, char** argv) {
  lstmcore_model* model = NULL;
  lines from = {NULL, NULL, 0, NULL, 0, 0};
  int done;
  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL.safetensors INPUTS\n", argv[0]);
    return 2;
  }
  from.name = argv[2];
  from.file = strcmp(argv[2], "-") == 0 ? stdin : fopen(argv[2], "r");
  if (from.file == NULL) {
    perror(argv[2]);
    return EXIT_FAILURE;
  }
  done = check(lstmcore_model_load(argv[1], &model)) && run(argv[1], model, &from);
  lstmcore_model_free(model);
  free(from.text);
  fclose(from.file);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
