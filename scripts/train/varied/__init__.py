"""Samples with many different toolboxes, so that a planner learns to read the tools it is shown."""

from train.varied.mix import held_out, samples

__all__ = ["held_out", "samples"]
