"""Opens many streams, makes calls on some of them, and measures.

    uv run scripts/10_observability/load.py http://127.0.0.1:8010/sse --streams 1000
    uv run scripts/10_observability/load.py --compare SERVER.py OTHER.py
    uv run scripts/10_observability/load.py --plot load.png

The first measures a running server, and so does the last, with more and more streams. The
second starts two servers itself and loads them in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType

from load_report import ratios_in_words, table_of
from load_run import Load, Measured, NotMeasurable
from load_servers import TooFewFiles, more_files, started
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

DEFAULT_CALLERS = 8
FILES = 200  # open files besides the streams: connections for POST, and Python's own
TURN_SECONDS = 0.5  # short, so that whatever else the machine does slows both servers down
WARM_UP_SECONDS = 0.5
DONE = "{task.completed:,.0f} of {task.total:,.0f} {task.fields[unit]}"  # in the bar


async def measure(
    options: argparse.Namespace, streams: int, progress: Progress
) -> tuple[Measured, bool]:
    """One load on a running server, and whether Ctrl-C ended it early."""
    async with Load(options.url, progress) as load:
        await load.open(streams)
        async with (
            until_interrupted() as interrupted,
            showing_time(progress, "calling", options.seconds),
        ):
            await load.call_for(options.seconds, options.callers)
        return await load.measured(), bool(interrupted)


async def compare(
    options: argparse.Namespace, progress: Progress
) -> tuple[list[Measured], list[float]]:
    """Two servers in turn: what each did, and the ratio of their calls in each round."""
    async with contextlib.AsyncExitStack() as stack:
        loads: list[Load] = []
        for program in options.compare:
            server = stack.enter_context(started(program))
            load = await stack.enter_async_context(Load(server.url, progress, server.pid))
            await load.open(options.streams)
            loads.append(load)
        for load in loads:
            await load.call_for(WARM_UP_SECONDS, options.callers)
            await load.forget()
        ratios: list[float] = []
        rounds = rounds_of(options)
        task = progress.add_task("calling", total=rounds, unit="rounds")
        async with until_interrupted():
            for _ in range(rounds):
                speeds: list[float] = []
                for load in loads:
                    calls, seconds = await load.call_for(TURN_SECONDS, options.callers)
                    speeds.append(calls / seconds)
                if speeds[0]:
                    ratios.append(speeds[1] / speeds[0])
                progress.advance(task)
        return [await load.measured() for load in loads], ratios


def rounds_of(options: argparse.Namespace) -> int:
    return max(1, round(options.seconds / TURN_SECONDS))


@contextlib.asynccontextmanager
async def until_interrupted() -> AsyncIterator[list[str]]:
    """Ctrl-C ends the block, not the program: what was measured so far counts."""
    interrupted: list[str] = []
    try:
        yield interrupted
    except asyncio.CancelledError:
        interrupted.append("Ctrl-C")
        task = asyncio.current_task()
        assert task
        task.uncancel()


@contextlib.asynccontextmanager
async def showing_time(progress: Progress, what: str, seconds: float) -> AsyncIterator[None]:
    task = progress.add_task(what, total=seconds, unit="s")
    began = time.monotonic()

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.1)
            progress.update(task, completed=min(seconds, time.monotonic() - began))

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        progress.remove_task(task)


def numbers_up_to(streams: int) -> list[int]:
    """1, 10, 100, … and then `streams` itself."""
    numbers = [1]
    while numbers[-1] * 10 < streams:
        numbers.append(numbers[-1] * 10)
    return [*numbers, streams] if streams > 1 else numbers


def measure_and_show(options: argparse.Namespace, console: Console, progress: Progress) -> bool:
    """Whether it ran to its end. Ctrl-C ends it early."""
    interrupted = False
    ratios: list[float] = []
    if options.compare:
        names = [program.name for program in options.compare]
        measured, ratios = asyncio.run(compare(options, progress))
        interrupted = len(ratios) < rounds_of(options)
    else:
        names: list[str] = []
        measured: list[Measured] = []
        numbers = numbers_up_to(options.streams) if options.plot else [options.streams]
        for streams in numbers:
            one, interrupted = asyncio.run(measure(options, streams, progress))
            measured.append(one)
            names.append("")
            if interrupted:
                break
    progress.stop()
    if options.json:
        loads = [dataclasses.asdict(one) for one in measured]
        print(json.dumps({"loads": loads, "ratios": ratios}, indent=2))
    else:
        console.print(table_of(names, measured))
        if ratios:
            console.print(ratios_in_words(names, measured, ratios))
    if options.plot and not interrupted:
        from load_plot import draw  # matplotlib takes half a second to import

        draw(measured, options.callers, options.plot)
        print(f"Drawn: {options.plot}", file=sys.stderr)
    return not interrupted


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a server with many open streams.")
    parser.add_argument("url", nargs="?", help="default: http://127.0.0.1:8010/sse")
    parser.add_argument("--streams", type=int, default=100, help="how many to open")
    parser.add_argument(
        "--callers", type=int, help="how many of them make calls; default: 8, or 1 for a plot"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long they call")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("SERVER", "OTHER"), help="programs to start"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw 1, 10, … streams")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.streams < 1:
        parser.error("--streams must be 1 or more")
    if options.callers is None:
        # In a plot, the loads should differ in one thing only.
        options.callers = 1 if options.plot else min(DEFAULT_CALLERS, options.streams)
    if not 1 <= options.callers <= options.streams:
        parser.error(f"--callers must be between 1 and the {options.streams} streams")
    if not 0 < options.seconds <= 3600:
        parser.error("--seconds must be more than 0, and 3600 at most")
    if options.compare and (options.url or options.plot):
        parser.error("--compare starts its own servers: it takes no URL and no --plot")
    options.url = options.url or "http://127.0.0.1:8010/sse"
    if options.plot and not options.plot.parent.is_dir():
        parser.error(f"There is no folder {options.plot.parent}")
    return options


def main() -> None:
    options = parse()
    # A script that starts us with `&` makes us ignore Ctrl-C. And the servers that we start
    # should end with us, whichever signal ends us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    told = signal.SIGINT

    def terminated(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = signal.SIGTERM
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, terminated)
    console = Console()
    bar = (TextColumn("{task.description}"), BarColumn(), TextColumn(DONE))
    try:
        more_files(options.streams + FILES)
        # A bar is for a terminal that can draw it. (With `disable`, rich still prints an empty
        # line. And FORCE_COLOR, which Jupyter sets, makes a pipe a terminal to rich.)
        draws = sys.stdout.isatty() and not console.is_dumb_terminal
        shown_on = console if draws else Console(quiet=True)
        with Progress(*bar, console=shown_on, transient=True) as progress:
            whole = measure_and_show(options, console, progress)
    except (NotMeasurable, TooFewFiles) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        whole = False
    if not whole:
        sys.exit(128 + told)  # what a shell expects from a program that a signal ended


if __name__ == "__main__":
    main()
