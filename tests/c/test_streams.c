/*
 * Streams: the same bits as whole sequences, whatever the rows, the threads and the order of calls.
 *
 * Usage: test_streams GOLDEN, the folder of the files that Python wrote.
 */
#include "check.h"

/* y of every step, (steps, rows, outputs), from a stream that takes step t of the rows first, first + 1, ... */
static float* step_all(const lstmcore_model* model, int64_t rows, int64_t steps, int32_t threads) {
  const lstmcore_model_info info = check_info(model);
  const int64_t row_size = info.output_size;
  float* const y = check_floats(steps * rows * row_size);
  float* const x = check_floats(rows * info.input_size);
  int64_t* const tokens = (int64_t*)check_memory((size_t)rows * sizeof(int64_t));
  lstmcore_stream* stream = NULL;
  int64_t n, t, c;
  CHECK_OK(lstmcore_stream_create(model, rows, threads, &stream));
  CHECK(lstmcore_stream_rows(stream) == rows);
  for (t = 0; t < steps; ++t) {
    float* const out = y + t * rows * row_size;
    for (n = 0; n < rows; ++n) {
      for (c = 0; c < info.input_size; ++c) x[n * info.input_size + c] = check_input(n, t, c);
      if (info.vocabulary_size > 0) tokens[n] = 1 + (5 * n + 7 * t) % (info.vocabulary_size - 1);
    }
    if (info.vocabulary_size > 0) {
      CHECK_OK(lstmcore_stream_step_tokens(stream, tokens, (size_t)rows, out, (size_t)(rows * row_size)));
    } else {
      CHECK_OK(lstmcore_stream_step(stream, x, (size_t)(rows * info.input_size), out, (size_t)(rows * row_size)));
    }
  }
  lstmcore_stream_free(stream);
  free(tokens);
  free(x);
  return y;
}

/* y of whole sequences of `steps` steps, (rows, steps or 1, outputs). */
static float* forward(const lstmcore_model* model, int64_t rows, int64_t steps) {
  const lstmcore_model_info info = check_info(model);
  int64_t output_steps = 0, y_size;
  float* y;
  CHECK_OK(lstmcore_model_output_steps(model, steps, &output_steps));
  y_size = rows * output_steps * info.output_size;
  y = check_floats(y_size);
  if (info.vocabulary_size > 0) {
    int64_t* const tokens = check_tokens(rows, steps, info.vocabulary_size);
    CHECK_OK(
        lstmcore_model_forward_tokens(model, rows, steps, NULL, tokens, (size_t)(rows * steps), y, (size_t)y_size));
    free(tokens);
  } else {
    float* const x = check_inputs(rows, steps, info.input_size);
    CHECK_OK(lstmcore_model_forward(model, rows, steps, NULL, x, (size_t)(rows * steps * info.input_size), y,
                                    (size_t)y_size));
    free(x);
  }
  return y;
}

/* Every step of a stream has the bits of the whole sequence, or of the sequence up to that step. */
static void test_same_bits(const char* golden, const char* file) {
  const int64_t rows = 3, steps = 5;
  lstmcore_model* const model = check_load(golden, file);
  const lstmcore_model_info info = check_info(model);
  float* const streamed = step_all(model, rows, steps, LSTMCORE_ONE_THREAD);
  int64_t n, t;
  for (t = 0; t < steps; ++t) {
    float* const whole = forward(model, rows, info.output_has_steps ? steps : t + 1);
    for (n = 0; n < rows; ++n) {
      const int64_t place = info.output_has_steps ? n * steps + t : n;
      CHECK(memcmp(whole + place * info.output_size, streamed + (t * rows + n) * info.output_size,
                   (size_t)info.output_size * sizeof(float)) == 0);
    }
    free(whole);
  }
  free(streamed);
  lstmcore_model_free(model);
}

/*
 * Many rows, in several blocks and on several threads, have the bits of few. Inputs repeat every 88 rows: features
 * every 11, the tokens of the model that takes them every 8. The work of 9000 rows is enough for two threads.
 */
static void test_many_rows(const char* golden, const char* file) {
  enum { few = 88, steps = 3 };
  const int64_t many[5] = {1, 63, 64, 65, 9000};
  lstmcore_model* const model = check_load(golden, file);
  const lstmcore_model_info info = check_info(model);
  float* const expected = step_all(model, few, steps, LSTMCORE_ONE_THREAD);
  int k, threads;
  for (k = 0; k < 5; ++k) {
    for (threads = LSTMCORE_ONE_THREAD; threads <= LSTMCORE_MANY_THREADS; ++threads) {
      const int64_t rows = many[k];
      float* const y = step_all(model, rows, steps, threads);
      int64_t at, different = 0;
      for (at = 0; at < steps * rows; ++at) {
        const int64_t t = at / rows, n = at % rows;
        different += memcmp(y + at * info.output_size, expected + (t * few + n % few) * info.output_size,
                            (size_t)info.output_size * sizeof(float)) != 0;
      }
      CHECK(different == 0);
      free(y);
    }
  }
  free(expected);
  lstmcore_model_free(model);
}

static void step_one(lstmcore_stream* stream, int64_t t, float* y) {
  const int64_t rows = lstmcore_stream_rows(stream);
  float* const x = check_floats(rows * 2);
  int64_t n;
  for (n = 0; n < rows; ++n) {
    x[2 * n] = check_input(n, t, 0);
    x[2 * n + 1] = check_input(n, t, 1);
  }
  CHECK_OK(lstmcore_stream_step(stream, x, (size_t)(2 * rows), y, (size_t)rows));
  free(x);
}

/* A state that is stored and set again continues with the same bits, also row by row and in another stream. */
static void test_states(const char* golden) {
  enum { rows = 70, steps = 3 };
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  const size_t row_size = (size_t)check_info(model).state_size, size = rows * row_size;
  lstmcore_stream *first = NULL, *second = NULL;
  float *const state = check_floats((int64_t)size), *const part = check_floats((int64_t)size);
  float y[rows], again[rows];
  int64_t n, t;
  CHECK_OK(lstmcore_stream_create(model, rows, LSTMCORE_ONE_THREAD, &first));
  CHECK_OK(lstmcore_stream_create(model, rows, LSTMCORE_MANY_THREADS, &second));
  for (t = 0; t < steps; ++t) step_one(first, t, y);
  CHECK_OK(lstmcore_stream_get_state(first, 0, rows, state, size));
  for (n = 0; n < rows; ++n) {
    CHECK_OK(lstmcore_stream_get_state(first, n, 1, part, row_size));
    CHECK(memcmp(part, state + (size_t)n * row_size, row_size * sizeof(float)) == 0);
  }
  CHECK_OK(lstmcore_stream_get_state(first, 60, 8, part, 8 * row_size)); /* across the blocks of rows */
  CHECK(memcmp(part, state + 60 * row_size, 8 * row_size * sizeof(float)) == 0);
  CHECK_OK(lstmcore_stream_get_state(first, rows, 0, NULL, 0));
  step_one(first, steps, y);
  CHECK_OK(lstmcore_stream_set_state(second, 62, rows - 62, state + 62 * row_size, (rows - 62) * row_size));
  for (n = 0; n < 62; ++n) CHECK_OK(lstmcore_stream_set_state(second, n, 1, state + (size_t)n * row_size, row_size));
  step_one(second, steps, again);
  CHECK(memcmp(y, again, sizeof(y)) == 0);
  lstmcore_stream_free(second);
  lstmcore_stream_free(first);
  free(part);
  free(state);
  lstmcore_model_free(model);
}

/* The numbers of a row's state: h, then c of each layer; after one step of zeros, c is not h. */
static void test_layout_of_a_state(const char* golden) {
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  lstmcore_stream* stream = NULL;
  float state[14], y, zero[2] = {0, 0};
  int k;
  CHECK_OK(lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream));
  CHECK_OK(lstmcore_stream_get_state(stream, 0, 1, state, 14));
  for (k = 0; k < 14; ++k) CHECK(state[k] == 0);
  for (k = 0; k < 14; ++k) state[k] = k == 4 + 1 ? 50.0f : 0.0f; /* c of unit 1 of the first layer, which has 4 units */
  CHECK_OK(lstmcore_stream_set_state(stream, 0, 1, state, 14));
  CHECK_OK(lstmcore_stream_step(stream, zero, 2, &y, 1));
  CHECK_OK(lstmcore_stream_get_state(stream, 0, 1, state, 14));
  for (k = 0; k < 4; ++k) CHECK((state[4 + k] > 1.0f) == (k == 1)); /* the forget gate lets most of it pass */
  CHECK(fabs((double)state[1]) > 0.1 && fabs((double)state[1]) < 1.0);
  lstmcore_stream_free(stream);
  lstmcore_model_free(model);
}

static void test_resets(const char* golden) {
  enum { rows = 66 };
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  lstmcore_stream* stream = NULL;
  float fresh[rows], later[rows], y[rows];
  int64_t n;
  CHECK_OK(lstmcore_stream_create(model, rows, LSTMCORE_ONE_THREAD, &stream));
  step_one(stream, 0, fresh);
  step_one(stream, 0, later);
  CHECK_OK(lstmcore_stream_reset(stream));
  step_one(stream, 0, y);
  CHECK(memcmp(y, fresh, sizeof(y)) == 0);
  CHECK_OK(lstmcore_stream_reset_row(stream, 65));
  CHECK_OK(lstmcore_stream_reset_row(stream, 2));
  step_one(stream, 0, y);
  for (n = 0; n < rows; ++n) CHECK(y[n] == (n == 65 || n == 2 ? fresh[n] : later[n]));
  CHECK(fresh[2] != later[2]);
  lstmcore_stream_free(stream);
  lstmcore_model_free(model);
}

/* A stream holds what it needs of its model. */
static void test_stream_outlives_its_model(const char* golden) {
  lstmcore_model* const model = check_load(golden, "stream_model.safetensors");
  lstmcore_stream *stream = NULL, *other = NULL;
  float y = 0, expected = 0;
  CHECK_OK(lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream));
  CHECK_OK(lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &other));
  step_one(other, 0, &expected);
  lstmcore_stream_free(other);
  lstmcore_model_free(model);
  step_one(stream, 0, &y);
  CHECK(y == expected && y != 0);
  lstmcore_stream_free(stream);
}

int main(int argc, char** argv) {
  static const char* const files[] = {"stream_model.safetensors", "steps_model.safetensors", "catchment.safetensors"};
  int k;
  if (argc != 2) return 2;
  CHECK_MACHINE();
  CHECK_OK(lstmcore_set_num_threads(2));
  for (k = 0; k < 3; ++k) {
    test_same_bits(argv[1], files[k]);
    test_many_rows(argv[1], files[k]);
  }
  test_states(argv[1]);
  test_layout_of_a_state(argv[1]);
  test_resets(argv[1]);
  test_stream_outlives_its_model(argv[1]);
  return check_end();
}
