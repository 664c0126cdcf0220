/*
 * The binary interface of the structs and constants: a change here is a new LSTMCORE_ABI_VERSION. The functions are in
 * symbols.txt. Nothing of this runs: it compiles, or the layout has changed.
 */
#include <lstmcore/lstmcore.h>

/* An array of a negative size where the condition does not hold, since C99 has no static assertion. */
#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]

HOLDS(abi_version, LSTMCORE_ABI_VERSION == 1);
HOLDS(status_size, sizeof(lstmcore_status) == 4);
HOLDS(statuses, LSTMCORE_OK == 0 && LSTMCORE_ERROR_ARGUMENT == 1 && LSTMCORE_ERROR_SIZE == 2 && LSTMCORE_ERROR_FILE == 3 &&
                    LSTMCORE_ERROR_UNSUPPORTED == 4 && LSTMCORE_ERROR_MACHINE == 5 && LSTMCORE_ERROR_MEMORY == 6 &&
                    LSTMCORE_ERROR_INTERNAL == 7);
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
