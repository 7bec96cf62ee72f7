"""The `workshop` command: start an exercise, check it, get a hint, prove the whole course."""
