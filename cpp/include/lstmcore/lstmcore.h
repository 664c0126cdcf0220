/*
 * LSTM models on the CPU, from C.
 *
 * A model is a file that Python saved. It runs on whole sequences (lstmcore_model_forward), or step by step
 * (lstmcore_stream_step), for one row or for thousands that take their steps together. Both ways give the same bits,
 * on any number of threads and whatever the other rows are.
 *
 *     lstmcore_model* model = NULL;
 *     lstmcore_stream* stream = NULL;
 *     float x[2], y[1];
 *     if (lstmcore_model_load("model.safetensors", &model) != LSTMCORE_OK ||
 *         lstmcore_stream_create(model, 1, LSTMCORE_ONE_THREAD, &stream) != LSTMCORE_OK) {
 *       fprintf(stderr, "%s\n", lstmcore_last_error());
 *       return 1;
 *     }
 *     while (read_sample(x)) {
 *       lstmcore_stream_step(stream, x, 2, y, 1);
 *       use(y);
 *     }
 *     lstmcore_stream_free(stream);
 *     lstmcore_model_free(model);
 *
 * Arrays. Numbers are float, arrays contiguous and row-major, rows first. Every array comes with its size in elements,
 * which must be exactly what the call needs. The library reads and writes an array only during the call.
 *
 * Letters. N rows, T steps, C input features of a step, U output features, S numbers in the state of a row.
 *
 * Errors. Most functions return a lstmcore_status. If it is not LSTMCORE_OK, nothing was written, and
 * lstmcore_last_error() says what was expected and what was passed. No exception leaves a call.
 *
 * Threads. A model never changes: any number of threads may use it at the same time. A stream may be used by one thread
 * at a time, which need not always be the same one. Every function below says if it differs.
 *
 * Versions. Programs built with this header run with every library whose lstmcore_abi_version() is the same. Within an
 * ABI version, functions may be added, and members at the end of structs, whose size the caller states.
 */
#ifndef LSTMCORE_LSTMCORE_H
#define LSTMCORE_LSTMCORE_H

#include <stddef.h>
#include <stdint.h>

/* Define LSTMCORE_SHARED where you use the library as a DLL on Windows; CMake's lstmcore::lstmcore_c does. */
#if defined(LSTMCORE_BUILDS_SHARED) && defined(_WIN32)
#define LSTMCORE_API __declspec(dllexport)
#elif defined(LSTMCORE_BUILDS_SHARED)
#define LSTMCORE_API __attribute__((visibility("default")))
#elif defined(LSTMCORE_SHARED) && defined(_WIN32)
#define LSTMCORE_API __declspec(dllimport)
#else
#define LSTMCORE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- versions ---------------------------------------------------------------------------------------------------- */

/* The ABI of this header. */
#define LSTMCORE_ABI_VERSION 1

/* The ABI of the library that runs: compare it with LSTMCORE_ABI_VERSION. Any thread, at any time. */
LSTMCORE_API int32_t lstmcore_abi_version(void);

/* The version of the library, such as "0.1.0". Any thread, at any time. */
LSTMCORE_API const char* lstmcore_version(void);

/* ---- errors ------------------------------------------------------------------------------------------------------ */

typedef int32_t lstmcore_status;

enum {
  LSTMCORE_OK = 0,
  LSTMCORE_ERROR_ARGUMENT = 1,    /* a pointer is NULL, or a number, a token or a length is out of range */
  LSTMCORE_ERROR_SIZE = 2,        /* an array or a struct does not have the size that the call needs */
  LSTMCORE_ERROR_FILE = 3,        /* a model cannot be read, is damaged, or holds what only Python runs */
  LSTMCORE_ERROR_UNSUPPORTED = 4, /* the model cannot do this: float64, a layer that needs all steps in a stream */
  LSTMCORE_ERROR_MACHINE = 5,     /* LSTMCORE_ISA or LSTMCORE_UNITS is set to what this machine does not run */
  LSTMCORE_ERROR_MEMORY = 6,      /* out of memory */
  LSTMCORE_ERROR_INTERNAL = 7     /* anything else: a fault of the library or of the system */
};

/*
 * What was wrong with the last failed call of this thread, in UTF-8, with U+FFFD for the bytes of a path that are not;
 * "" if none has failed. A call that succeeds leaves it as it is. Valid until the next call of this thread fails. Each
 * thread has its own.
 */
LSTMCORE_API const char* lstmcore_last_error(void);

/* The name of a status, such as "LSTMCORE_ERROR_SIZE"; of any other number "unknown status". Any thread. */
LSTMCORE_API const char* lstmcore_status_name(lstmcore_status status);

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* A model with its weights, packed for the instruction set in use. */
typedef struct lstmcore_model lstmcore_model;

/*
 * Loads a model file, and checks all of it. path: UTF-8. *model: set on success, for lstmcore_model_free. Files in
 * float32 are accepted, also quantized ones. Products are computed in the precision that the file names, or in float32.
 * Any number of threads may load models at the same time.
 */
LSTMCORE_API lstmcore_status lstmcore_model_load(const char* path, lstmcore_model** model);

/* The same for a file that is in memory already: its `size` bytes, which are not needed afterwards. */
LSTMCORE_API lstmcore_status lstmcore_model_load_memory(const void* bytes, size_t size, lstmcore_model** model);

/*
 * Frees a model; NULL is allowed. Streams that were made from it remain usable. No other call may be using the model.
 */
LSTMCORE_API void lstmcore_model_free(lstmcore_model* model);

/*
 * What a model takes and returns. Set struct_size before the call. Members that your struct lacks are not written;
 * those that a library older than your header does not know are set to zero.
 */
typedef struct lstmcore_model_info {
  size_t struct_size;      /* in: sizeof(lstmcore_model_info) */
  int64_t input_size;      /* C, features of a step; 0: the model takes tokens */
  int64_t vocabulary_size; /* tokens are 0 to vocabulary_size - 1; 0: the model takes features */
  int64_t output_size;     /* U */
  int64_t state_size;      /* S, numbers in the state of a row; 0: nothing is remembered, or the model cannot stream */
  int64_t layer_count;
  int32_t output_has_steps; /* 1: an output for every step; 0: one output for a whole sequence */
  int32_t can_stream;       /* 1: lstmcore_stream_create accepts the model */
} lstmcore_model_info;

/* Describes a model. Any number of threads at the same time. */
LSTMCORE_API lstmcore_status lstmcore_model_get_info(const lstmcore_model* model, lstmcore_model_info* info);

/* One layer of a model. */
typedef struct lstmcore_layer_info {
  size_t struct_size;     /* in: sizeof(lstmcore_layer_info) */
  const char* name;       /* as in Python; valid as long as the model */
  const char* class_name; /* "LSTM", "Dense", ...; valid as long as the model */
  int64_t input_size;     /* features of its input; 0: tokens */
  int64_t output_size;    /* features of its output; 0: tokens */
} lstmcore_layer_info;

/* Describes layer `index`, 0 to layer_count - 1. Any number of threads at the same time. */
LSTMCORE_API lstmcore_status lstmcore_model_get_layer(const lstmcore_model* model, int64_t index,
                                                      lstmcore_layer_info* info);

/* ---- whole sequences --------------------------------------------------------------------------------------------- */

/*
 * *output_steps: the steps of the output, T', for sequences of `steps` steps: fewer than these after pooling, 0 where
 * they are fewer than a window of a Conv1D or MaxPooling1D with padding="valid" takes, and 1 where the output has no
 * steps. Of a row with its own length it is the number of valid output steps.
 * Any number of threads at the same time.
 */
LSTMCORE_API lstmcore_status lstmcore_model_output_steps(const lstmcore_model* model, int64_t steps,
                                                         int64_t* output_steps);

/*
 * Runs a model on sequences of features that begin with a state of zeros.
 *   rows, steps  N and T, at least 0; without lengths, T is at least what each window with padding="valid" takes
 *   lengths      (N): valid steps of each row, 0 to T, in any order; NULL: all steps
 *   x            (N, T, C): input; steps past a row's length are ignored
 *   y            (N, T', U), or (N, U) where the output has no steps: output, zero past a row's valid steps
 * x and y must not overlap.
 * Any number of threads at the same time; each call may use the threads of lstmcore_set_num_threads.
 */
LSTMCORE_API lstmcore_status lstmcore_model_forward(const lstmcore_model* model, int64_t rows, int64_t steps,
                                                    const int64_t* lengths, const float* x, size_t x_size, float* y,
                                                    size_t y_size);

/*
 * The same for a model that begins with an Embedding: tokens (N, T). If the Embedding was made with mask_zero=True, a
 * row also ends where its zeros begin, which only zeros may follow.
 */
LSTMCORE_API lstmcore_status lstmcore_model_forward_tokens(const lstmcore_model* model, int64_t rows, int64_t steps,
                                                           const int64_t* lengths, const int64_t* tokens,
                                                           size_t tokens_size, float* y, size_t y_size);

/* ---- step by step ------------------------------------------------------------------------------------------------ */

/* The state of some rows that take their steps together. */
typedef struct lstmcore_stream lstmcore_stream;

enum {
  LSTMCORE_ONE_THREAD = 0,  /* steps stay on the caller's thread, and neither allocate memory nor take a lock */
  LSTMCORE_MANY_THREADS = 1 /* steps of many rows are shared among the threads of lstmcore_set_num_threads */
};

/*
 * Makes a stream of `rows` rows, at least 1, whose state is zero. threads: LSTMCORE_ONE_THREAD or
 * LSTMCORE_MANY_THREADS, which have the same results. *stream: set on success, for lstmcore_stream_free.
 * All layers must work step by step: LSTM and RNN that walk forwards, Dense, LayerNormalization, Dropout, Embedding,
 * Residual, and Conv1D and MaxPooling1D whose windows are single steps. Otherwise the result is
 * LSTMCORE_ERROR_UNSUPPORTED, and the text names the layer.
 * Any number of threads may make streams of one model at the same time.
 */
LSTMCORE_API lstmcore_status lstmcore_stream_create(const lstmcore_model* model, int64_t rows, int32_t threads,
                                                    lstmcore_stream** stream);

/* Frees a stream; NULL is allowed. No other call may be using it. */
LSTMCORE_API void lstmcore_stream_free(lstmcore_stream* stream);

/* The number of rows; 0 for NULL. Any number of threads at the same time. */
LSTMCORE_API int64_t lstmcore_stream_rows(const lstmcore_stream* stream);

/*
 * Takes one step of all rows. x (N, C), y (N, U), not overlapping. y is the output at this step; where the output of
 * the model has no steps, it is that of the sequence so far.
 * One thread at a time for each stream; different streams at the same time. With LSTMCORE_ONE_THREAD a step that
 * succeeds neither allocates memory nor takes a lock, so that it may run on an audio or control thread.
 */
LSTMCORE_API lstmcore_status lstmcore_stream_step(lstmcore_stream* stream, const float* x, size_t x_size, float* y,
                                                  size_t y_size);

/* The same for a model that begins with an Embedding: tokens (N), none of which counts as padding. */
LSTMCORE_API lstmcore_status lstmcore_stream_step_tokens(lstmcore_stream* stream, const int64_t* tokens,
                                                         size_t tokens_size, float* y, size_t y_size);

/* Zeroes the state of all rows. One thread at a time for each stream. Neither allocates nor locks. */
LSTMCORE_API lstmcore_status lstmcore_stream_reset(lstmcore_stream* stream);

/* Zeroes the state of one row, 0 to N - 1. One thread at a time for each stream. Neither allocates nor locks. */
LSTMCORE_API lstmcore_status lstmcore_stream_reset_row(lstmcore_stream* stream, int64_t row);

/*
 * Copies the state of `count` rows, from row `first` on, out of the stream: state (count, S), S being the model's
 * state_size. The numbers of a row are, for every recurrent layer of the model in order, h of each of its stacked
 * layers, then c of each. They are float32 whatever the precision of the products, so a state can be stored and set
 * again without changing any bit of what follows. One thread at a time for each stream. Allocates memory.
 */
LSTMCORE_API lstmcore_status lstmcore_stream_get_state(const lstmcore_stream* stream, int64_t first, int64_t count,
                                                       float* state, size_t state_size);

/* Copies the state of `count` rows, from row `first` on, into the stream. As above. */
LSTMCORE_API lstmcore_status lstmcore_stream_set_state(lstmcore_stream* stream, int64_t first, int64_t count,
                                                       const float* state, size_t state_size);

/* ---- the process ------------------------------------------------------------------------------------------------- */

/*
 * The instruction set in use: "baseline", "avx2" or "avx512". The best one of the machine, or the one that the
 * environment variable LSTMCORE_ISA names; chosen at the first call and fixed from then on. NULL, and an error text, if
 * this machine does not run that one. Any thread, at any time.
 */
LSTMCORE_API const char* lstmcore_instruction_set(void);

/* The largest number of threads of one call, at least 1. Any thread, at any time. */
LSTMCORE_API int32_t lstmcore_get_num_threads(void);

/*
 * Sets the largest number of threads of one call, 1 to 1024, for the whole process. Results do not depend on it. Any
 * thread, at any time; calls that are running keep theirs.
 */
LSTMCORE_API lstmcore_status lstmcore_set_num_threads(int32_t count);

#ifdef __cplusplus
}
#endif

#endif
