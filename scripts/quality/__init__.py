"""How good plans and answers are, measured on the real engine against questions with gold plans."""
