/*
 * Everything that a caller can get wrong: the status, and a text that says what was expected and what came.
 *
 * Usage: test_errors GOLDEN, the folder of the files that Python wrote.
 */
#include "check.h"

enum { argument = LSTMCORE_ERROR_ARGUMENT, size = LSTMCORE_ERROR_SIZE, unsupported = LSTMCORE_ERROR_UNSUPPORTED };

static void test_names_of_statuses(void) {
  CHECK(strcmp(lstmcore_status_name(LSTMCORE_OK), "LSTMCORE_OK") == 0);
  CHECK(strcmp(lstmcore_status_name(LSTMCORE_ERROR_INTERNAL), "LSTMCORE_ERROR_INTERNAL") == 0);
  CHECK(strcmp(lstmcore_status_name(8), "unknown status") == 0);
  CHECK(strcmp(lstmcore_status_name(-1), "unknown status") == 0);
}

static void test_files(const char* golden) {
  lstmcore_model* model = NULL;
  char* path = check_path(golden, "no such file, größe");
  CHECK_ERROR(lstmcore_model_load(path, &model), LSTMCORE_ERROR_FILE, "größe: cannot be read");
  free(path);
  CHECK_ERROR(lstmcore_model_load("", &model), LSTMCORE_ERROR_FILE, "an empty path: cannot be read");
#ifndef _WIN32 /* where paths are UTF-16, to which such bytes have no translation */
  CHECK_ERROR(lstmcore_model_load("no such \xFF\xC3 file", &model), LSTMCORE_ERROR_FILE,
              "no such \xEF\xBF\xBD\xEF\xBF\xBD file: cannot be read");
#endif
  path = check_path(golden, "make_model_files.py");
  CHECK_ERROR(lstmcore_model_load(path, &model), LSTMCORE_ERROR_FILE, "not a safetensors file");
  free(path);
  path = check_path(golden, "additive_model.safetensors");
  CHECK_ERROR(lstmcore_model_load(path, &model), unsupported,
              "additive_model.safetensors: holds float64, expected float32");
  free(path);
  CHECK_ERROR(lstmcore_model_load_memory("LSTMCORE", 8, &model), LSTMCORE_ERROR_FILE,
              "model in memory: not a safetensors");
  CHECK_ERROR(lstmcore_model_load_memory("LSTM", 4, &model), LSTMCORE_ERROR_FILE, "expected at least 8 bytes, got 4");
  CHECK_ERROR(lstmcore_model_load_memory(NULL, 0, &model), LSTMCORE_ERROR_FILE, "expected at least 8 bytes, got 0");
  CHECK_ERROR(lstmcore_model_load_memory(NULL, 8, &model), argument, "bytes: expected a pointer, got NULL");
  CHECK_ERROR(lstmcore_model_load(NULL, &model), argument, "path: expected a pointer, got NULL");
  CHECK_ERROR(lstmcore_model_load("any", NULL), argument, "model: expected a pointer, got NULL");
  CHECK(model == NULL);
}

/* Every handle and every pointer to a result. Freeing NULL does nothing. */
static void test_null(lstmcore_model* model, lstmcore_stream* stream) {
  lstmcore_model_info info;
  lstmcore_layer_info layer;
  lstmcore_stream* made = NULL;
  float x[2] = {0, 0}, y[1] = {0}, state[14];
  int64_t tokens[1] = {1}, steps = 0;
  memset(&info, 0, sizeof(info));
  memset(&layer, 0, sizeof(layer));
  CHECK_ERROR(lstmcore_model_get_info(NULL, &info), argument, "model: expected a pointer, got NULL");
  CHECK_ERROR(lstmcore_model_get_info(model, NULL), argument, "info: expected a pointer, got NULL");
  CHECK_ERROR(lstmcore_model_get_layer(NULL, 0, &layer), argument, "model: ");
  CHECK_ERROR(lstmcore_model_get_layer(model, 0, NULL), argument, "info: ");
  CHECK_ERROR(lstmcore_model_output_steps(NULL, 1, &steps), argument, "model: ");
  CHECK_ERROR(lstmcore_model_output_steps(model, 1, NULL), argument, "output_steps: ");
  CHECK_ERROR(lstmcore_model_forward(NULL, 1, 1, NULL, x, 2, y, 1), argument, "model: ");
  CHECK_ERROR(lstmcore_model_forward(model, 1, 1, NULL, NULL, 2, y, 1), argument, "x: ");
  CHECK_ERROR(lstmcore_model_forward(model, 1, 1, NULL, x, 2, NULL, 1), argument, "y: ");
  CHECK_ERROR(lstmcore_model_forward_tokens(NULL, 1, 1, NULL, tokens, 1, y, 1), argument, "model: ");
  CHECK_ERROR(lstmcore_stream_create(NULL, 1, 0, &made), argument, "model: ");
  CHECK_ERROR(lstmcore_stream_create(model, 1, 0, NULL), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_step(NULL, x, 2, y, 1), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_step(stream, NULL, 2, y, 1), argument, "x: ");
  CHECK_ERROR(lstmcore_stream_step(stream, x, 2, NULL, 1), argument, "y: ");
  CHECK_ERROR(lstmcore_stream_step_tokens(NULL, tokens, 1, y, 1), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_reset(NULL), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_reset_row(NULL, 0), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_get_state(NULL, 0, 1, state, 14), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_get_state(stream, 0, 1, NULL, 14), argument, "state: ");
  CHECK_ERROR(lstmcore_stream_set_state(NULL, 0, 1, state, 14), argument, "stream: ");
  CHECK_ERROR(lstmcore_stream_set_state(stream, 0, 1, NULL, 14), argument, "state: ");
  CHECK(lstmcore_stream_rows(NULL) == 0);
  CHECK(made == NULL);
  lstmcore_model_free(NULL);
  lstmcore_stream_free(NULL);
}

static void test_sizes(lstmcore_model* model, lstmcore_stream* stream) {
  lstmcore_model_info info;
  lstmcore_layer_info layer;
  float x[64], y[8] = {9, 9, 9, 9, 9, 9, 9, 9}, state[64];
  memset(x, 0, sizeof(x));
  memset(state, 0, sizeof(state));
  memset(&info, 0, sizeof(info));
  memset(&layer, 0, sizeof(layer));
  CHECK_ERROR(lstmcore_model_get_info(model, &info), size, "info: expected struct_size to be at least");
  info.struct_size = sizeof(info) - 1;
  CHECK_ERROR(lstmcore_model_get_info(model, &info), size, "info: ");
  CHECK(info.output_size == 0);
  layer.struct_size = sizeof(layer) - 1;
  CHECK_ERROR(lstmcore_model_get_layer(model, 0, &layer), size, "info: ");
  layer.struct_size = (size_t)-1; /* not initialized */
  CHECK_ERROR(lstmcore_model_get_layer(model, 0, &layer), size, "and at most 4096, got");
  CHECK_ERROR(lstmcore_model_forward(model, 2, 3, NULL, x, 11, y, 2), size,
              "x: expected 12 elements, rows x steps x input_size, got 11");
  CHECK_ERROR(lstmcore_model_forward(model, 2, 3, NULL, x, 13, y, 2), size, "x: expected 12 elements");
  CHECK_ERROR(lstmcore_model_forward(model, 2, 3, NULL, x, 12, y, 1), size,
              "y: expected 2 elements, rows x output_size, got 1");
  CHECK_ERROR(lstmcore_model_forward(model, 2, 3, NULL, x, 12, y, 3), size, "y: expected 2 elements");
  CHECK_ERROR(lstmcore_stream_step(stream, x, 1, y, 1), size, "x: expected 2 elements, rows x input_size, got 1");
  CHECK_ERROR(lstmcore_stream_step(stream, x, 3, y, 1), size, "x: expected 2 elements");
  CHECK_ERROR(lstmcore_stream_step(stream, x, 2, y, 0), size, "y: expected 1 elements, rows x output_size, got 0");
  CHECK_ERROR(lstmcore_stream_step(stream, x, 2, y, 2), size, "y: expected 1 elements");
  CHECK_ERROR(lstmcore_stream_get_state(stream, 0, 1, state, 13), size,
              "state: expected 14 elements, count x state_size, got 13");
  CHECK_ERROR(lstmcore_stream_set_state(stream, 0, 1, state, 15), size, "state: expected 14 elements");
  CHECK(y[0] == 9);
}

static void test_ranges(lstmcore_model* model, lstmcore_stream* stream) {
  const int64_t too_long[2] = {3, 4}, negative[2] = {-1, 3};
  lstmcore_layer_info layer;
  lstmcore_stream* made = NULL;
  float x[12], y[2] = {9, 9}, state[14];
  int64_t steps = 0;
  memset(x, 0, sizeof(x));
  layer.struct_size = sizeof(layer);
  CHECK_ERROR(lstmcore_model_get_layer(model, 3, &layer), argument, "index: expected 0 to 2, got 3");
  CHECK_ERROR(lstmcore_model_get_layer(model, -1, &layer), argument, "index: expected 0 to 2, got -1");
  CHECK_ERROR(lstmcore_model_output_steps(model, -1, &steps), argument, "steps: expected at least 0, got -1");
  CHECK_ERROR(lstmcore_model_forward(model, -1, 3, NULL, x, 12, y, 2), argument, "rows: expected at least 0, got -1");
  CHECK_ERROR(lstmcore_model_forward(model, 2, -3, NULL, x, 12, y, 2), argument, "steps: expected at least 0, got -3");
  CHECK_ERROR(lstmcore_model_forward(model, 2, 3, too_long, x, 12, y, 2), argument,
              "lengths: expected values from 0 to 3 (the time steps), got 4 at position 1");
  CHECK_ERROR(lstmcore_model_forward(model, 2, 3, negative, x, 12, y, 2), argument, "got -1 at position 0");
  CHECK_ERROR(lstmcore_stream_create(model, 0, 0, &made), argument, "rows: expected at least 1, got 0");
  CHECK_ERROR(lstmcore_stream_create(model, 1, 2, &made), argument,
              "threads: expected LSTMCORE_ONE_THREAD or LSTMCORE_MANY_THREADS, got 2");
  CHECK_ERROR(lstmcore_stream_create(model, 1, -1, &made), argument, "threads: ");
  CHECK_ERROR(lstmcore_stream_reset_row(stream, 1), argument, "row: expected 0 to 0, got 1");
  CHECK_ERROR(lstmcore_stream_reset_row(stream, -1), argument, "row: expected 0 to 0, got -1");
  CHECK_ERROR(lstmcore_stream_get_state(stream, 2, 0, state, 0), argument, "first: expected 0 to 1, got 2");
  CHECK_ERROR(lstmcore_stream_get_state(stream, 1, 1, state, 14), argument, "count: expected 0 to 0, got 1");
  CHECK_ERROR(lstmcore_stream_set_state(stream, 0, 2, state, 28), argument, "count: expected 0 to 1, got 2");
  CHECK_ERROR(lstmcore_stream_set_state(stream, -1, 1, state, 14), argument, "first: ");
  CHECK_ERROR(lstmcore_set_num_threads(0), argument, "count: expected 1 to 1024 threads, got 0");
  CHECK_ERROR(lstmcore_set_num_threads(1025), argument, "got 1025");
  CHECK(made == NULL && y[0] == 9);
}

/* Sizes that no memory has are refused at once. */
static void test_memory(lstmcore_model* model) {
  lstmcore_stream* made = NULL;
  float x[1] = {0}, y[1] = {0};
  CHECK_ERROR(lstmcore_stream_create(model, INT64_MAX, 0, &made), LSTMCORE_ERROR_MEMORY, "out of memory");
  CHECK_ERROR(lstmcore_model_forward(model, INT64_MAX / 2, 3, NULL, x, 1, y, 1), LSTMCORE_ERROR_MEMORY,
              "address space");
  CHECK_ERROR(lstmcore_model_forward(model, 1, INT64_MAX, NULL, x, 1, y, 1), LSTMCORE_ERROR_MEMORY, "address space");
  CHECK(made == NULL);
}

static void test_tokens(const char* golden) {
  lstmcore_model* const model = check_load(golden, "tokens_model.safetensors"); /* pools; 0 is padding */
  lstmcore_model* const steps = check_load(golden, "steps_model.safetensors");
  const int64_t vocabulary = check_info(model).vocabulary_size;
  lstmcore_stream* stream = NULL;
  int64_t tokens[3] = {1, 0, 2};
  float x[3] = {0, 0, 0}, y[2] = {9, 9};
  CHECK_ERROR(lstmcore_model_forward_tokens(model, 1, 3, NULL, tokens, 3, y, 2), argument,
              "row 0 has token 2 at step 2 after it");
  tokens[1] = vocabulary;
  CHECK_ERROR(lstmcore_model_forward_tokens(model, 1, 3, NULL, tokens, 3, y, 2), argument,
              "tokens: expected 0 to 6, got 7 at row 0, step 1");
  tokens[1] = -1;
  CHECK_ERROR(lstmcore_model_forward_tokens(model, 1, 3, NULL, tokens, 3, y, 2), argument, "got -1 at row 0, step 1");
  CHECK_ERROR(lstmcore_model_forward_tokens(model, 1, 3, NULL, tokens, 2, y, 2), size,
              "tokens: expected 3 elements, rows x steps, got 2");
  CHECK_ERROR(lstmcore_model_forward_tokens(model, 1, 3, NULL, NULL, 3, y, 2), argument, "tokens: expected a pointer");
  CHECK_ERROR(lstmcore_model_forward(model, 1, 3, NULL, x, 3, y, 2), unsupported, "call lstmcore_model_forward_tokens");
  CHECK_ERROR(lstmcore_stream_create(model, 1, 0, &stream), unsupported,
              "layer \"conv1d\" needs later steps, or all of them, for an output");
  CHECK_OK(lstmcore_stream_create(steps, 1, 0, &stream));
  CHECK_ERROR(lstmcore_stream_step(stream, x, 1, y, 2), unsupported, "call lstmcore_stream_step_tokens");
  tokens[0] = 9;
  CHECK_ERROR(lstmcore_stream_step_tokens(stream, tokens, 1, y, 2), argument,
              "tokens: expected 0 to 8, got 9 at row 0");
  CHECK_ERROR(lstmcore_stream_step_tokens(stream, tokens, 2, y, 2), size, "tokens: expected 1 elements");
  CHECK_ERROR(lstmcore_stream_step_tokens(stream, NULL, 1, y, 2), argument, "tokens: expected a pointer");
  CHECK(y[0] == 9 && y[1] == 9);
  lstmcore_stream_free(stream);
  lstmcore_model_free(steps);
  lstmcore_model_free(model);
}

static void test_features_where_tokens_are_expected(lstmcore_model* model, lstmcore_stream* stream) {
  const int64_t tokens[1] = {1};
  float y[1] = {0};
  CHECK_ERROR(lstmcore_model_forward_tokens(model, 1, 1, NULL, tokens, 1, y, 1), unsupported,
              "call lstmcore_model_forward");
  CHECK_ERROR(lstmcore_stream_step_tokens(stream, tokens, 1, y, 1), unsupported, "call lstmcore_stream_step");
}

static void test_too_few_steps(const char* golden) {
  lstmcore_model* const model = check_load(golden, "sides_model.safetensors"); /* with windows of two steps */
  const lstmcore_model_info info = check_info(model);
  const int64_t length = 1;
  int64_t output_steps = -1;
  float x[16], y[8];
  memset(x, 0, sizeof(x));
  CHECK_ERROR(lstmcore_model_forward(model, 1, 1, NULL, x, (size_t)info.input_size, y, (size_t)info.output_size),
              argument, "steps: layer \"max_pooling1d\" expected at least 2 time steps, which one window takes, got 1");
  /* A row that its length makes too short has no output steps, of which the number is the same. */
  CHECK_OK(lstmcore_model_output_steps(model, 1, &output_steps));
  CHECK_OK(lstmcore_model_forward(model, 1, 1, &length, x, (size_t)info.input_size, y,
                                  (size_t)(output_steps * info.output_size)));
  lstmcore_model_free(model);
}

/* A stream goes on after an error as if there had been none, and a success leaves the last text. */
static void test_errors_change_nothing(lstmcore_model* model) {
  lstmcore_stream *stream = NULL, *other = NULL;
  float x[2] = {1, -1}, y[1], expected[1];
  CHECK_OK(lstmcore_stream_create(model, 1, 0, &stream));
  CHECK_OK(lstmcore_stream_create(model, 1, 0, &other));
  CHECK_OK(lstmcore_stream_step(stream, x, 2, y, 1));
  CHECK_OK(lstmcore_stream_step(other, x, 2, expected, 1));
  CHECK_ERROR(lstmcore_stream_step(stream, x, 1, y, 1), size, "x: expected 2 elements");
  CHECK_OK(lstmcore_stream_step(stream, x, 2, y, 1));
  CHECK_OK(lstmcore_stream_step(other, x, 2, expected, 1));
  CHECK(y[0] == expected[0]);
  CHECK(strstr(lstmcore_last_error(), "x: expected 2 elements") != NULL);
  lstmcore_stream_free(other);
  lstmcore_stream_free(stream);
}

/* A text that is too long loses whole characters in its middle: the path comes first, and what is wrong last. */
static void test_long_texts(void) {
  enum { letters = 2000 };
  lstmcore_model* model = NULL;
  char path[2 * letters + 1];
  size_t length;
  int k;
  for (k = 0; k < letters; ++k) memcpy(path + 2 * k, "\xC3\xB6", 2); /* an o with two dots */
  path[2 * letters] = '\0';
  CHECK(lstmcore_model_load(path, &model) == LSTMCORE_ERROR_FILE);
  length = strlen(lstmcore_last_error());
  CHECK(length > 1000 && length < 1024);
  CHECK(memcmp(lstmcore_last_error(), "\xC3\xB6", 2) == 0);
  CHECK(strstr(lstmcore_last_error(), "\xC3\xB6...\xC3\xB6") != NULL);
  CHECK(strstr(lstmcore_last_error(), "\xC3\xB6: cannot be read") != NULL);
}

int main(int argc, char** argv) {
  lstmcore_model* model;
  lstmcore_stream* stream = NULL;
  if (argc != 2) return 2;
  CHECK_MACHINE();
  CHECK(strcmp(lstmcore_last_error(), "") == 0);
  model = check_load(argv[1], "stream_model.safetensors");
  CHECK_OK(lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream));
  test_names_of_statuses();
  test_files(argv[1]);
  test_null(model, stream);
  test_sizes(model, stream);
  test_ranges(model, stream);
  test_memory(model);
  test_tokens(argv[1]);
  test_features_where_tokens_are_expected(model, stream);
  test_too_few_steps(argv[1]);
  test_errors_change_nothing(model);
  test_long_texts();
  lstmcore_stream_free(stream);
  lstmcore_model_free(model);
  return check_end();
}
