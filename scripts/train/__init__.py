"""Makes training data for a toolbox, tunes a planner on it, and writes down how good it became."""
