"""Samples for the bundled tools: shapes of questions x phrasings x things and values."""

from train.bundled.mix import NEW_SHAPES, SHAPES, held_out, new_shapes, samples

__all__ = ["NEW_SHAPES", "SHAPES", "held_out", "new_shapes", "samples"]
