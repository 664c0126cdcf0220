"""What completion in an interactive session shows of objects."""

import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore._options import arguments

SEQUENTIAL = """
    add backward build built class_names compile compiled count_params dtype epoch evaluate fit
    forward get_layer get_weights history initial_state input_shape inputs_of is_compiled layers
    load load_weights metadata optimizer output_shape parameters pop predict quantized
    recurrent_layers save seed set_weights state stop_training summary test_on_batch
    train_on_batch trainable vectorizer weights
"""
ENCODER_DECODER = """
    adapt attention attention_scale attention_units backward bidirectional built compile compiled
    count_params decode dropout dtype embedding_size end epoch evaluate fit forward get_config
    get_layer get_weights history is_compiled layers load load_weights log_probabilities
    metadata num_layers optimizer output_shape parameters precision predict quantized
    sampling_probability save scheduled_sampling seed set_weights source_vocabulary start state
    stop_training summary target_tokens target_vocabulary test_on_batch train_on_batch trainable
    units weights
"""
LAYER = """
    backward bind build check_values copy forward forward_from forward_logits frozen_size
    get_config get_weights gradient_place input_kind input_shape last_activation lengths_of
    mixes_steps name output_lengths parameters recurrent_parts seed set_weights weight_specs
    weights
"""
OPTIMIZER = """
    apply build clipnorm clipvalue current_learning_rate get_config global_clipnorm iterations
    learning_rate slot_names slots
"""
CALLBACK = """
    get_state on_epoch_begin on_epoch_end on_train_batch_begin on_train_batch_end on_train_begin
    on_train_end set_state
"""


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lc.Sequential, SEQUENTIAL),
        (
            lambda: lc.LanguageModel(layers.TextVectorization(vocabulary=["a"]), 2),
            SEQUENTIAL + "bits_per_character embedding fit_text generate perplexity tie_weights "
            "vectorization",
        ),
        (lambda: lc.EncoderDecoder(5, 5), ENCODER_DECODER),
        (layers.Layer, LAYER),
        (lambda: layers.LSTM(2), LAYER + "bidirectional cells config output_size state_size"),
        (lambda: layers.LSTMCell(2), LAYER + "dropout state_size"),
        (
            lambda: layers.RNN(layers.LSTMCell(2)),
            LAYER + "bidirectional cells config output_size precision state_size units",
        ),
        (
            lambda: layers.Bidirectional(layers.LSTM(2)),
            LAYER + "bidirectional cells config output_size precision state_size units "
            "go_backwards recompute return_sequences return_state share_recurrent stateful",
        ),
        (lambda: layers.Dense(2), LAYER),
        (lambda: layers.Conv1D(2, 2), LAYER),
        (lambda: layers.Dropout(0.5), LAYER),
        (
            layers.Attention,
            LAYER + "attention_weights look look_backward query_backward remember "
            "remember_backward",
        ),
        (
            layers.TextVectorization,
            LAYER + "adapt decode encode end_id get_vocabulary set_vocabulary start_id tokens "
            "vocabulary_size",
        ),
        (lc.optimizers.SGD, OPTIMIZER),
        (lc.optimizers.Adam, OPTIMIZER + "weight_decay"),
        (lc.callbacks.Callback, CALLBACK),
        (lc.callbacks.EarlyStopping, CALLBACK + "best best_epoch stopped_epoch wait"),
        (
            lc.callbacks.History,
            CALLBACK + "best epoch history plot restored_epoch stop_reason to_frame",
        ),
    ],
)
def test_completion_shows_what_a_user_can_do(make, names):
    """Additions must be deliberate: names that are not for users begin with an underscore."""
    thing = make()
    shown = {name for name in dir(thing) if not name.startswith("_")}
    assert shown - set(arguments(type(thing))) == set(names.split()) - set(arguments(type(thing)))
