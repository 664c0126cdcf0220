"""The model that turns sequences into sequences, trained and used in Keras' words."""

from typing import Any, Literal

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import Configurable, describe_arguments, one_line
from lstmcore._intake import Intake
from lstmcore._options import arguments
from lstmcore._suggest import suggests
from lstmcore._typing import (
    Array,
    AttentionKind,
    DType,
    Inputs,
    OptimizerName,
    Precision,
    Shape,
)
from lstmcore.config import MAX_LAYERS
from lstmcore.layers import TextVectorization
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.models.encoder_decoder.decoding import Decoding
from lstmcore.models.encoder_decoder.network import Coder, Context, check_share
from lstmcore.models.encoder_decoder.pairs import Pair, PairExamples, pair_examples, pair_of
from lstmcore.models.encoder_decoder.search import log_softmax
from lstmcore.models.encoder_decoder.sides import (
    NO_VOCABULARY,
    check_attention,
    make_source,
    make_target,
)
from lstmcore.models.encoder_decoder.structure import PLACEHOLDER, Structure
from lstmcore.precision import checked, in_force
from lstmcore.training import loop, losses
from lstmcore.training.compiled import Metrics
from lstmcore.training.data import batch_rows
from lstmcore.training.losses import LossLike
from lstmcore.training.optimizers import Optimizer
from lstmcore.training.samples import Samples
from lstmcore.training.schedules import Schedule

__all__ = ["EncoderDecoder"]

_NEWER = (
    "source",
    "target",
    "source_features",
    "source_vector",
    "tie_embeddings",
    "share_embeddings",
    "copying",
)
"""Options that files of earlier versions lack."""


class EncoderDecoder(Decoding, Configurable):
    """Sequences to sequences: translation, summaries, captions (Sutskever et al. 2014).

    An encoder LSTM reads the source; a decoder LSTM starts from the encoder's last state and
    outputs the target token by token, attending to all outputs of the encoder.

    Parameters
    ----------
    source_vocabulary, target_vocabulary : int, optional
        Numbers of ids, including 0, the start and the end token, if sources and targets are ids.
    source, target : TextVectorization, optional
        What turns sources and targets into ids, if they are texts; predictions are then texts too.
        Saved with the model. One that has no vocabulary yet gets it from `adapt`, or from the
        pairs of the first `fit`. The same one may serve both sides.
    source_features : int, optional
        C, if sources are sequences of numbers: an array (N, T, C) or a list of (T_i, C).
    source_vector : int, optional
        C, if each source is one vector of numbers, as of a picture: an array (N, C). There is no
        encoder then: the decoder's first h, with tanh, and first c are a `Dense` layer each of it.
        Of the four kinds of source exactly one is given.
    embedding_size : int, default 64
        Width of the vectors of tokens, on both sides.
    units : int, default 128
        Width of the decoder, and of each direction of the encoder.
    num_layers : int, default 1
        Stacked layers of encoder and decoder.
    bidirectional : bool, default False
        Whether the encoder also reads from the end. The last states of both directions then go
        through a `Dense` layer for each h, with tanh, and each c of the decoder.
    attention : {"auto", "multiplicative", "additive"} or None, default "auto"
        "multiplicative": each output of the decoder attends to the encoder's outputs (Luong, Pham &
        Manning 2015), so that training runs all steps in one call. "additive": the state before
        each step attends, and the context is an input of the step (Bahdanau, Cho & Bengio 2015),
        so that each step is a call. None: the decoder knows only its first state. "auto":
        "multiplicative", or None for `source_vector`, which has no steps to attend to.
    attention_units : int, optional
        Width of the space in which additive attention compares; None: `units`.
    attention_scale : bool, default False
        See `Attention`.
    tie_embeddings : bool, default False
        Whether the output is a product with the table of the target's embedding instead of a
        matrix of its own (Press & Wolf 2017); `embedding_size` is then `units`.
    share_embeddings : bool, default False
        Whether source and target have one embedding, and so one vocabulary.
    copying : bool, default False
        Whether the decoder may also copy tokens of the source, even those that its vocabulary
        lacks: the pointer-generator network (See, Liu & Manning 2017). Every step computes p from
        context, output and input; a token has p times its probability in the vocabulary plus
        1 - p times the attention of all its places in the source. Needs attention, and on both
        sides texts, or ids of one numbering with `source_vocabulary` at most `target_vocabulary`.
    dropout : float, default 0.0
        Share of the token vectors, of the decoder's outputs and of the values between stacked
        layers that is dropped in training, in [0, 1).
    scheduled_sampling : float or Schedule, default 0.0
        Probability in training that the decoder reads its own prediction in place of a token of the
        target (Bengio et al. 2015). A schedule is called with the number of the epoch, so
        ``Warmup(0.25, 10)`` rises from 0 to 0.25 over ten epochs. Predictions are made without
        dropout, and no gradient passes through them.
    start, end : int, optional
        Tokens that the model itself puts before and after each target. None: 1 and 2; with
        `target` the ids of its markers, or else the ids after its vocabulary.
    precision : str, optional
        Precision of the products of encoder and decoder; see `layers.LSTM`.
    seed : int, default 0
        Of everything random: initial values, dropout, sampling, order of the samples.
    dtype : {"float32", "float64"}
        Of all weights.

    Attributes
    ----------
    epoch, history, stop_training
        As in `Sequential`.

    Notes
    -----
    Ids: 0 is padding, in sources and targets. They are lists of rows of ids, or arrays padded with
    0 on the right; pass targets *without* start and end token. The model shifts them: the decoder
    reads the start token and the target, and its labels are the target and the end token. Padding
    takes no part in attention, losses and metrics.

    Texts: lists of str, or of lists of tokens. With `copying`, a source's words that the target's
    vocabulary lacks have the ids from `target_vocabulary` on, in their order in that source.
    """

    _left_out_if_none = (
        "precision",
        "source_vocabulary",
        "target_vocabulary",
        "start",
        "end",
        *_NEWER,
    )
    _default_attention = "multiplicative"
    _default_start, _default_end = 1, 2

    def __init__(
        self,
        source_vocabulary: int | None = None,
        target_vocabulary: int | None = None,
        *,
        source: TextVectorization | None = None,
        target: TextVectorization | None = None,
        source_features: int | None = None,
        source_vector: int | None = None,
        embedding_size: int = 64,
        units: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        attention: AttentionKind | Literal["auto"] | None = "auto",
        attention_units: int | None = None,
        attention_scale: bool = False,
        tie_embeddings: bool = False,
        share_embeddings: bool = False,
        copying: bool = False,
        dropout: float = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        start: int | None = None,
        end: int | None = None,
        precision: Precision | None = None,
        seed: int = 0,
        dtype: DType = "float32",
    ) -> None:
        super().__init__(seed, dtype)
        self._source = make_source(source_vocabulary, source, source_features, source_vector)
        self._target = make_target(target_vocabulary, target, start, end)
        self.source, self.target = source, target
        self.source_features, self.source_vector = source_features, source_vector
        self.embedding_size = _checks.integer(embedding_size, "embedding_size", 1)
        self.units = _checks.integer(units, "units", 1)
        self.num_layers = _checks.integer(num_layers, "num_layers", 1)
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )
        self.bidirectional = _checks.flag(bidirectional, "bidirectional")
        if self.bidirectional and source_vector is not None:
            raise ValueError(
                "bidirectional: expected False with source_vector, which no encoder reads, got True"
            )
        self.attention: AttentionKind | None = check_attention(attention, self._source.kind)
        self.attention_units = (
            None
            if attention_units is None
            else _checks.integer(attention_units, "attention_units", 1)
        )
        if self.attention_units is not None and self.attention != "additive":
            raise ValueError(
                f"attention_units: expected None with attention={self.attention!r}, "
                f"got {self.attention_units}"
            )
        self.attention_scale = _checks.flag(attention_scale, "attention_scale")
        if self.attention_scale and self.attention != "multiplicative":
            raise ValueError(
                f"attention_scale: expected False with attention={self.attention!r}, got True"
            )
        self.tie_embeddings = _checks.flag(tie_embeddings, "tie_embeddings")
        if self.tie_embeddings and self.embedding_size != self.units:
            raise ValueError(
                f"embedding_size: expected units, {self.units}, with tie_embeddings, whose table "
                f"also meets the decoder's outputs, got {self.embedding_size}"
            )
        self.share_embeddings = _checks.flag(share_embeddings, "share_embeddings")
        self.copying = _checks.flag(copying, "copying")
        self.dropout = _checks.real(dropout, "dropout", 0.0, 1.0, high_open=True)
        self.scheduled_sampling = (
            scheduled_sampling
            if isinstance(scheduled_sampling, Schedule)
            else check_share(scheduled_sampling)
        )
        self.precision = checked(precision)
        in_force(self.precision, self.dtype)
        self._sampling_epoch = 0
        self._check_sides()
        self._target_tokens: list[str] | None = None
        self._coder = Coder(self._make_structure())
        self._layers = self._coder.layers()
        self._specs = self._coder.plan() if self._knows_vocabularies else None

    def _make_structure(self) -> Structure:
        return Structure(
            self._source.kind,
            self._source.width or PLACEHOLDER,
            self._target.vocabulary or PLACEHOLDER,
            self.embedding_size,
            self.units,
            self.num_layers,
            self.bidirectional,
            self.attention,
            self.attention_units,
            self.attention_scale,
            self.dropout,
            self.precision,
            self.tie_embeddings,
            self.share_embeddings,
            self.copying,
        )

    # ---- structure ---------------------------------------------------------------------------

    def _why_fixed(self, name: str) -> str | None:
        return None if name == "scheduled_sampling" else super()._why_fixed(name)

    def _plan(self) -> dict[str, WeightSpec]:
        """List the weights by full name; nothing is allocated yet."""
        if self._specs is None:
            raise ValueError(NO_VOCABULARY)
        return self._specs

    @property
    def built(self) -> bool:
        """Whether all widths are known: from the start, unless a vocabulary is to be learnt."""
        return self._specs is not None

    @property
    def parameters(self) -> Parameters:
        """All weights in one flat array, and all gradients; made at the first access."""
        if self._parameters is None:
            self._parameters = self._make_parameters(self._plan())
        return self._parameters

    def _build_to_fill(self) -> None:
        """Make `parameters` without initial values, for a caller that fills in all weights next."""
        self._parameters = self._make_parameters(self._plan(), initialize=False)

    @property
    def output_shape(self) -> Shape:
        """(None, None, V): probabilities of all tokens of the target's vocabulary at every step."""
        return (None, None, self._target.vocabulary)

    def _layer_shapes(self) -> list[Shape | None]:
        if not self.built:
            return [None] * len(self.layers)
        assert self.parameters is not None  # all layers are bound to them
        return [layer.build(layer.input_shape or ()) for layer in self.layers]

    # ---- computation -------------------------------------------------------------------------

    def _become_quantized(self) -> None:
        """Also change the option `precision`; see `Weighted._become_quantized`."""
        super()._become_quantized()
        object.__setattr__(self, "precision", "int8")  # which no user can set

    def _begin_epoch(self, epoch: int) -> None:
        """Note the number of the epoch, for `scheduled_sampling`."""
        self._sampling_epoch = epoch

    def sampling_probability(self, epoch: int) -> float:
        """Return the probability of scheduled sampling in an epoch, counted from 0."""
        chosen = self.scheduled_sampling
        return check_share(chosen(epoch)) if isinstance(chosen, Schedule) else chosen

    def forward(
        self, inputs: Pair, lengths: Array | None, training: bool, seed: int, logits: bool
    ) -> tuple[Array, Array | None, Context | None]:
        """Compute the outputs for one checked batch of pairs; the decoder reads the targets.

        Parameters
        ----------
        inputs : Pair
        lengths : ndarray of int64, shape (N,)
            Steps of the decoder: each target's length and one.
        training : bool
            Whether dropout and scheduled sampling are applied and a context is returned.
        seed : int
            Seeds both.
        logits : bool
            Whether the softmax is skipped.

        Returns
        -------
        outputs : ndarray, shape (N, S, V)
        lengths : ndarray of int64, shape (N,)
        context : Context or None
            For `backward`.
        """
        assert self.parameters is not None
        assert lengths is not None
        share = self.sampling_probability(self._sampling_epoch) if training else 0.0
        outputs, context = self._coder.forward(
            inputs, lengths, training, seed, logits, share, (self._target.known[1],)
        )
        return outputs, lengths, context

    def backward(self, contexts: Any, dy: Array) -> None:
        """Write the gradients of all trained weights to ``parameters.gradients``."""
        self._follow_trainable()
        self._coder.backward(contexts, dy)

    def __call__(self, x: Inputs, y: Inputs, *, training: bool = False, seed: int = 0) -> Array:
        """Compute the probability of each token of the targets after the tokens before it.

        Parameters
        ----------
        x, y : array_like, or list of array_like
            Sources and targets; see `EncoderDecoder`.
        training : bool, default False
            Whether dropout and scheduled sampling are applied.
        seed : int, default 0
            Seeds both.

        Returns
        -------
        ndarray, shape (N, S, V)
            Of the token of each place, the end token being the last; S is the longest target's
            length and one.
        """
        sources, (given, _) = self._pairs(x, y)
        return self.forward(pair_of(sources, given), given.lengths, training, seed, False)[0]

    def log_probabilities(self, x: Inputs, y: Inputs, batch_size: int = 32) -> Array:
        """Compute how likely each target is, given its source.

        Parameters
        ----------
        x, y : array_like, or list of array_like
            Sources and targets; see `EncoderDecoder`.
        batch_size : int, default 32
            Changes the speed, not the result.

        Returns
        -------
        ndarray of float64, shape (N,)
            Natural logarithms of the probability of all tokens of a target and the end token.
        """
        batch_size = _checks.integer(batch_size, "batch_size", 1)
        examples = self._pair_examples(x, y)
        result = np.zeros(len(examples))
        for rows in batch_rows(len(examples), batch_size, examples.lengths, None, bucket=True):
            batch = examples.batch(rows)
            logits, lengths, _ = self.forward(batch.inputs, batch.lengths, False, 0, True)
            assert lengths is not None
            assert batch.targets is not None
            logs = np.take_along_axis(log_softmax(logits), batch.targets[..., None], 2)[..., 0]
            # Row by row, so that the padding of the batch does not show in the sum's last bits.
            result[rows] = [row[:length].sum() for row, length in zip(logs, lengths, strict=True)]
        return result

    @property
    def _batch_rank(self) -> int:
        return self._source.rank

    def _output_rows(self, x: Any, y: Any, batch_size: int, mask: Any) -> Array:
        """Compute the probabilities at all steps of the targets; see `Model._output_rows`."""
        self._check_no_mask(mask)
        return loop.output_rows(self, self._pair_examples(x, y), batch_size, False)

    # ---- training ----------------------------------------------------------------------------

    @suggests
    def compile(
        self,
        optimizer: Optimizer | OptimizerName | None = "adam",
        loss: LossLike | None = "sparse_categorical_crossentropy",
        metrics: Metrics = None,
        weighted_metrics: Metrics = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : Optimizer or {"sgd", "rmsprop", "adam", "adamw"}
            None for a quantized model, and only for that.
        loss : Loss or str, default "sparse_categorical_crossentropy"
            One whose targets are class numbers: the tokens.
        metrics : Metric, str, Loss or callable, or a sequence of them, optional
            "accuracy" is the share of tokens, including the end token, that are the likeliest after
            the tokens before them.
        weighted_metrics : as `metrics`, optional
            Metrics weighted by `sample_weight` and `class_weight`, as the loss is.

        Raises
        ------
        ValueError
            If a name is unknown or things do not fit.
        """
        if loss is not None and not losses.get(loss).labels:
            raise ValueError(
                "loss: expected one whose targets are tokens, such as "
                f"'sparse_categorical_crossentropy', got {loss!r}"
            )
        if (
            self.copying
            and loss is not None
            and getattr(losses.get(loss), "label_smoothing", False)
        ):
            raise ValueError(
                "label_smoothing: expected 0 with copying, since a source's words are not all the "
                f"words there are, got {loss!r}"
            )
        super().compile(optimizer, loss, metrics, weighted_metrics)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal model; see `Configurable`."""
        given = [name for name in arguments(type(self)) if name != "dtype"]
        config = {**describe_arguments(self, given), "dtype": self.dtype.name}
        for name in _NEWER:
            if config.get(name) is False:  # as older versions wrote it
                del config[name]
        return {name: value for name, value in config.items() if name not in self._derived()}

    def _derived(self) -> dict[str, None]:
        """Return the arguments that follow from vectorizers, with what the caller passed."""
        names = ["source_vocabulary"] if self.source is not None else []
        names += ["target_vocabulary", "start", "end"] if self.target is not None else []
        return dict.fromkeys(names)

    def __repr__(self) -> str:
        return one_line(self, self._derived())

    def _document(self) -> dict[str, Any]:
        """Return what a model file says about the model."""
        config = self.get_config()
        del config["seed"], config["dtype"]  # which a file holds for every model
        document: dict[str, Any] = {
            "encoder_decoder": {"class": "EncoderDecoder", "config": config}
        }
        self._follow_trainable()
        if frozen := [layer.name for layer in self.layers if not layer._trains]:
            document["frozen"] = frozen
        if self._target_tokens is not None:
            document["target_tokens"] = self._target_tokens
        return document

    # ---- checks ------------------------------------------------------------------------------

    def _check_no_mask(self, mask: Any) -> None:
        if mask is not None:
            raise ValueError(
                "mask: expected None for EncoderDecoder; leave masked steps out of the rows"
            )

    def _examples(self, samples: Samples, intake: Intake, windows: bool = False) -> PairExamples:
        loss = self.compiled.loss
        if windows:
            self._check_passes_state("tbptt")
        if samples.reset is not None:
            self._check_passes_state("reset")
        self._check_no_mask(samples.mask)
        sources, targets = self._pairs(samples.x, samples.y, intake)
        if len(sources) == 0:
            raise ValueError("x: expected at least one sample, got none")
        return pair_examples(
            sources,
            targets,
            self._target.known[0],
            loss,
            self.dtype,
            samples.sample_weight,
            samples.class_weight,
            intake,
        )
