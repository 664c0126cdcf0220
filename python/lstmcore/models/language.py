"""Language models: what comes next in a text."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import as_array
from lstmcore._files import check_source
from lstmcore._seeds import derive
from lstmcore._suggest import suggests
from lstmcore._typing import Array, DType, OnNan, OptimizerName, Verbose
from lstmcore.layers import LSTM, Dense, Embedding, Layer, TextVectorization, TiedDense
from lstmcore.layers.states import ModelState
from lstmcore.layers.texts import as_texts
from lstmcore.models.sequential import Sequential
from lstmcore.models.text_costs import SPELLING_BITS, spelling
from lstmcore.models.text_windows import TextWindows
from lstmcore.sampling import check_options, sample_each
from lstmcore.training.callbacks import Callback, History
from lstmcore.training.compiled import Metrics
from lstmcore.training.division import Distribution
from lstmcore.training.losses import LossLike
from lstmcore.training.optimizers import Optimizer

__all__ = ["LanguageModel", "Text"]

Text = str | os.PathLike[str] | Sequence[str]
"""A text, the path of a file with one, or texts."""

WINDOW = 64  # steps through which gradients pass
MOST_STEPS = 512  # of a call without gradients
MOST_LOGITS = 2**22  # that such a call computes


class _Score(NamedTuple):
    """How well texts were predicted."""

    surprise: float
    """Sum of -log p, natural, of all tokens that another precedes."""
    predicted: int
    """How many these are."""
    first: int
    """How many tokens none precedes: one for each text that does not begin with a marker."""


class LanguageModel(Sequential):
    """A model of the next token of a text, which it can continue.

    A `Sequential` of `vectorization`, an `Embedding`, `layers`, and an output for each token. It
    learns from running text with `fit_text`; states pass from token to token, so that it reads a
    text of any length and `generate` costs the same for every token.

    Parameters
    ----------
    vectorization : TextVectorization
        With a vocabulary, and without `output_sequence_length`. With `start` or `end`, these mark
        where a text begins and ends, which the model then learns too. The model uses a copy of it.
    layers : int or sequence of Layer, default 256
        The layers between embedding and output, which walk forwards step by step and return all
        steps, such as ``[LSTM(256, return_sequences=True), Dropout(0.3)]``. A number stands for one
        `LSTM` of as many units.
    embedding : int, optional
        E, the width of the embedding. None: that of the outputs of `layers`, which must not depend
        on it then.
    tie_weights : bool, default True
        Whether the output uses the embedding's vectors, by a `TiedDense` (Press & Wolf 2017). If
        the outputs of `layers` are not E wide, a `Dense` without a bias makes them so. False: a
        `Dense` with weights of its own.
    seed : int, default 0
        See `Sequential`.
    dtype : {"float32", "float64"}
        See `Sequential`.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If there is no vocabulary yet, or `layers` do not fit together, need more than one step for
        an output, or walk backwards.

    Notes
    -----
    Everything that a `Sequential` has works here too: `fit` on token ids, `predict`, `save` and
    `lstmcore.load`, callbacks, frozen layers. Inputs are texts, or integers (N, T): token ids.

    Examples
    --------
    >>> words = lc.layers.TextVectorization(split="raw_character", standardize=None)
    >>> words.adapt([text])
    >>> model = lc.LanguageModel(words, 256)
    >>> model.compile(lc.optimizers.Adam(2e-3))
    >>> model.fit_text(text, epochs=3)
    >>> model.generate("The ", 100, temperature=0.7)
    """

    def __init__(
        self,
        vectorization: TextVectorization,
        layers: int | Sequence[Layer] = 256,
        *,
        embedding: int | None = None,
        tie_weights: bool = True,
        seed: int = 0,
        dtype: DType = "float32",
    ) -> None:
        _checks.instance(vectorization, TextVectorization, "vectorization", "a TextVectorization")
        super().__init__([vectorization.copy()], seed=seed, dtype=dtype)
        hidden = (
            [LSTM(_checks.integer(layers, "layers", 1), return_sequences=True)]
            if isinstance(layers, (int, np.integer))
            else list(layers)
        )
        size = vectorization.vocabulary_size()
        tied = _checks.flag(tie_weights, "tie_weights")
        if embedding is None:
            embedding = _width(hidden)
        first = Embedding(size, _checks.integer(embedding, "embedding", 1), name="embedding")
        for layer in (first, *hidden):
            self.add(layer)
        self.build((None, None))
        if tied and self.output_shape[-1] != embedding:
            self.add(Dense(embedding, use_bias=False, name="projection"))
        self.add(
            TiedDense("embedding", "softmax", name="output")
            if tied
            else Dense(size, "softmax", name="output")
        )
        self._check_chain()

    @classmethod
    def _without_layers(cls, seed: int, dtype: DType) -> "LanguageModel":
        """Make one to which the layers of a file are added."""
        model = cls.__new__(cls)
        Sequential.__init__(model, seed=seed, dtype=dtype)
        return model

    def _check_chain(self) -> None:
        """Raise ValueError unless the layers are those of a language model."""
        words = self.vectorization
        if words.output_sequence_length is not None:
            raise ValueError(
                "vectorization: expected output_sequence_length=None, since a language model reads "
                f"texts of any length, got {words.output_sequence_length}"
            )
        self._check_passes_state("layers")
        size, shape = words.vocabulary_size(), self.output_shape
        if len(shape) != 3 or shape[-1] != size:
            raise ValueError(
                f"layers: expected an output for each of {size} tokens at every step, (N, T, "
                f"{size}), got {_checks.show_shape(shape)}"
            )

    @property
    def vectorization(self) -> TextVectorization:
        """The first layer, with the vocabulary."""
        if self.vectorizer is None:
            raise ValueError("layers: expected a TextVectorization first")
        return self.vectorizer

    @property
    def embedding(self) -> int:
        """E, the width of the embedding."""
        return int(self.get_layer("embedding").output_dim)  # type: ignore[attr-defined]

    @property
    def tie_weights(self) -> bool:
        """Whether the output uses the embedding's vectors."""
        return isinstance(self.layers[-1], TiedDense)

    def _document(self) -> dict[str, Any]:
        return {**super()._document(), "kind": type(self).__name__}

    # ---- training -----------------------------------------------------------------------------

    @suggests
    def compile(
        self,
        optimizer: Optimizer | OptimizerName | None = "adam",
        loss: LossLike | None = "sparse_categorical_crossentropy",
        metrics: Metrics = "perplexity",
        weighted_metrics: Metrics = None,
    ) -> None:
        """Choose how to train; see `Sequential.compile`.

        Parameters
        ----------
        optimizer : Optimizer or str, default "adam"
        loss : Loss or str
            The mean over tokens of -log p of the one that follows.
        metrics, weighted_metrics : Metric, str, Loss or callable, or a sequence of them, optional
        """
        super().compile(optimizer, loss, metrics, weighted_metrics)

    @suggests
    def fit_text(
        self,
        text: Text,
        *,
        batch_size: int = 32,
        window: int = WINDOW,
        epochs: int = 1,
        verbose: Verbose = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_text: Text | None = None,
        validation_split: float = 0.0,
        initial_epoch: int = 0,
        on_nan: OnNan = "raise",
        distributed: Distribution | None = None,
    ) -> History:
        """Train on running text, by truncated backpropagation through time.

        The tokens are divided into `batch_size` streams of equal length, the rows of every batch.
        A batch holds the next `window` tokens of each; the state passes from batch to batch,
        gradients do not (Williams & Peng 1990). At most ``batch_size - 1`` tokens at the end, too
        few for one more of each stream, are left out.

        Parameters
        ----------
        text : str, path or sequence of str
            A text, the path of a file in UTF-8 as a `pathlib.Path`, or texts. Texts follow each
            other in one stream, each with the markers of `vectorization`.
        batch_size : int, default 32
            Streams that are read at the same time; fewer if there are not as many tokens.
        window : int, default 64
            Tokens through which the gradient passes.
        epochs, verbose, callbacks, initial_epoch, on_nan, distributed
            As in `fit`.
        validation_text : as `text`, optional
            What to evaluate on after each epoch, divided in the same way.
        validation_split : float, default 0.0
            Share of the tokens, at the end of `text`, to evaluate on instead.

        Returns
        -------
        History
            With "perplexity" and "val_perplexity", unless `compile` got other metrics.

        Raises
        ------
        OSError, UnicodeDecodeError
            If a file cannot be read, or is not UTF-8.
        TypeError, ValueError
            If an argument does not fit, or there are fewer than two tokens.
        FloatingPointError
            See `fit`.
        """
        self._check_chain()
        rows = _checks.integer(batch_size, "batch_size", 1)
        steps = _checks.integer(window, "window", 1)
        share = _checks.real(validation_split, "validation_split", 0.0, 1.0, high_open=True)
        ids, held_out = np.concatenate(self._ids(text, "text")), None
        if validation_text is not None:
            if share:
                raise ValueError("validation_split: expected 0 beside validation_text")
            held_out = np.concatenate(self._ids(validation_text, "validation_text"))
        elif share:
            count = round(len(ids) * (1 - share))
            ids, held_out = ids[:count], ids[count:]
        unseen = None
        if held_out is not None:
            name = "validation_split" if validation_text is None else "validation_text"
            unseen = TextWindows(held_out, rows, steps, name)
        history = self.fit(
            TextWindows(ids, rows, steps, "text"),
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_data=unseen,
            initial_epoch=initial_epoch,
            stateful=True,
            on_nan=on_nan,
            distributed=distributed,
        )
        self._state = None  # every epoch begins anew, so nobody needs it
        return history

    def _ids(self, text: Text | Sequence[str | list[str]], name: str) -> list[Array]:
        """Return the token ids of each text."""
        ids, lengths = self.vectorization.encode(_as_list(text))
        if len(lengths) == 0:
            raise ValueError(f"{name}: expected at least one text, got none")
        return np.split(ids, np.cumsum(lengths)[:-1])

    def _takes_texts(self, x: Any) -> bool:
        given = as_array(x, "x")
        return not (isinstance(given, np.ndarray) and given.dtype.kind in "iu")

    # ---- how well texts are predicted -----------------------------------------------------------

    def perplexity(self, text: Text) -> float:
        """Compute how many equally likely tokens the model chooses from on average.

        That is exp of the mean of -log p over all tokens, each given all tokens before it in its
        text: every text is read from its beginning, with a state of zeros. The first token of a
        text counts only if it follows the marker `start`. Tokens that are not in the vocabulary
        count as "[UNK]".

        Parameters
        ----------
        text : str, path or sequence of str
            See `fit_text`; the order of texts makes no difference.

        Returns
        -------
        float

        Raises
        ------
        OSError, UnicodeDecodeError
            If a file cannot be read, or is not UTF-8.
        ValueError
            If no token follows another.
        """
        score = self._score(text)
        if not score.predicted:
            raise ValueError("text: expected at least two tokens, got no token that follows one")
        return float(np.exp(score.surprise / score.predicted))

    def bits_per_character(self, text: Text) -> float:
        """Compute how many bits the model needs for each character of a text.

        That is the sum of -log2 p of all tokens, as in `perplexity`, divided by the number of
        characters; comparable between models with different tokens, and with compressors. A first
        token that follows no marker costs log2 of the size of the vocabulary. A token that is not
        in the vocabulary costs 21.1 bits more for each of its characters: the code point, and
        whether it is the last, as if all were equally likely.

        Parameters
        ----------
        text : str, path or sequence of str
            See `perplexity`.

        Returns
        -------
        float

        Raises
        ------
        OSError, UnicodeDecodeError
            If a file cannot be read, or is not UTF-8.
        ValueError
            If there is no character, or a text does not follow from its tokens, because
            `vectorization` changes letters, removes punctuation or merges white space; or because
            one of the tokens is like a marker.
        """
        self._check_chain()
        single = isinstance(text, (str, os.PathLike))
        texts = _as_list(text)
        names = ["text"] if single else [f"text[{place}]" for place in range(len(texts))]
        characters, unknown = spelling(self.vectorization, texts, names)
        if not characters:
            raise ValueError("text: expected at least one character, got none")
        score = self._score(texts)
        nats = score.surprise + score.first * math.log(self.vectorization.vocabulary_size())
        return (nats / math.log(2) + unknown * SPELLING_BITS) / characters

    def _score(self, text: Text | Sequence[str | list[str]]) -> _Score:
        self._check_chain()
        rows = sorted(self._ids(text, "text"), key=len)
        surprise, predicted = 0.0, 0
        for begin in range(0, len(rows), 32):
            batch = rows[begin : begin + 32]
            lengths = np.array([max(len(row) - 1, 0) for row in batch])
            following = _padded([row[1:] for row in batch])
            for at, logits, valid in self._read(_padded([row[:-1] for row in batch]), lengths, {}):
                wanted = following[:, at : at + logits.shape[1], None]
                top = logits.max(axis=-1, keepdims=True)
                total = np.log(np.exp(logits - top).sum(axis=-1, dtype=np.float64))
                chosen = np.take_along_axis(logits - top, wanted, 2)[..., 0]
                surprise += float((total - chosen)[valid].sum(dtype=np.float64))
            predicted += int(lengths.sum())
        return _Score(
            surprise,
            predicted,
            0 if self.vectorization.start is not None else sum(len(row) > 0 for row in rows),
        )

    def _read(
        self, ids: Array, lengths: Array, state: ModelState
    ) -> Iterator[tuple[int, Array, Array]]:
        """Read rows of ids, some steps at a time; `state` is changed into that after each.

        Yields
        ------
        begin : int
            The first of the steps.
        logits : ndarray, shape (N, steps, V)
        valid : ndarray of bool, shape (N, steps)
        """
        count, steps = ids.shape
        size = self.vectorization.vocabulary_size()
        width = max(1, min(MOST_STEPS, MOST_LOGITS // (size * max(count, 1))))
        for begin in range(0, steps, width):
            part = ids[:, begin : begin + width]
            left = np.clip(lengths - begin, 0, part.shape[1])
            logits, _, _, after = self._forward_from(part, left, False, 0, True, state)
            state.update(after)
            yield begin, logits, np.arange(part.shape[1]) < left[:, None]

    # ---- continuing texts -----------------------------------------------------------------------

    @overload
    def generate(
        self,
        prompt: str = "",
        length: int = 100,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: list[str] | tuple[str, ...],
        length: int = 100,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]: ...

    @suggests
    def generate(
        self,
        prompt: str | Sequence[str] = "",
        length: int = 100,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Any:
        """Continue texts, token by token.

        The state is carried from step to step, so a token costs the same however long the text
        before it is. Padding, "[UNK]" and the marker `start` are never generated; the marker `end`
        ends a text.

        Parameters
        ----------
        prompt : str or sequence of str, default ""
            What to continue. It follows the marker `start`, if there is one. An empty text
            needs that marker, or `end`, after which a new text begins.
        length : int, default 100
            The most tokens of a continuation.
        temperature, top_k, top_p
            See `lstmcore.sampling.sample`; ``top_k=1`` always takes the likeliest token.
        seed : int, default 0
            The same seed draws the same texts. A continuation depends on it, on its prompt and on
            the prompt's place among them, not on other prompts.

        Returns
        -------
        str or list of str
            Only what was generated, without the prompt; a list if `prompt` is not a single text.

        Raises
        ------
        TypeError, ValueError
            If an option is out of its range, or a prompt has no token and there is no marker.
        """
        self._check_chain()
        length = _checks.integer(length, "length", 1)
        check_options(temperature, top_k, top_p)
        seed = _checks.integer(seed, "seed", 0)
        rows = self._prompts([prompt] if isinstance(prompt, str) else prompt)
        lengths = np.array([len(row) for row in rows], np.int64)
        words = self.vectorization
        state: ModelState = {}
        last = np.zeros((len(rows), words.vocabulary_size()), self.dtype)
        for begin, logits, valid in self._read(_padded(rows), lengths, state):
            ending = (lengths > begin) & (lengths <= begin + logits.shape[1])
            last[ending] = logits[ending, valid.sum(axis=1)[ending] - 1]
        never = [0, 1] if words.start_id is None else [0, 1, words.start_id]
        found, going = np.zeros((len(rows), length), np.int64), np.ones(len(rows), bool)
        rngs = [np.random.default_rng(derive(seed, place)) for place in range(len(rows))]
        for step in range(length if rows else 0):
            last[:, never] = -np.inf
            tokens = sample_each(last, rngs, temperature=temperature, top_k=top_k, top_p=top_p)
            found[:, step] = np.where(going, tokens, 0)
            going &= tokens != (-1 if words.end_id is None else words.end_id)
            if not going.any() or step == length - 1:
                break
            logits, _, _, after = self._forward_from(tokens[:, None], None, False, 0, True, state)
            state, last = after, logits[:, 0]
        texts = words.decode(found)
        return texts[0] if isinstance(prompt, str) else texts

    def _prompts(self, prompts: Sequence[str]) -> list[Array]:
        """Return the ids of each prompt, with a marker before it."""
        words = self.vectorization
        ids, lengths = words.encode(prompts, markers=False)
        rows = np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []
        if words.start_id is not None:
            return [np.insert(row, 0, words.start_id) for row in rows]
        for place, row in enumerate(rows):
            if len(row) == 0 and words.end_id is None:
                raise ValueError(
                    f"prompt: expected at least one token, got {prompts[place]!r}; without a "
                    "prompt, a text begins only in a model whose vectorization has start= or end="
                )
        return [row if len(row) else np.array([words.end_id]) for row in rows]


def _as_list(text: Any) -> list[str | list[str]]:
    """Return texts; those of a file, or one text, are one."""
    if isinstance(text, os.PathLike):
        check_source(text, "text", streams=True)
        text = Path(text).read_text(encoding="utf-8")
    return as_texts([text] if isinstance(text, str) else text)


def _width(layers: Sequence[Layer]) -> int:
    """Return the width of the outputs of layers that are not built, for any width of inputs."""
    found: list[int | None] = []
    for probe in (1, 2):
        shape: tuple[int | None, ...] = (None, None, probe)
        try:
            for layer in layers:
                _checks.instance(layer, Layer, "layers", "an int or layers")
                shape = layer.copy().build(shape)
        except ValueError:
            found.append(None)
            break
        found.append(shape[-1])
    if len(set(found)) != 1 or found[0] is None:
        raise ValueError(
            "embedding: expected a width, since that of the outputs of layers depends on it, "
            "got None"
        )
    return found[0]


def _padded(rows: Sequence[Array]) -> Array:
    """Put rows of ids into one array, with 0 after their ends."""
    padded = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded
