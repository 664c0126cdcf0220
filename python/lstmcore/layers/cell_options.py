"""The options of an LSTM's cell, which `LSTMCell` and `LSTM` share."""

import inspect
from typing import Any, get_type_hints

from lstmcore import config, constraints, regularizers
from lstmcore._typing import CellActivation, InitializerName
from lstmcore.config import Activation, CellOptions, config_parameters
from lstmcore.layers.keras_words import CONFIG_NAMES

__all__ = ["ENGINE_OPTIONS", "OPTIONS", "PARAMETERS", "CellAttributes", "CellKeywords"]


class CellAttributes:
    """The options as attributes, in the order of signatures.

    An option without a value here has the default of `LSTMConfig`, whose docstring describes the
    options that this one does not.

    Parameters
    ----------
    activation : str or Activation, default "tanh"
        Activation of the candidate g and, without `output_activation`, of c on its way to h.
    recurrent_activation : str or Activation, default "sigmoid"
        Activation of the gates.
    output_activation : str or Activation, optional
        Activation of c on its way to h; None: the same as `activation`.
    use_bias : bool, default True
        Whether the gates have biases.
    unit_forget_bias : bool, default True
        Whether the bias of the forget gate starts at 1 (Jozefowicz et al. 2015) instead of 0.
    forget_bias : float, optional
        Initial value of the bias of the forget gate; None: as `unit_forget_bias` says. With a
        larger value the layer remembers for longer from the start. Not together with
        ``unit_forget_bias=False``.
    recurrent_trainable : bool, default True
        Whether the weights on h are trained. If not, they keep their values: no gradient is
        computed for them, and their penalty and constraint have no effect.
    kernel_initializer, recurrent_initializer : str
        Names of the initial values of the weights on x and on h.
    kernel_regularizer, recurrent_regularizer, bias_regularizer : optional
        Penalties on the weights: L1, L2, L1L2, their names, or the strength of an L2.
    kernel_constraint, recurrent_constraint, bias_constraint : MaxNorm or "max_norm", optional
        Constraints that are restored after each step of the optimizer.
    """

    activation: CellActivation | Activation
    recurrent_activation: CellActivation | Activation
    output_activation: CellActivation | Activation | None = None
    use_bias: bool
    peephole: bool
    coupled_gates: bool
    gate_clip: float
    cell_clip: float
    output_clip: float
    zoneout_h: float
    zoneout_c: float
    recurrent_dropout: float
    input_dropout: float
    weight_dropout: float
    proj_size: int
    proj_clip: float
    layer_norm: bool
    layer_norm_epsilon: float
    unit_forget_bias: bool = True
    forget_bias: float | None = None
    recurrent_trainable: bool = True
    kernel_initializer: InitializerName = "glorot_uniform"
    recurrent_initializer: InitializerName = "orthogonal"
    kernel_regularizer: regularizers.L1L2 | None = None
    recurrent_regularizer: regularizers.L1L2 | None = None
    bias_regularizer: regularizers.L1L2 | None = None
    kernel_constraint: constraints.MaxNorm | None = None
    recurrent_constraint: constraints.MaxNorm | None = None
    bias_constraint: constraints.MaxNorm | None = None


class CellKeywords(CellOptions, total=False):
    """The options as keyword arguments, for type checkers; a test compares the two classes."""

    activation: CellActivation | Activation
    recurrent_activation: CellActivation | Activation
    output_activation: CellActivation | Activation | None
    use_bias: bool
    proj_size: int
    unit_forget_bias: bool
    forget_bias: float | None
    recurrent_trainable: bool
    kernel_initializer: InitializerName
    recurrent_initializer: InitializerName
    kernel_regularizer: regularizers.RegularizerLike
    recurrent_regularizer: regularizers.RegularizerLike
    bias_regularizer: regularizers.RegularizerLike
    kernel_constraint: constraints.ConstraintLike
    recurrent_constraint: constraints.ConstraintLike
    bias_constraint: constraints.ConstraintLike


OPTIONS = tuple(CellAttributes.__annotations__)
"""The names of the options."""

_OWN: dict[str, Any] = {
    name: value for name, value in vars(CellAttributes).items() if name in OPTIONS
}
"""Defaults of options that `LSTMConfig` does not have or has with another default."""

ENGINE_OPTIONS = {
    option.layer_name: option
    for option in config.OPTIONS
    if option.layer_name is not None and option.layer_name in OPTIONS
}
"""Those that the engine knows, with their rows of its table."""

LATER = tuple(name for name, option in ENGINE_OPTIONS.items() if option.optional)
"""Options that older files lack, where their absence means the default."""


def _parameters() -> dict[str, inspect.Parameter]:
    kinds = get_type_hints(CellKeywords)
    names = {name: CONFIG_NAMES.get(name, name) for name in OPTIONS if name not in _OWN}
    fields = config_parameters(names.values())
    defaults = {name: fields[field].default for name, field in names.items()} | _OWN
    return {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=kinds[name]
        )
        for name in OPTIONS
    }


PARAMETERS = _parameters()
"""The options as parameters of a function, with their types and defaults."""
