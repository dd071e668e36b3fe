"""From samples to a tuned model: the training itself, and what is written down of it."""
