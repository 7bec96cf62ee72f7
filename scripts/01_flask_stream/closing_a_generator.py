"""Closing a generator runs its `finally`, but only if the generator ever started."""

from __future__ import annotations

from collections.abc import Generator


def updates(listener: str) -> Generator[str, None, None]:
    """Two events for one listener, with prints at its beginning and end."""
    print(f"{listener}: begins")
    try:
        yield "data: Update 0\n\n"
        yield "data: Update 1\n\n"
    finally:
        print(f"{listener}: cleans up")


def main() -> None:
    for _ in updates("stays to the end"):
        pass

    left = updates("leaves in the middle")
    next(left)
    left.close()

    print("never starts: (nothing follows)")
    never_started = updates("never starts")
    never_started.close()


if __name__ == "__main__":
    main()
