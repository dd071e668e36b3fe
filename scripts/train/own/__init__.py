"""Samples for a user's own tools: from worked examples, signatures and earlier runs."""

from train.own.history import History, from_history
from train.own.mix import sample_of, samples

__all__ = ["History", "from_history", "sample_of", "samples"]
