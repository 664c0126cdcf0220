"""What the layers of an `EncoderDecoder` depend on."""

from dataclasses import dataclass

from lstmcore._typing import AttentionKind, Precision

__all__ = ["PLACEHOLDER", "Structure"]

PLACEHOLDER = 3
"""Size of a vocabulary that is not known yet, in layers that are not built yet."""


@dataclass(frozen=True)
class Structure:
    """The checked options of an `EncoderDecoder` that decide about its layers; see there.

    Attributes
    ----------
    kind : {"ids", "steps", "vector"}
        As in `Source`.
    source_width, target_vocabulary : int
        The size of the source's vocabulary or C, and that of the target's.
    """

    kind: str
    source_width: int
    target_vocabulary: int
    embedding_size: int
    units: int
    num_layers: int
    bidirectional: bool
    attention: AttentionKind | None
    attention_units: int | None
    attention_scale: bool
    dropout: float
    precision: Precision | None
    tie_embeddings: bool = False
    share_embeddings: bool = False
    copying: bool = False
