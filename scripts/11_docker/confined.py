"""The one folder that the file tools work in: no path leads out of it, and no link is followed.

Checking the path as text is not enough: between the check and `open`, someone can put a link
where a folder was. Here every folder on the way is opened inside the one before it, and it is
never looked up by its name again.

This file must not be called workspace.py. A folder with an `__init__.py` comes before a file of
the same name: the next start would import ./workspace, with whatever was written there.
"""

import contextlib
import errno
import itertools
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if os.open not in os.supports_dir_fd:
    sys.exit(
        "This system can't open a file inside an open folder. Run the server in a container."
    )

# What leaves the server has to fit in one event: the SDK's client refuses those over 1 MiB.
# At worst, JSON needs six characters for a byte, and six times 128 KiB still fits.
MAX_BYTES = 128 * 1024
MAX_NAMES = 500
MAX_PATH = 1000  # characters

# A link in place of a file is an error, and a pipe without a writer does not make us wait.
ONE_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
ONE_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """Why a path cannot be used, in words for the model."""


class Workspace:
    def __init__(self, folder: Path) -> None:
        """Create the folder if it is missing. Raises OSError if it cannot be used."""
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
        self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.folder = folder.resolve()
        # Find out now, not at the first call, whether files can be written here.
        tempfile.TemporaryFile(dir=self.folder).close()

    def read(self, path: str) -> str:
        """The text of a file. Raises Refused."""
        with (
            _refusing(path),
            self._parent(path) as (parent, name),
            open(name, "rb", opener=_in(parent)) as file,
        ):
            _check_file(file.fileno(), parent, name)
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise Refused(f"{path} is larger than {MAX_BYTES} bytes.")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(f"{path} is not text in UTF-8.") from None

    def write(self, path: str, content: str) -> int:
        """Write a file, and create its folders. Returns the number of bytes. Raises Refused.

        The file is replaced completely or not at all. A link with this name is replaced
        itself, and what it points to stays as it is.
        """
        data = content.encode("utf-8")
        if len(data) > MAX_BYTES:
            raise Refused(f"A file may have {MAX_BYTES} bytes; this would be {len(data)}.")
        with _refusing(path), self._parent(path, make=True) as (parent, name):
            beside = f".{secrets.token_hex(8)}.partial"
            try:
                with open(beside, "xb", opener=_in(parent)) as file:
                    file.write(data)
                os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside, dir_fd=parent)
                raise
        return len(data)

    def names(self, path: str) -> list[str]:
        """What is in a folder, sorted; folders end with a slash. Raises Refused."""
        with _refusing(path), self._folder(_parts(path)) as folder, os.scandir(folder) as found:
            entries = list(itertools.islice(found, MAX_NAMES + 1))
            if len(entries) > MAX_NAMES:
                raise Refused(f"{path!r} has more than {MAX_NAMES} entries.")
            return sorted(
                _text(one.name) + ("/" if one.is_dir(follow_symlinks=False) else "")
                for one in entries
            )

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder that a file is in, and the file's name there."""
        parts = _parts(path)
        if not parts or path.endswith("/"):
            raise Refused(f"{path!r} is not the name of a file.")
        with self._folder(parts[:-1], make=make) as folder:
            yield folder, parts[-1]

    @contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """An open folder, reached from the workspace one name at a time."""
        folder = os.dup(self._root)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = os.open(part, ONE_FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


def _parts(path: str) -> list[str]:
    """The names in a path: none is empty, `.` or `..`. Raises Refused."""
    if len(path) > MAX_PATH:
        raise Refused(f"A path may have {MAX_PATH} characters; this one has {len(path)}.")
    if "\0" in path:
        raise Refused("A path cannot hold the character NUL.")
    if path.startswith("/"):
        raise Refused(f"{path!r} is absolute: name a file in the workspace, such as notes.txt.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused(f"{path!r} leads out of the workspace.")
    return parts


def _in(folder: int) -> Callable[[str, int], int]:
    """An `opener` for `open`: it opens a name in a folder that is open."""
    return lambda name, flags: os.open(name, flags | ONE_FILE, 0o666, dir_fd=folder)


def _check_file(opened: int, parent: int, name: str) -> None:
    """Raises Refused if it is not a plain file, or if it has another name.

    Another name for the same file, a hard link, may be outside. The number of names is looked
    up by the name that was opened: if that has just been removed, the open file has only one.
    """
    itself = os.fstat(opened)
    if not stat.S_ISREG(itself.st_mode):
        raise Refused(f"{name!r} is not a file.")
    named = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not os.path.samestat(itself, named) or named.st_nlink != 1:
        raise Refused(f"{name!r} has another name somewhere else: a hard link.")


def _text(name: str) -> str:
    """A name as one line of text: it may have bytes that are not text, and line breaks."""
    return os.fsencode(name).decode("utf-8", "replace").replace("\n", "\\n")


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Turn the operating system's error about a path into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{path!r} is a link, and no link is followed.") from error
        raise Refused(f"{path!r}: {error.strerror}.") from error
