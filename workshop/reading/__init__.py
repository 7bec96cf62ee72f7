"""`workshop read`: a lesson's text in the terminal, section by section."""
