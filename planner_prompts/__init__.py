"""What the model reads and what it may write: prompts, worked examples, grammars."""
