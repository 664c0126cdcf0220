/*
 * The binary interface: functions, structs and constants. Whoever has to change something here changes what programs
 * that are built already rely on, which needs a new LSTMCORE_ABI_VERSION. Nothing of this runs: it compiles, unless the
 * header has changed.
 */
#include <lstmcore/lstmcore.h>

/* An array of a negative size where the condition does not hold, since C99 has no static assertion. */
#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]

HOLDS(abi_version, LSTMCORE_ABI_VERSION == 1);
HOLDS(status_size, sizeof(lstmcore_status) == 4);
HOLDS(statuses, LSTMCORE_OK == 0 && LSTMCORE_ERROR_ARGUMENT == 1 && LSTMCORE_ERROR_SIZE == 2 &&
                    LSTMCORE_ERROR_FILE == 3 && LSTMCORE_ERROR_UNSUPPORTED == 4 && LSTMCORE_ERROR_MACHINE == 5 &&
                    LSTMCORE_ERROR_MEMORY == 6 && LSTMCORE_ERROR_INTERNAL == 7);
HOLDS(threads, LSTMCORE_ONE_THREAD == 0 && LSTMCORE_MANY_THREADS == 1);

#if UINTPTR_MAX == UINT64_MAX /* where size_t and pointers take 8 bytes, so that no member needs padding */
HOLDS(info_struct_size, offsetof(lstmcore_model_info, struct_size) == 0);
HOLDS(info_input_size, offsetof(lstmcore_model_info, input_size) == 8);
HOLDS(info_vocabulary_size, offsetof(lstmcore_model_info, vocabulary_size) == 16);
HOLDS(info_output_size, offsetof(lstmcore_model_info, output_size) == 24);
HOLDS(info_state_size, offsetof(lstmcore_model_info, state_size) == 32);
HOLDS(info_layer_count, offsetof(lstmcore_model_info, layer_count) == 40);
HOLDS(info_output_has_steps, offsetof(lstmcore_model_info, output_has_steps) == 48);
HOLDS(info_can_stream, offsetof(lstmcore_model_info, can_stream) == 52);
HOLDS(info_size, sizeof(lstmcore_model_info) == 56);

HOLDS(layer_struct_size, offsetof(lstmcore_layer_info, struct_size) == 0);
HOLDS(layer_name, offsetof(lstmcore_layer_info, name) == 8);
HOLDS(layer_class_name, offsetof(lstmcore_layer_info, class_name) == 16);
HOLDS(layer_input_size, offsetof(lstmcore_layer_info, input_size) == 24);
HOLDS(layer_output_size, offsetof(lstmcore_layer_info, output_size) == 32);
HOLDS(layer_size, sizeof(lstmcore_layer_info) == 40);
#endif

/* The functions once more: C refuses a second declaration with other types. */
int32_t lstmcore_abi_version(void);
int32_t lstmcore_get_num_threads(void);
const char* lstmcore_instruction_set(void);
const char* lstmcore_last_error(void);
int32_t lstmcore_model_forward(const lstmcore_model*, int64_t, int64_t, const int64_t*, const float*, size_t, float*,
                               size_t);
int32_t lstmcore_model_forward_tokens(const lstmcore_model*, int64_t, int64_t, const int64_t*, const int64_t*, size_t,
                                      float*, size_t);
void lstmcore_model_free(lstmcore_model*);
int32_t lstmcore_model_get_info(const lstmcore_model*, lstmcore_model_info*);
int32_t lstmcore_model_get_layer(const lstmcore_model*, int64_t, lstmcore_layer_info*);
int32_t lstmcore_model_load(const char*, lstmcore_model**);
int32_t lstmcore_model_load_memory(const void*, size_t, lstmcore_model**);
int32_t lstmcore_model_output_steps(const lstmcore_model*, int64_t, int64_t*);
int32_t lstmcore_set_num_threads(int32_t);
const char* lstmcore_status_name(int32_t);
int32_t lstmcore_stream_create(const lstmcore_model*, int64_t, int32_t, lstmcore_stream**);
void lstmcore_stream_free(lstmcore_stream*);
int32_t lstmcore_stream_get_state(const lstmcore_stream*, int64_t, int64_t, float*, size_t);
int32_t lstmcore_stream_reset(lstmcore_stream*);
int32_t lstmcore_stream_reset_row(lstmcore_stream*, int64_t);
int64_t lstmcore_stream_rows(const lstmcore_stream*);
int32_t lstmcore_stream_set_state(lstmcore_stream*, int64_t, int64_t, const float*, size_t);
int32_t lstmcore_stream_step(lstmcore_stream*, const float*, size_t, float*, size_t);
int32_t lstmcore_stream_step_tokens(lstmcore_stream*, const int64_t*, size_t, float*, size_t);
const char* lstmcore_version(void);
