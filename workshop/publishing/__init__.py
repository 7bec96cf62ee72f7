"""How each thing that is said twice is made: one module for each."""
