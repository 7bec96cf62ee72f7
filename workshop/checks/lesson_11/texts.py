"""The four texts that the learner's functions return."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from workshop.checks.driver_answers import DriverAnswers
from workshop.checks.lesson_11.nginx_file import read
from workshop.checks.lesson_11.proxy import NGINX, Proxy, ProxyError
from workshop.complaints import line_it_ran, todo_of
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import ProgramError, abort, environment

DRIVER = Path(__file__).with_name("driver.py")
NAMES: tuple[str, ...] = ("dockerfile", "run_command", "compose", "nginx")


class Texts:
    """What each function returned, or the Failed that says why it returned no text."""

    def __init__(self, path: Path) -> None:
        self._found: dict[str, str | Failed] = {}
        self.printed = ""
        self._proxy: Proxy | ProxyError | None = None
        self._starting = threading.Lock()
        left = [*NAMES]
        # One process, and one more after each function that hangs.
        while left:
            found = self._call(path, left)
            self._found |= zip(left, found, strict=False)
            left = left[len(found) :]

    def text(self, name: str) -> str:
        """What `name` returned. Raises Failed if it is not a string, or an empty one."""
        found = self._found[name]
        if isinstance(found, Failed):
            raise found
        if not found.strip():
            raise Failed(
                "no-text",
                sent=f"{name}()",
                received=repr(found),
                wanted="a text",
                label=RETURNED,
            )
        return found

    def proxy(self) -> Proxy | None:
        """A real nginx with nginx.conf; None where there is no nginx. Raises ProxyError.

        The file has been read before: it can be parsed, and passes requests on.
        """
        with self._starting:
            if NGINX is not None and self._proxy is None:
                try:
                    self._proxy = Proxy(read(self.text("nginx")))
                except ProxyError as error:
                    self._proxy = error
        if isinstance(self._proxy, ProxyError):
            raise self._proxy
        return self._proxy

    def close(self) -> None:
        """End what was started for the checks."""
        if isinstance(self._proxy, Proxy):
            self._proxy.close()

    def _call(self, path: Path, names: list[str]) -> list[str | Failed]:
        """The result of each call, up to the first that hangs. Raises ProgramError."""
        found: list[str | Failed] = []
        # A file: a full pipe would block the process at its next print.
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [sys.executable, str(DRIVER), str(path), *names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
            )

            answers = DriverAnswers(process.stdout)

            def printed() -> str:
                errors.seek(0)
                return errors.read().decode("utf-8", "replace")

            try:
                answers.next(stretched(4.0))
                for name in names:
                    try:
                        found.append(_found(name, answers.next(stretched(0.7))))
                    except TimeoutError:
                        abort(process)
                        return [*found, _hung(name, path, printed())]
                    except EOFError:  # os._exit()
                        call, said = f"{name}()", printed()
                        died = Failed("crashed", sent=call, received=said, label="Printed")
                        return [*found, died]
                return found
            except TimeoutError:
                abort(process)
                # In this order: which line it was is read from the end.
                raise ProgramError(f"The import does not end.\n{printed()}") from None
            except EOFError:
                raise ProgramError(printed()) from None
            finally:
                process.kill()
                with suppress(OSError):
                    process.communicate()
                self.printed += printed()


RETURNED = "Returned"


def _found(name: str, answer: Any) -> str | Failed:
    if "text" in answer:
        return answer["text"]
    call, wanted = f"{name}()", "the text of the file"
    if "returned" in answer:
        said = answer["returned"]
        return Failed("no-text", sent=call, received=said, wanted=wanted, label=RETURNED)
    return Failed(
        "crashed", sent=call, received=answer["raised"], wanted=wanted, label="Raised"
    )


def _hung(name: str, path: Path, printed: str) -> Failed:
    line = line_it_ran(printed, path)
    return Failed(
        "hangs",
        sent=f"{name}()",
        received=f"line {line.line}: {line.code}" if line else "",
        wanted="the text of the file",
        label="Stuck in",
        todo=todo_of(line) if line else None,
    )
