"""Graphs of layers: several inputs and outputs, branches that meet again, shared layers."""

from lstmcore.models.graph.model import Model

__all__ = ["Model"]
