"""What a check, or a request made for one, raises when something is wrong."""

from __future__ import annotations


class Failed(Exception):
    """What a check found wrong.

    `hint` is a key of the check's `hints` (or of COMMON_HINTS); `sent` and
    `received` are what went over the wire; `at` is the index of the wrong byte
    in `received`, under which a caret is drawn; `wanted` is what should have come.
    `label` says what `received` is when it is not what came back: "Misread", "Raised".
    `todo` is set where something else than the check tells which TODO is to blame.
    """

    def __init__(
        self,
        hint: str,
        *,
        sent: str | bytes = "",
        received: str | bytes = b"",
        at: int | None = None,
        wanted: str = "",
        label: str = "Came back",
        todo: int | None = None,
    ) -> None:
        super().__init__(hint)
        self.hint = hint
        self.sent = sent.encode() if isinstance(sent, str) else sent
        self.received = received.encode() if isinstance(received, str) else received
        self.at = at
        self.wanted = wanted
        self.label = label
        self.todo = todo
