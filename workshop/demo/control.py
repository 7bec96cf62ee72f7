"""The pane that has the keys: it says what comes next, and types it into its pane.

Started by `workshop demo` inside its tmux:
`python -m workshop.demo.control ROOT SLUG FOLDER PID [--big]`
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO

from workshop.course import Course
from workshop.demo.steps import DemoStep, commands_of, steps_of, with_ports
from workshop.demo.tmux import SIDE_BY_SIDE, Tmux, layout, listens_on
from workshop.keys import Keys, keys
from workshop.publishing.ports import Ports
from workshop.running import port_is_free

KEYS = "Enter types it · b back · s skip · c Ctrl-C if it hangs · q end"
PROJECTOR = 70
"""So many columns are left on a projector when the letters are large enough."""


@dataclass
class Pane:
    """One terminal of the demo: a shell in a pane of tmux."""

    id: str
    tty: str
    prompts: Path
    """The shell adds a character to this file at each prompt."""
    seen: int = 0
    """How many prompts there had been when something was typed."""

    @property
    def busy(self) -> bool:
        """Whether what was typed last still runs."""
        return self.count() == self.seen

    def count(self) -> int:
        """How many prompts there have been."""
        return self.prompts.stat().st_size if self.prompts.exists() else 0


class Control:
    """The demo: its steps, its panes, and the one step that comes next."""

    def __init__(
        self, steps: list[DemoStep], tmux: Tmux, folder: Path, *, title: str, big: bool
    ) -> None:
        self._steps = steps
        self._tmux = tmux
        self._folder = folder
        self._title = title
        self._big = big
        # At first this is the only pane that there is.
        self._own_pane = tmux("list-panes", "-s", "-F", "#{pane_id}")
        self._at = 0
        self._pressed = False
        """Whether Enter was pressed for a step that has to wait."""
        self._resized = False
        self._last: DemoStep | None = None
        """The step that was typed last, until nothing has to wait for it any more."""
        self._panes: dict[str, Pane] = {}
        self._shown: list[str] = []
        """The terminals on the screen, in the order of their panes."""
        self._used: list[str] = []
        """All terminals, the one that was needed last at the end."""

    def run(self, pressed: Keys, parent: int) -> None:
        """Take keys until the demo is ended."""
        signal.signal(signal.SIGWINCH, self._on_resize)
        self._arrange()
        while True:
            key = pressed.next(0.2)
            if self._resized:
                self._arrange()
            if key in ("\r", "\n", " ") and self._at < len(self._steps):
                self._pressed = True
            elif key == "b":
                self._go_to(self._at - 1)
            elif key == "s":
                self._go_to(self._at + 1)
            elif key == "c" and self._pressed and (waits_for := self._waits_for()):
                self._tmux("send-keys", "-t", self._panes[waits_for].id, "C-c")
            elif key == "q" or (key is None and not _is_alive(parent)):
                return
            if self._pressed and self._waits_for() is None:
                self._type(self._steps[self._at])
                self._go_to(self._at + 1)
            elif key is not None:
                self._draw()

    def _on_resize(self, number: int, frame: FrameType | None) -> None:
        self._resized = True

    def _next_terminal(self) -> str:
        return self._steps[self._at].terminal if self._at < len(self._steps) else ""

    def _go_to(self, index: int) -> None:
        self._at = min(max(index, 0), len(self._steps))
        self._pressed = False
        self._draw()

    def _waits_for(self) -> str | None:
        """The terminal that the next step has to wait for; None if it can be typed."""
        if self._last is not None:
            pane = self._panes[self._last.terminal]
            port = self._last.port
            starts = port is not None and not listens_on(pane.tty, port)
            if pane.busy and (self._last.ends or starts):
                return self._last.terminal
            self._last = None
        step = self._steps[self._at]
        pane = self._panes.get(step.terminal)
        if step.command is not None and pane is not None and pane.busy:
            return step.terminal
        return None

    def _type(self, step: DemoStep) -> None:
        for name in (*reversed(step.then), step.terminal):
            if name == step.terminal or name in self._panes:
                self._show(name)
        pane = self._panes[step.terminal]
        pane.seen = pane.count()
        self._last = step
        if step.port is not None and not port_is_free(step.port):
            self._last = replace(step, port=None)  # it is there already
        if step.command is None:
            self._tmux("send-keys", "-t", pane.id, "C-c")
            return
        if self._big:
            self._tmux("send-keys", "-t", pane.id, "C-l")  # one command on the screen
        for line in step.command.split("\n"):
            self._tmux("send-keys", "-t", pane.id, "-l", "--", line)
            self._tmux("send-keys", "-t", pane.id, "Enter")

    # --- the panes ---------------------------------------------------------------------

    def _show(self, name: str) -> None:
        """Bring a terminal onto the screen; it takes the place of the one unused longest."""
        if name not in self._panes:
            self._panes[name] = self._open(name)
        self._used = [*(one for one in self._used if one != name), name]
        if name in self._shown:
            return
        pane = self._panes[name].id
        if len(self._shown) < self._room():
            where = self._panes[self._shown[-1]].id if self._shown else self._own_pane
            before = () if self._shown else ("-b",)
            self._tmux("join-pane", "-d", "-v", *before, "-s", pane, "-t", where)
            self._shown.append(name)
        else:
            oldest = min(self._shown, key=self._used.index)
            self._tmux("swap-pane", "-d", "-s", pane, "-t", self._panes[oldest].id)
            self._shown[self._shown.index(oldest)] = name
        self._arrange()

    def _open(self, name: str) -> Pane:
        prompts = self._folder.parent / f"prompts-{len(self._panes)}"
        shell = [
            *("env", "PS1=$ ", "PS2=> ", "HISTFILE=/dev/null"),
            "BASH_SILENCE_DEPRECATION_WARNING=1",
            f"PROMPT_COMMAND=printf . >> '{prompts}'",
            *("bash", "--norc", "--noprofile", "-i"),
        ]
        words = ["new-window", "-d", "-P", "-F", "#{pane_id} #{pane_tty}"]
        number, tty = self._tmux(*words, "-c", str(self._folder), *shell).split()
        pane = Pane(number, tty, prompts)
        self._tmux("set-option", "-p", "-t", pane.id, "@name", name)
        # The first prompt is there before anything is typed.
        while pane.busy:
            time.sleep(0.02)
        return pane

    def _room(self) -> int:
        """How many terminals can be on the screen."""
        columns, rows = self._size()
        return 3 if not self._big and columns >= SIDE_BY_SIDE and rows >= 30 else 2

    def _size(self) -> tuple[int, int]:
        size = self._tmux("display-message", "-p", "-t", self._own_pane, SIZE)
        columns, rows = size.split()
        return int(columns), int(rows)

    def _arrange(self) -> None:
        """Give every pane its place, after the window or the panes in it have changed."""
        self._resized = False
        columns, rows = self._size()
        if self._shown:
            wanted = layout(columns, rows, len(self._shown), 5 if self._big else 6)
            self._tmux("select-layout", "-t", self._own_pane, wanted, check=False)
        self._draw()

    # --- what it says ------------------------------------------------------------------

    def _draw(self) -> None:
        for name, pane in self._panes.items():
            is_next = "1" if name == self._next_terminal() else ""
            self._tmux("set-option", "-p", "-t", pane.id, "@next", is_next)
        columns, rows = os.get_terminal_size()
        lines = self._lines(columns, rows)
        # From the top left corner, each line cleared behind its end, and all below.
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines[:-1]))
        sys.stdout.write(f"{lines[-1]}\x1b[J")
        sys.stdout.flush()

    def _lines(self, columns: int, rows: int) -> list[str]:
        """What the pane shows: where we are, what comes next, and the keys."""
        if self._big and columns > PROJECTOR + 20 and self._at == 0:
            advice = (
                f"This window has {columns} columns. Make the terminal's letters larger "
                f"(Ctrl and +, on macOS Cmd and +) until about {PROJECTOR} are left."
            )
            said = textwrap.wrap(advice, columns - 2)
        elif self._at == len(self._steps):
            said = ["That was all."]
        else:
            said = []
        if self._at < len(self._steps):
            step = self._steps[self._at]
            where = f"{self._title} · {step.section} · {self._at + 1} of {len(self._steps)}"
            waits_for = self._waits_for() if self._pressed else None
            waits = f" (as soon as {waits_for} is ready)" if waits_for else ""
            if step.command is None:
                said.append(f"Next, in {step.terminal}{waits}: Ctrl-C")
            else:
                said.append(f"Next, in {step.terminal}{waits}:")
                said += [f"  {line}" for line in step.command.split("\n")]
        else:
            where = self._title
        room = max(rows - 2, 1)
        folded = [part for line in said for part in _folded(line, columns)]
        if len(folded) > room:
            folded = [*folded[: room - 1], f"{folded[room - 1][: columns - 2]}…"]
        return [f"\x1b[7m{where[:columns]}\x1b[0m", *folded, f"\x1b[2m{KEYS[:columns]}\x1b[0m"]


SIZE = "#{window_width} #{window_height}"


def _folded(line: str, columns: int) -> list[str]:
    """A line in pieces of at most so many columns, as a terminal folds it."""
    return [line[at : at + columns] for at in range(0, len(line), columns)] or [""]


def _is_alive(process: int) -> bool:
    """Whether it still runs. One that has ended may be there until somebody asks how."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in ("", "Z")


def own_ports() -> IO[str] | None:
    """Keep the lessons' own ports for this demo; None if another demo has them.

    The file that comes back is to be kept open until the demo ends.
    """
    lock = Path(tempfile.gettempdir()) / f"workshop-demo-{os.getuid()}.lock"
    file = lock.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def main(root: str, slug: str, folder: str, parent: str, *options: str) -> None:
    """Run the demo, and let go of the terminal it is shown in."""
    server = os.getppid()  # tmux's: it can be ended even when its socket is gone
    course = Course.load(Path(root))
    lesson = course.lesson(slug)
    steps = steps_of(lesson)
    title = f"Lesson {lesson.number}"
    ports = Ports(course, commands_of(steps))
    lock = own_ports()
    own = lock is not None and not ports.taken
    steps = with_ports(steps, ports, own=own)
    if not own:
        title += " (on other ports: the lesson's are in use)"
    tmux = Tmux(shutil.which("tmux") or "tmux", Path(folder).parent / "tmux")
    try:
        with keys() as pressed:
            control = Control(steps, tmux, Path(folder), title=title, big="--big" in options)
            control.run(pressed, int(parent))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception:
        (Path(folder).parent / "error.txt").write_text(traceback.format_exc(), "utf-8")
    tmux("detach-client", "-s", "demo", check=False)
    while _is_alive(int(parent)):  # it puts everything away, this program too
        time.sleep(0.2)
    # It was killed. tmux's SIGHUP ends what runs in the panes.
    shutil.rmtree(Path(folder).parent, ignore_errors=True)
    with suppress(ProcessLookupError):
        os.kill(server, signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
