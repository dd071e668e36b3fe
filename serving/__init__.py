"""A run from question to answer: engine, model client, planner, joiner, command line."""
