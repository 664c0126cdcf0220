/*
 * Models on whole sequences: what they say about themselves, and the numbers that Python predicted.
 *
 * Usage: test_models GOLDEN MADE, the folders of the files that Python wrote and that make_model wrote.
 */
#include "check.h"

enum { most_rows = 8, most_values = 4096 };

/* One entry of predictions.txt. */
typedef struct {
  char file[64];
  int rows, steps, output_steps, outputs;
  int64_t lengths[most_rows];
  float values[most_values];
} prediction;

static void require_read(int good, const char* what) {
  if (good) return;
  fprintf(stderr, "predictions: cannot read %s\n", what);
  exit(EXIT_FAILURE);
}

/* Reads the next entry; returns 0 at the end of the file. */
static int read_prediction(FILE* text, prediction* entry) {
  int n, k, count;
  if (fscanf(text, "%63s", entry->file) != 1) return 0;
  require_read(fscanf(text, "%d %d", &entry->rows, &entry->steps) == 2 && entry->rows <= most_rows, entry->file);
  for (n = 0; n < entry->rows; ++n) {
    int length;
    require_read(fscanf(text, "%d", &length) == 1, "a length");
    entry->lengths[n] = length;
  }
  require_read(fscanf(text, "%d %d", &entry->output_steps, &entry->outputs) == 2, "the shape");
  count = entry->rows * entry->output_steps * entry->outputs;
  require_read(count <= most_values, "so many values");
  for (k = 0; k < count; ++k) require_read(fscanf(text, "%f", &entry->values[k]) == 1, "a value");
  return 1;
}

/* The largest difference between numbers; infinite if one is NaN. */
static double difference(const float* a, const float* b, int64_t count) {
  double worst = 0;
  int64_t k;
  for (k = 0; k < count; ++k) {
    const double d = fabs((double)a[k] - (double)b[k]);
    if (!(d <= worst)) worst = d <= HUGE_VAL ? d : HUGE_VAL;
  }
  return worst;
}

/* Runs a model on the entry's input; y is the caller's to free. */
static float* run(const lstmcore_model* model, const prediction* entry) {
  const lstmcore_model_info info = check_info(model);
  const int64_t rows = entry->rows, steps = entry->steps;
  const size_t y_size = (size_t)(rows * entry->output_steps * entry->outputs);
  float* const y = check_floats((int64_t)y_size);
  int64_t output_steps = -1, n;
  CHECK_OK(lstmcore_model_output_steps(model, steps, &output_steps));
  CHECK(output_steps == entry->output_steps && info.output_size == entry->outputs);
  if (info.vocabulary_size > 0) {
    int64_t* const tokens = check_tokens(rows, steps, info.vocabulary_size);
    for (n = 0; n < rows; ++n) { /* padding, which is ignored, whether it is in the vocabulary or not */
      int64_t t;
      for (t = entry->lengths[n]; t < steps; ++t) tokens[n * steps + t] = n % 2 == 0 ? 0 : -7;
    }
    CHECK_OK(
        lstmcore_model_forward_tokens(model, rows, steps, entry->lengths, tokens, (size_t)(rows * steps), y, y_size));
    free(tokens);
  } else {
    float* const x = check_inputs(rows, steps, info.input_size);
    for (n = 0; n < rows; ++n) {
      int64_t k;
      for (k = entry->lengths[n] * info.input_size; k < steps * info.input_size; ++k) {
        x[n * steps * info.input_size + k] = (float)NAN;
      }
    }
    CHECK_OK(lstmcore_model_forward(model, rows, steps, entry->lengths, x, (size_t)(rows * steps * info.input_size), y,
                                    y_size));
    free(x);
  }
  return y;
}

/* The bytes of a file, in memory that the caller frees. */
static void* read_file(const char* path, size_t* size) {
  FILE* const file = fopen(path, "rb");
  char* bytes;
  long end;
  require_read(file != NULL && fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0, path);
  rewind(file);
  bytes = (char*)check_memory((size_t)end);
  *size = fread(bytes, 1, (size_t)end, file);
  require_read(*size == (size_t)end, path);
  fclose(file);
  return bytes;
}

/* The same numbers from a file and from memory, up to the rounding of another instruction set than Python had. */
static void check_prediction(const char* folder, const prediction* entry) {
  const int64_t count = (int64_t)entry->rows * entry->output_steps * entry->outputs;
  lstmcore_model *model = check_load(folder, entry->file), *copy = NULL;
  char* const path = check_path(folder, entry->file);
  size_t size = 0;
  void* const bytes = read_file(path, &size);
  float *y, *same;
  CHECK_OK(lstmcore_model_load_memory(bytes, size, &copy));
  memset(bytes, 0, size); /* it is not needed any more */
  free(bytes);
  y = run(model, entry);
  lstmcore_model_free(model);
  same = run(copy, entry);
  lstmcore_model_free(copy);
  CHECK(difference(y, entry->values, count) <= 2e-5);
  CHECK(memcmp(y, same, (size_t)count * sizeof(float)) == 0);
  if (difference(y, entry->values, count) > 2e-5) {
    fprintf(stderr, "%s: %g\n", entry->file, difference(y, entry->values, count));
  }
  free(same);
  free(y);
  free(path);
}

static void check_predictions(const char* folder) {
  char* const path = check_path(folder, "predictions.txt");
  FILE* const text = fopen(path, "r");
  prediction entry;
  int entries = 0;
  require_read(text != NULL, path);
  for (; read_prediction(text, &entry); ++entries) check_prediction(folder, &entry);
  fclose(text);
  free(path);
  printf("%s: %d models\n", folder, entries);
  CHECK(entries > 0);
}

/* Rows alone, and all steps valid without lengths, have the same bits as the whole batch. */
static void test_rows_alone(const char* golden) {
  lstmcore_model* const model = check_load(golden, "features_model.safetensors");
  const lstmcore_model_info info = check_info(model);
  const int64_t rows = 5, steps = 6, width = info.input_size, outputs = info.output_size;
  const int64_t full[5] = {6, 6, 6, 6, 6};
  float* const x = check_inputs(rows, steps, width);
  float *const y = check_floats(rows * outputs), *const with_lengths = check_floats(rows * outputs);
  int64_t n;
  CHECK_OK(
      lstmcore_model_forward(model, rows, steps, NULL, x, (size_t)(rows * steps * width), y, (size_t)(rows * outputs)));
  CHECK_OK(lstmcore_model_forward(model, rows, steps, full, x, (size_t)(rows * steps * width), with_lengths,
                                  (size_t)(rows * outputs)));
  CHECK(memcmp(y, with_lengths, (size_t)(rows * outputs) * sizeof(float)) == 0);
  for (n = 0; n < rows; ++n) {
    float alone[8];
    CHECK_OK(lstmcore_model_forward(model, 1, steps, NULL, x + n * steps * width, (size_t)(steps * width), alone,
                                    (size_t)outputs));
    CHECK(memcmp(alone, y + n * outputs, (size_t)outputs * sizeof(float)) == 0);
  }
  free(with_lengths);
  free(y);
  free(x);
  lstmcore_model_free(model);
}

static void test_descriptions(const char* golden) {
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  const lstmcore_model_info info = check_info(model);
  const char* const names[3] = {"lstm", "lstm_1", "dense"};
  const char* const classes[3] = {"LSTM", "LSTM", "Dense"};
  const int64_t widths[4] = {2, 4, 3, 1};
  int64_t k;
  CHECK(info.input_size == 2 && info.vocabulary_size == 0 && info.output_size == 1 && info.layer_count == 3);
  CHECK(info.state_size == 2 * (4 + 3) && info.output_has_steps == 0 && info.can_stream == 1);
  for (k = 0; k < 3; ++k) {
    lstmcore_layer_info layer;
    layer.struct_size = sizeof(layer);
    CHECK_OK(lstmcore_model_get_layer(model, k, &layer));
    CHECK(strcmp(layer.name, names[k]) == 0 && strcmp(layer.class_name, classes[k]) == 0);
    CHECK(layer.input_size == widths[k] && layer.output_size == widths[k + 1]);
  }
  lstmcore_model_free(model);
}

/* A struct of a later header is larger: members that this library does not know become zero, memory behind it stays. */
static void test_larger_structs(const char* golden) {
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  struct {
    lstmcore_model_info info;
    int64_t later[2], behind;
  } larger;
  struct {
    lstmcore_layer_info info;
    int64_t later, behind;
  } layer;
  memset(&larger, 77, sizeof(larger));
  larger.info.struct_size = sizeof(larger) - sizeof(larger.behind);
  CHECK_OK(lstmcore_model_get_info(model, &larger.info));
  CHECK(larger.info.struct_size == sizeof(larger) - sizeof(larger.behind) && larger.info.output_size == 1);
  CHECK(larger.later[0] == 0 && larger.later[1] == 0 && larger.behind != 0);
  memset(&layer, 77, sizeof(layer));
  layer.info.struct_size = sizeof(layer) - sizeof(layer.behind);
  CHECK_OK(lstmcore_model_get_layer(model, 0, &layer.info));
  CHECK(layer.info.input_size == 2 && layer.later == 0 && layer.behind != 0);
  lstmcore_model_free(model);
}

static void test_output_steps(const char* golden) {
  lstmcore_model* const pooled =
      check_load(golden, "sides_model.safetensors"); /* windows of two steps, then a vector */
  lstmcore_model* const every = check_load(golden, "steps_model.safetensors");
  int64_t steps = -1;
  CHECK(check_info(pooled).output_has_steps == 0 && check_info(every).output_has_steps == 1);
  CHECK(check_info(pooled).can_stream == 0 && check_info(pooled).state_size == 0);
  CHECK_OK(lstmcore_model_output_steps(pooled, 6, &steps));
  CHECK(steps == 1);
  CHECK_OK(lstmcore_model_output_steps(every, 6, &steps));
  CHECK(steps == 6);
  CHECK_OK(lstmcore_model_output_steps(every, 0, &steps));
  CHECK(steps == 0);
  lstmcore_model_free(every);
  lstmcore_model_free(pooled);
}

/* No rows, and rows without any step. */
static void test_nothing(const char* golden) {
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  float y[2] = {9, 9}, one_step[2] = {1, -1}, zero_steps[1], empty_row[2];
  float* const x = check_inputs(2, 1, 2);
  const int64_t lengths[2] = {0, 1};
  CHECK_OK(lstmcore_model_forward(model, 0, 7, NULL, NULL, 0, NULL, 0));
  CHECK_OK(
      lstmcore_model_forward(model, 1, 0, NULL, NULL, 0, zero_steps, 1)); /* the head's output for a state of zeros */
  CHECK_OK(lstmcore_model_forward(model, 2, 1, lengths, x, 4, empty_row, 2));
  CHECK(empty_row[0] == zero_steps[0]);
  CHECK_OK(lstmcore_model_forward(model, 1, 1, NULL, one_step, 2, y, 1));
  CHECK(y[0] != zero_steps[0] && y[1] == 9);
  free(x);
  lstmcore_model_free(model);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  CHECK_MACHINE();
  check_predictions(argv[1]);
  check_predictions(argv[2]);
  test_rows_alone(argv[1]);
  test_descriptions(argv[1]);
  test_larger_structs(argv[1]);
  test_output_steps(argv[1]);
  test_nothing(argv[1]);
  return check_end();
}
