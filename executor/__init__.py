"""Runs a plan's tasks while the plan is still being written; usable without a model."""
