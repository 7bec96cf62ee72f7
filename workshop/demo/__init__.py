"""`workshop demo`: a lesson's terminals side by side, its commands typed at a key press.

`steps` reads what to type from the lesson, `start` opens tmux and puts everything away
again, and `control` is the program in the pane at the bottom that has the keys.
"""
