"""The attacks: one short program each. `attack.py` runs them."""
