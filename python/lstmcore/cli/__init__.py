"""The command ``lstmcore``: train on tables, predict, evaluate, describe, convert."""

from lstmcore.cli.main import main

__all__ = ["main"]
