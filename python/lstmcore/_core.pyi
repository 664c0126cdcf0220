"""The compiled engine. Arrays are NumPy's; float32 and float64 only; nothing is converted silently.

Invalid arguments raise ``ValueError`` or ``TypeError``, which name the argument, what was expected
and what was passed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lstmcore._typing import Exporter, Precision

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
FloatInput = FloatArray | Exporter
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

__version__: str

def isa() -> str: ...
def known_isas() -> list[str]: ...
def supported_isas() -> list[str]: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def precision_names() -> list[str]:
    """Return the names of the precisions of products."""

def product_unit(precision: str) -> str:
    """Return the name of the unit that computes products of this precision on this machine."""

def get_precision() -> Precision:
    """Return the precision of products where none is named."""

def set_precision(precision: str) -> None: ...
def thread_provider() -> str: ...
def vector_bytes(isa: str) -> int:
    """Bytes of a vector of an instruction set; 0 if there is none of that name."""

def memory(
    config: LstmConfig,
    of_doubles: bool,
    batch_size: int,
    steps: int,
    total_steps: int,
    recompute: int,
    vector_bytes: int,
    num_threads: int,
) -> dict[str, int]:
    """Bytes that the engine takes for a call: weights, inference, tape, backward."""

def lstm_options() -> list[tuple[str, str, Any, str | None, str | None, bool]]:
    """Of every option of `LstmConfig`: name, type, default, name in layers, name in ONNX, and
    whether model files may lack it.

    Types are "int", "float", "bool" and "activation". The name in layers is None if layers lack the
    option; that in ONNX's LSTM operator is None if it lacks it, "" if a node need not mention it.
    """

def lstm_activation(name: str) -> tuple[str, float, float]:
    """The activation of this name, (name, alpha, beta), with its usual parameters."""

class LstmConfig:
    """Sizes and options of an LSTM; see ``lstmcore.LSTMConfig``."""

    def __init__(self, **options: Any) -> None: ...
    def values(self) -> dict[str, Any]:
        """Every option by its name; an activation as (name, alpha, beta)."""

    def parameters(self) -> list[tuple[str, tuple[int, ...]]]: ...

class Lstm:
    """Packed weights, with the element type of the arrays in ``weights``, which may be strided."""

    def __init__(
        self, config: LstmConfig, weights: Mapping[str, FloatArray], precision: str = "fp32"
    ) -> None: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def precision(self) -> str: ...
    def forward(
        self,
        x: FloatInput,
        h: FloatArray | None = None,
        c: FloatArray | None = None,
        lengths: IntArray | None = None,
        reset: BoolArray | None = None,
        return_sequences: bool = True,
        training: bool = False,
        seed: int = 0,
        mask: BoolArray | None = None,
        recompute: int = 0,
        random: bool = True,
        time_major: bool = False,
    ) -> tuple[FloatArray | None, FloatArray, FloatArray, LstmTape | None]:
        """Return y (N, T, D*H), h, c (layers*D, N, H) and a tape.

        y is None without ``return_sequences``, the tape is None without ``training``. `recompute`
        is the number of steps of a time segment; 0 stores everything, -1 means the square root of
        the longest sequence. Without `random`, the forward computes what inference computes, and
        fills a tape. With `time_major`, time is the first axis of y, and of the tape's dx, in
        memory; their shapes are the same.
        """
    def begin(
        self,
        batch_size: int,
        h: FloatArray | None = None,
        c: FloatArray | None = None,
        expected_steps: int = 0,
        seed: int = 0,
    ) -> LstmTape:
        """Return a tape without steps, for `LstmTape.step`."""

class TensorReader:
    """Reads tensors of another library through DLPack's C functions.

    `functions` is ``__dlpack_c_exchange_api__`` of their class; `kinds` are the exact classes that
    are read.
    """

    def __init__(self, functions: object, kinds: tuple[type, ...]) -> None: ...

class LstmCell:
    """Single steps on memory given by its address; nothing about the addresses is checked.

    `originals` are the addresses of contiguous weights, and `copies` hold the bytes that `lstm` was
    packed from: each forward compares them, unless there are none.
    """

    def __init__(self, lstm: Lstm, originals: list[int], copies: list[FloatArray]) -> None: ...
    @staticmethod
    def serves(config: LstmConfig) -> bool:
        """Tell whether a configuration is one layer, walked forwards, with a plain cell."""
    @property
    def tape_width(self) -> int: ...
    @property
    def gradient_width(self) -> int: ...
    def forward(
        self, batch: int, x: int, h: int, c: int, h_after: int, c_after: int, tape: int
    ) -> bool:
        """Take a step; False if the weights have changed, and the results are undefined.

        x (batch, C), h and c (batch, H), in and out; `tape`, 0 or (batch, tape_width) elements.
        """
    def step(
        self,
        reader: TensorReader,
        x: object,
        h: object,
        c: object,
        weights: tuple[Any, ...],
        h_after: object,
        c_after: object,
        tape: object,
    ) -> bool | None:
        """Take a step with contiguous tensors, as `forward` does.

        None, if a tensor has another shape, dtype or class, is not contiguous or not on the CPU, or
        if the weights are not in the memory that was packed; nothing has been written then.
        """
    def backward(
        self,
        batch: int,
        tape: int,
        dh: int,
        dc: int,
        dgates: int,
        dx: int,
        dh_before: int,
        dc_before: int,
    ) -> None:
        """Write the gradients of a step; `dgates` has (batch, gradient_width) elements.

        0 stands for zeros in `dh` and `dc`, and for what is not wanted in the last three.
        """
    def weight_gradients(
        self, steps: list[tuple[int, int, int, int]], gradients: dict[str, FloatArray]
    ) -> None:
        """Write gradients summed over steps (batch, x, h, dgates) into the arrays, by name."""

class Fingerprints:
    """What remains of contiguous arrays, to notice that one has changed."""

    def __init__(self, arrays: list[FloatArray]) -> None: ...
    def match(self, arrays: list[FloatArray]) -> bool:
        """Tell whether these arrays hold the same bytes; False if one is not contiguous."""

class RnnConfig:
    """Sizes and options of a simple RNN."""

    def __init__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        go_backwards: bool = False,
        bias: bool = True,
        activation: str = "tanh",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None: ...
    def parameters(self) -> list[tuple[str, tuple[int, ...]]]: ...

class RnnTape:
    """What a training forward of a simple RNN stores for its one backward."""

    @property
    def ready(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def return_sequences(self) -> bool: ...
    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(N, T, D*H), with or without ``return_sequences``."""
    @property
    def state_shape(self) -> tuple[int, int, int]:
        """(layers*D, N, H)."""
    def new_gradients(self) -> dict[str, FloatArray]:
        """Return new arrays, not initialized, for the gradients of all weights, by name."""
    def parameters(self) -> list[tuple[str, tuple[int, ...]]]: ...
    def backward(
        self,
        dy: FloatArray | None,
        dh: FloatArray | None,
        need_x: bool = True,
        need_state: bool = True,
        weights: Mapping[str, FloatArray] | None = None,
    ) -> tuple[FloatArray | None, FloatArray | None]:
        """Return dx and dh; write the gradients of the weights into the arrays of `weights`."""

class Rnn:
    """Packed weights of a simple RNN; immutable."""

    def __init__(self, config: RnnConfig, weights: Mapping[str, FloatArray]) -> None: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def forward(
        self,
        x: FloatInput,
        h: FloatArray | None = None,
        lengths: IntArray | None = None,
        reset: BoolArray | None = None,
        mask: BoolArray | None = None,
        return_sequences: bool = True,
        training: bool = False,
        seed: int = 0,
        recompute: int = 0,
    ) -> tuple[FloatArray | None, FloatArray, RnnTape | None]: ...

class LstmTape:
    """What a training forward stores for its one backward.

    It comes from ``Lstm.forward``, or from ``Lstm.begin``, whose tapes accept steps.
    """

    @property
    def ready(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def return_sequences(self) -> bool: ...
    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(N, T, D*H), with or without ``return_sequences``."""
    @property
    def state_shape(self) -> tuple[int, int, int]:
        """(layers*D, N, H)."""
    def new_gradients(self) -> dict[str, FloatArray]:
        """Return new arrays, not initialized, for the gradients of all weights, by name."""
    def parameters(self) -> list[tuple[str, tuple[int, ...]]]: ...
    def step(self, x_t: FloatInput, reset: BoolArray | None = None) -> FloatArray:
        """Append a step x_t (N, C), and return y_t (N, H)."""
    def get_state(self) -> tuple[FloatArray, FloatArray]:
        """Return h and c (layers, N, H) after the last step."""
    def backward(
        self,
        dy: FloatArray | None,
        dh: FloatArray | None,
        dc: FloatArray | None,
        need_x: bool = True,
        need_state: bool = True,
        weights: Mapping[str, FloatArray] | None = None,
    ) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
        """Return dx, dh, dc for dy (N, T, D*H); weight gradients go to arrays in ``weights``."""

class LstmTangentTape:
    """What the forward of ``lstm_jvp`` stores for its one backward."""

    @property
    def ready(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def parameters(self) -> list[tuple[str, tuple[int, ...]]]: ...
    def backward(
        self,
        dy: FloatArray | None,
        dh: FloatArray | None,
        dc: FloatArray | None,
        dy_tangent: FloatArray | None,
        dh_tangent: FloatArray | None,
        dc_tangent: FloatArray | None,
        weights: Mapping[str, FloatArray] | None = None,
        weights_tangent: Mapping[str, FloatArray] | None = None,
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return dx, dh, dc and their tangents; weight gradients go to the mappings' arrays."""

def lstm_jvp(
    lstm: Lstm,
    x: FloatInput,
    h: FloatArray | None,
    c: FloatArray | None,
    lengths: IntArray | None,
    reset: BoolArray | None,
    mask: BoolArray | None,
    x_tangent: FloatInput | None,
    h_tangent: FloatArray | None,
    c_tangent: FloatArray | None,
    weights_tangent: Mapping[str, FloatArray] | None,
    training: bool,
    seed: int,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, LstmTangentTape]:
    """Return y (N, T, D*H), h, c (layers*D, N, H), their tangents and a tape."""

class LstmStream:
    def __init__(self, lstm: Lstm, batch_size: int = 1) -> None: ...
    def step(self, x: FloatInput, out: FloatArray | None = None) -> FloatArray:
        """Return the output (N, H) for x (N, C); if N is 1, also (H,) for (C,)."""
    def reset(self, row: int | None = None) -> None: ...
    def get_state(self) -> tuple[FloatArray, FloatArray]: ...
    def set_state(self, h: FloatArray, c: FloatArray) -> None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

# Training operations; shapes and formulas as in cpp/include/lstmcore/ops.hpp. Inputs may be strided
# (they are made contiguous), integers of any integer type; arrays that are written (``out``,
# parameters, optimizer slots) must be C-contiguous and writable. Where ops.hpp has flat vectors
# (dropout, optimizer steps, squared_norm, scale, clip), any shape will do, the same for all arrays.
def embedding_forward(table: FloatArray, ids: IntArray) -> FloatArray: ...
def embedding_backward(ids: IntArray, dy: FloatArray, out: FloatArray) -> None: ...
def dense_forward(
    x: FloatArray, kernel: FloatArray, bias: FloatArray | None, activation: str
) -> FloatArray: ...
def dense_backward(
    x: FloatArray,
    kernel: FloatArray,
    y: FloatArray,
    dy: FloatArray,
    activation: str,
    need_x: bool,
    dkernel: FloatArray | None,
    dbias: FloatArray | None,
) -> FloatArray | None: ...
def softmax_cross_entropy(
    logits: FloatArray,
    targets: FloatArray | IntArray,
    weights: FloatArray | None,
    scale: float,
    need_gradient: bool,
) -> tuple[float, FloatArray | None]: ...
def mean_squared_error(
    prediction: FloatArray,
    target: FloatArray,
    weights: FloatArray | None,
    scale: float,
    need_gradient: bool,
) -> tuple[float, FloatArray | None]: ...
def ctc(
    logits: FloatArray,
    lengths: IntArray | None,
    targets: IntArray,
    target_lengths: IntArray,
    blank: int,
    weights: FloatArray | None,
    zero_infinite: bool,
    scale: float,
    need_gradient: bool,
) -> tuple[float, FloatArray | None]: ...
def dropout(x: FloatArray, rate: float, seed: int) -> FloatArray: ...
def mask_seed(seed: int, kind: str, cell: int) -> int:
    """Return the seed of the random stream of one kind of mask of an LSTM."""

def max_over_time_forward(
    x: FloatArray, lengths: IntArray | None
) -> tuple[FloatArray, npt.NDArray[np.int64]]: ...
def max_over_time_backward(argmax: IntArray, dy: FloatArray, steps: int) -> FloatArray: ...
def mean_over_time_forward(x: FloatArray, lengths: IntArray | None) -> FloatArray: ...
def mean_over_time_backward(lengths: IntArray | None, dy: FloatArray, steps: int) -> FloatArray: ...
def attention_forward(
    keys: FloatArray,
    queries: FloatArray,
    values: FloatArray,
    v: FloatArray | None,
    scale: float,
    lengths: IntArray | None,
    query_lengths: IntArray | None,
) -> tuple[FloatArray, FloatArray]:
    """Return context (N, S, C) and weights (N, S, T)."""

def attention_backward(
    keys: FloatArray,
    queries: FloatArray,
    values: FloatArray,
    v: FloatArray | None,
    scale: float,
    lengths: IntArray | None,
    query_lengths: IntArray | None,
    weights: FloatArray,
    dcontext: FloatArray,
    dv: FloatArray | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return dkeys, dqueries and dvalues."""

def window_counts(
    steps: IntArray, size: int, strides: int, padding: str, dilation_rate: int
) -> npt.NDArray[np.int64]:
    """Return the number of windows of sequences of the given numbers of steps."""

def conv1d_forward(
    x: FloatArray,
    lengths: IntArray | None,
    kernel: FloatArray,
    bias: FloatArray | None,
    strides: int,
    padding: str,
    dilation_rate: int,
    activation: str,
) -> FloatArray: ...
def conv1d_backward(
    x: FloatArray,
    lengths: IntArray | None,
    kernel: FloatArray,
    y: FloatArray,
    dy: FloatArray,
    strides: int,
    padding: str,
    dilation_rate: int,
    activation: str,
    need_x: bool,
    dkernel: FloatArray | None,
    dbias: FloatArray | None,
) -> FloatArray | None: ...

class PackedConv1d:
    """A convolution with a packed kernel (K, C, F); same bits as ``conv1d_forward``."""

    def __init__(
        self,
        kernel: FloatArray,
        bias: FloatArray | None = None,
        strides: int = 1,
        dilation_rate: int = 1,
        activation: str = "linear",
    ) -> None: ...
    def forward(self, x: FloatArray, before: int = 0, after: int = 0) -> FloatArray:
        """Return y (N, windows, F) for x (N, T, C), with zeros before and after each sequence."""

def max_pool1d_forward(
    x: FloatArray, lengths: IntArray | None, pool_size: int, strides: int, padding: str
) -> tuple[FloatArray, npt.NDArray[np.int64]]: ...
def max_pool1d_backward(argmax: IntArray, dy: FloatArray, steps: int) -> FloatArray: ...
def layer_norm_forward(
    x: FloatArray,
    lengths: IntArray | None,
    gain: FloatArray | None,
    shift: FloatArray | None,
    epsilon: float,
) -> tuple[FloatArray, FloatArray]: ...
def layer_norm_backward(
    x: FloatArray,
    lengths: IntArray | None,
    gain: FloatArray | None,
    moments: FloatArray,
    dy: FloatArray,
    need_x: bool,
    dgain: FloatArray | None,
    dshift: FloatArray | None,
) -> FloatArray | None: ...
def sgd_step(
    parameter: FloatArray,
    gradient: FloatArray,
    velocity: FloatArray | None,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
) -> None: ...
def rmsprop_step(
    parameter: FloatArray,
    gradient: FloatArray,
    mean_square: FloatArray,
    learning_rate: float,
    rho: float,
    epsilon: float,
) -> None: ...
def adam_step(
    parameter: FloatArray,
    gradient: FloatArray,
    m: FloatArray,
    v: FloatArray,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None: ...
def squared_norm(values: FloatArray) -> float: ...
def scale(values: FloatArray, factor: float) -> None: ...
def clip(values: FloatArray, limit: float) -> None: ...

class TapeStore:
    """Stores tapes by number, up to a number of tapes and of bytes: the oldest are released first.

    The newest is stored whatever its size. Numbers follow each other from `first_number` on.
    """

    most_tapes: int
    most_bytes: int

    def __init__(self, most_tapes: int, most_bytes: int, first_number: int) -> None: ...
    def put(self, tape: LstmTape) -> int:
        """Store `tape` and return its number."""

    def take(self, number: int) -> LstmTape | None:
        """Return the tape with this number, which is no longer stored; None if there is none."""

    def clear(self) -> None: ...
    def stored(self) -> tuple[int, int]:
        """Return how many tapes are stored, and their bytes."""

class ForeignPlan:
    """What a program of XLA's says about its calls besides their arrays.

    The sizes in `config` are not used. `allowed` may be set to False, which leaves all calls to
    Python; `count` is the number of forwards without it.
    """

    allowed: bool

    def __init__(
        self,
        config: LstmConfig,
        operands: Sequence[str],
        wanted: Sequence[str],
        time_major: bool,
        sequences: bool,
    ) -> None: ...
    @property
    def count(self) -> int: ...

_Foreign = Callable[[bytes, list[Any], list[Any]], None]

def foreign_function(function: _Foreign) -> Any:
    """Return a capsule with a function of XLA's typed foreign function interface.

    It calls `function` with the text that is a call's only attribute, the operands and the results,
    which share XLA's memory. An exception becomes an error of XLA's. There can be eight such
    functions, of this kind and the kinds below.
    """

def foreign_record(
    function: _Foreign, plan_of: Callable[[bytes], ForeignPlan], tapes: TapeStore
) -> Any:
    """Return the same for a forward that records a tape, which needs no GIL.

    `plan_of` is called with each new text. Calls that C++ cannot compute go to `function`.
    """

def foreign_backward(
    function: _Foreign, plan_of: Callable[[bytes], ForeignPlan], tapes: TapeStore
) -> Any:
    """Return the same for the backward of such a forward."""

class Capture:
    """What the file of a capture holds; cpp/include/lstmcore/capture.hpp describes it."""

    def __init__(self, contents: bytes) -> None: ...
    @property
    def format(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> float:
        """0.0 if the file does not say."""

    @property
    def input_size(self) -> int: ...
    @property
    def skip(self) -> bool: ...
    @property
    def input_gain(self) -> float: ...
    @property
    def output_gain(self) -> float: ...
    @property
    def levels(self) -> tuple[float | None, float | None, float | None]:
        """Loudness, input level and output level."""

    @property
    def layers(self) -> list[tuple[str, dict[str, npt.NDArray[np.float32]]]]:
        """Of every layer, "lstm" or the activation of a dense layer, and its arrays by name."""

most_capture_bytes: int

class CaptureStream:
    def __init__(self, capture: Capture) -> None: ...
    def process(self, x: FloatInput) -> npt.NDArray[np.float32]: ...
    def set_control(self, index: int, value: float) -> None: ...
    def reset(self) -> None: ...
    def settle(self, count: int) -> None: ...
