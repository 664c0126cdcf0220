"""The model that turns sequences into sequences, trained and used in Keras' words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import Configurable, describe_arguments
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
    Verbose,
    choices,
)
from lstmcore.config import MAX_LAYERS
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.models.encoder_decoder.network import Beams, Coder, Context, check_share
from lstmcore.models.encoder_decoder.pairs import (
    BATCH_RANK,
    Pair,
    PairExamples,
    pair_examples,
    source_chunks,
    target_rows,
    token_rows,
)
from lstmcore.models.encoder_decoder.search import Hypothesis, beam_search, log_softmax
from lstmcore.models.encoder_decoder.tokens import forbidden_ids, token_texts
from lstmcore.models.stored import Stored
from lstmcore.precision import checked, in_force
from lstmcore.training import loop, losses
from lstmcore.training.compiled import Metrics
from lstmcore.training.data import Ragged, batch_rows, explain_lists
from lstmcore.training.losses import LossLike
from lstmcore.training.optimizers import Optimizer
from lstmcore.training.progress import with_bar
from lstmcore.training.samples import Samples
from lstmcore.training.schedules import Schedule

__all__ = ["EncoderDecoder"]


class EncoderDecoder(Stored, Configurable):
    """Sequences to sequences: translation, spelling, normalization (Sutskever et al. 2014).

    An encoder LSTM reads the source; a decoder LSTM starts from the encoder's last state and
    outputs the target token by token, attending to all outputs of the encoder.

    Parameters
    ----------
    source_vocabulary, target_vocabulary : int
        Numbers of ids, including 0, the start and the end token.
    embedding_size : int, default 64
        Width of the vectors of tokens, on both sides.
    units : int, default 128
        Width of the decoder, and of each direction of the encoder.
    num_layers : int, default 1
        Stacked layers of encoder and decoder.
    bidirectional : bool, default False
        Whether the encoder also reads from the end. The last states of both directions then go
        through a `Dense` layer for each h, with tanh, and each c of the decoder.
    attention : {"multiplicative", "additive"} or None, default "multiplicative"
        "multiplicative": each output of the decoder attends to the encoder's outputs (Luong, Pham &
        Manning 2015), so that training runs all steps in one call. "additive": the state before
        each step attends, and the context is an input of the step (Bahdanau, Cho & Bengio 2015),
        so that each step is a call. None: the decoder knows only the encoder's last state.
    attention_units : int, optional
        Width of the space in which additive attention compares; None: `units`.
    attention_scale : bool, default False
        See `Attention`.
    dropout : float, default 0.0
        Share of the token vectors, of the decoder's outputs and of the values between stacked
        layers that is dropped in training, in [0, 1).
    scheduled_sampling : float or Schedule, default 0.0
        Probability in training that the decoder reads its own prediction in place of a token of the
        target (Bengio et al. 2015). A schedule is called with the number of the epoch, so
        ``Warmup(0.25, 10)`` rises from 0 to 0.25 over ten epochs. Predictions are made without
        dropout, and no gradient passes through them.
    start, end : int, default 1 and 2
        Tokens that the model itself puts before and after each target.
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
    Id 0 is padding, in sources and targets. Sources and targets are lists of rows of ids, or arrays
    padded with 0 on the right; pass targets *without* start and end token. The model shifts them:
    the decoder reads the start token and the target, and its labels are the target and the end
    token. Padding takes no part in attention, losses and metrics.
    """

    _left_out_if_none = ("precision",)

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        embedding_size: int = 64,
        units: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        attention: AttentionKind | None = "multiplicative",
        attention_units: int | None = None,
        attention_scale: bool = False,
        dropout: float = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        start: int = 1,
        end: int = 2,
        precision: Precision | None = None,
        seed: int = 0,
        dtype: DType = "float32",
    ) -> None:
        super().__init__(seed, dtype)
        self.source_vocabulary = _checks.integer(source_vocabulary, "source_vocabulary", 2)
        self.target_vocabulary = _checks.integer(target_vocabulary, "target_vocabulary", 3)
        self.embedding_size = _checks.integer(embedding_size, "embedding_size", 1)
        self.units = _checks.integer(units, "units", 1)
        self.num_layers = _checks.integer(num_layers, "num_layers", 1)
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )
        self.bidirectional = _checks.flag(bidirectional, "bidirectional")
        if attention is not None:
            _checks.choice(attention, "attention", choices(AttentionKind))
        self.attention: AttentionKind | None = attention
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
        self.dropout = _checks.real(dropout, "dropout", 0.0, 1.0, high_open=True)
        self.scheduled_sampling = (
            scheduled_sampling
            if isinstance(scheduled_sampling, Schedule)
            else check_share(scheduled_sampling)
        )
        self.start, self.end = self._special(start, "start"), self._special(end, "end")
        if self.start == self.end:
            raise ValueError(f"end: expected another token than start, got {self.end} for both")
        self.precision = checked(precision)
        in_force(self.precision, self.dtype)
        self._sampling_epoch = 0
        self._coder = Coder(
            self.source_vocabulary,
            self.target_vocabulary,
            self.embedding_size,
            self.units,
            self.num_layers,
            self.bidirectional,
            self.attention,
            self.attention_units,
            self.attention_scale,
            self.dropout,
            self.precision,
        )
        self._target_tokens: list[str] | None = None
        self._layers = self._coder.layers()
        self._specs = self._coder.plan()

    def _special(self, token: int, name: str) -> int:
        token = _checks.integer(token, name, 1)
        if token >= self.target_vocabulary:
            raise ValueError(
                f"{name}: expected a token in 1..{self.target_vocabulary - 1}, got {token}"
            )
        return token

    @property
    def target_tokens(self) -> list[str] | None:
        """The texts of the target ids, in their order from 0; saved with the model.

        For example `get_vocabulary` of the targets' `TextVectorization`: a text for each id, except
        that the start and the end token need none if they are the last ids. None if it was not set.
        `decode` and `predict` accept these texts as `forbidden`, and never output "[UNK]" if it is
        among them.
        """
        return None if self._target_tokens is None else list(self._target_tokens)

    @target_tokens.setter
    def target_tokens(self, tokens: Sequence[str] | None) -> None:
        self._target_tokens = (
            None
            if tokens is None
            else token_texts(tokens, self.target_vocabulary, self.start, self.end)
        )

    # ---- structure ---------------------------------------------------------------------------

    def _why_fixed(self, name: str) -> str | None:
        return None if name == "scheduled_sampling" else super()._why_fixed(name)

    def _plan(self) -> dict[str, WeightSpec]:
        """List the weights by full name; nothing is allocated yet."""
        return self._specs

    @property
    def built(self) -> bool:
        """True: all widths are known from the start."""
        return True

    @property
    def parameters(self) -> Parameters:
        """All weights in one flat array, and all gradients; made at the first access."""
        if self._parameters is None:
            self._parameters = self._make_parameters(self._specs)
        return self._parameters

    def _build_to_fill(self) -> None:
        """Make `parameters` without initial values, for a caller that fills in all weights next."""
        self._parameters = self._make_parameters(self._specs, initialize=False)

    @property
    def output_shape(self) -> Shape:
        """(None, None, V): probabilities of all tokens of the target's vocabulary at every step."""
        return (None, None, self.target_vocabulary)

    def _layer_shapes(self) -> list[Shape | None]:
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
            inputs, lengths, training, seed, logits, share, (self.start,)
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
        pair = Pair(sources.padded(), sources.lengths, given.padded())
        return self.forward(pair, given.lengths, training, seed, False)[0]

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
        return BATCH_RANK

    def _output_rows(self, x: Any, y: Any, batch_size: int, mask: Any) -> Array:
        """Compute the probabilities at all steps of the targets; see `Model._output_rows`."""
        self._check_no_mask(mask)
        return loop.output_rows(self, self._pair_examples(x, y), batch_size, False)

    # ---- decoding ----------------------------------------------------------------------------

    @suggests
    def decode(
        self,
        x: Inputs,
        beam_width: int = 1,
        *,
        max_length: int | None = None,
        length_penalty: float = 0.6,
        forbidden: int | str | Sequence[int | str] | None = None,
        return_attention: bool = False,
        batch_size: int = 32,
        verbose: Verbose = 0,
    ) -> list[list[Hypothesis]]:
        """Find the likeliest targets by beam search.

        Parameters
        ----------
        x : array_like, or list of array_like
            Sources; see `EncoderDecoder`.
        beam_width : int, default 1
            How many hypotheses are followed at once; 1 is greedy decoding.
        max_length : int, optional
            The most tokens of a target, not counting the end token. None: twice the length of its
            source plus ten.
        length_penalty : float, default 0.6
            Hypotheses are ranked by their log-probability divided by ``((6 + S) / 6)`` to this
            power, for S tokens (Wu et al. 2016). 0 ranks by probability alone, which favours short
            ones. With a width of 1 it changes nothing.
        forbidden : int, str, or sequence of int or str, optional
            Tokens that are never output, besides padding and the start token: ids, or texts of
            `target_tokens`. None: the unknown token, "[UNK]", if `target_tokens` has it. ``()``: no
            others.
        return_attention : bool, default False
            Whether the hypotheses hold the attention weights of their tokens.
        batch_size : int, default 32
            Sources decoded together. Changes the speed, not the result.
        verbose : {0, 1, 2, "auto"}
            As in `Sequential.predict`.

        Returns
        -------
        list of list of Hypothesis
            For each source at most `beam_width`, the best first.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or `return_attention` is True without attention.
        """
        width = _checks.integer(beam_width, "beam_width", 1)
        if max_length is not None:
            max_length = _checks.integer(max_length, "max_length", 1)
        penalty = _checks.real(length_penalty, "length_penalty", 0.0)
        barred = forbidden_ids(
            forbidden, self._target_tokens, self.target_vocabulary, self.start, self.end
        )
        batch_size = _checks.integer(batch_size, "batch_size", 1)
        if _checks.flag(return_attention, "return_attention") and self.attention is None:
            raise ValueError("return_attention: expected False, since the model has no attention")
        assert self.parameters is not None
        sources = x if isinstance(x, Ragged) else token_rows(x, "x", self.source_vocabulary)
        results: list[list[Hypothesis]] = [[]] * len(sources)
        numbers = np.arange(len(sources))
        batches = batch_rows(len(sources), batch_size, sources.lengths, None, bucket=True)
        total = -(-len(sources) // batch_size)
        for rows in with_bar(batches, total, "Decode", verbose):
            chosen = sources.take(rows)
            encoded, _ = self._coder.encode(chosen.padded(), chosen.lengths, False, 0)
            limits = 2 * chosen.lengths + 10
            if max_length is not None:
                limits = np.full_like(limits, max_length)
            found = beam_search(
                self._coder.step,
                Beams.begin(encoded, width),
                limits,
                chosen.lengths,
                beam_width=width,
                length_penalty=penalty,
                start=self.start,
                end=self.end,
                forbidden=barred,
                keep_attention=return_attention,
            )
            for number, hypotheses in zip(numbers[rows], found, strict=True):
                results[number] = hypotheses
        return results

    @suggests
    def predict(
        self,
        x: Inputs,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        *,
        steps: int | None = None,
        beam_width: int = 1,
        max_length: int | None = None,
        length_penalty: float = 0.6,
        forbidden: int | str | Sequence[int | str] | None = None,
    ) -> list[Array]:
        """Find the target of each source: the best hypothesis of `decode`.

        Parameters
        ----------
        x, beam_width, max_length, length_penalty, forbidden
            As in `decode`; `x` may also yield batches, as in `Model.fit` or of sources alone.
        batch_size : int, optional
            As in `decode`; None: 32. It cannot be combined with batches.
        verbose : {0, 1, 2, "auto"} or bool
            As in `Sequential.predict`.
        steps : int, optional
            How many batches to read, from the first on; None: all.

        Returns
        -------
        list of ndarray of int64, each of shape (S_i,)
            Without start and end token.
        """
        found = [
            hypotheses
            for chunk in source_chunks(x, self.source_vocabulary, batch_size, steps, verbose)
            for hypotheses in self.decode(
                chunk.sources,
                beam_width,
                max_length=max_length,
                length_penalty=length_penalty,
                forbidden=forbidden,
                batch_size=chunk.batch_size,
                verbose=chunk.verbose,
            )
        ]
        nothing = np.zeros(0, np.int64)
        return [hypotheses[0].tokens if hypotheses else nothing for hypotheses in found]

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
        super().compile(optimizer, loss, metrics, weighted_metrics)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal model; see `Configurable`."""
        given = [name for name in arguments(type(self)) if name != "dtype"]
        return {**describe_arguments(self, given), "dtype": self.dtype.name}

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
        if self.target_tokens is not None:
            document["target_tokens"] = self.target_tokens
        return document

    # ---- checks ------------------------------------------------------------------------------

    def _pairs(self, x: Any, y: Any) -> tuple[Ragged, tuple[Ragged, Ragged]]:
        with explain_lists(x):
            sources = token_rows(x, "x", self.source_vocabulary)
        if y is None:
            raise ValueError("y: expected targets, got None")
        targets = target_rows(y, "y", self.target_vocabulary, self.start, self.end)
        if len(sources) != len(targets[0]):
            raise ValueError(f"y: expected {len(sources)} entries like x, got {len(targets[0])}")
        return sources, targets

    def _pair_examples(self, x: Any, y: Any) -> PairExamples:
        """Check pairs without weights, apart from any loss."""
        sources, (given, labels) = self._pairs(x, y)
        return PairExamples(sources, sources.lengths + given.lengths, labels, given=given)

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
        sources, targets = self._pairs(samples.x, samples.y)
        if len(sources) == 0:
            raise ValueError("x: expected at least one sample, got none")
        return pair_examples(
            sources,
            targets,
            self.target_vocabulary,
            loss,
            self.dtype,
            samples.sample_weight,
            samples.class_weight,
            intake,
        )
