"""Time limits: which of them end a stream, and which don't. Every row is measured.

    uv run scripts/10_observability/time_limits.py

Each limit is tried on three streams: one with an event every 0.1 s, one on which nothing comes,
and one with only a heartbeat every 0.1 s.
"""

import argparse
import asyncio
import json
import logging
import sys
from contextlib import ExitStack
from typing import Any

import httpx2
from time_limits_rows import LIMIT, ROWS, WATCHED, Outcome, Row, without_tls
from time_limits_server import KINDS, TICK, Site, serving


async def run(rows: list[Row]) -> list[list[Outcome]]:
    """All rows at once, each with its own server."""
    with ExitStack() as servers:
        sites = [row.site() for row in rows]
        for site in sites:
            servers.enter_context(serving(site))
        # The first request makes both sides load a lot of code: don't measure that.
        async with without_tls(timeout=httpx2.Timeout(10)) as http:
            for site in sites:
                await http.get(site.base)

        async def run_row(row: Row, site: Site) -> list[Outcome]:
            return list(await asyncio.gather(*(row.measure(site, kind) for kind in KINDS)))

        return list(await asyncio.gather(*map(run_row, rows, sites)))


def text_of(outcome: Outcome) -> str:
    if outcome.seconds is None:
        return {"open": "open", "missing": "not here"}[outcome.what]
    return f"{outcome.what} {outcome.seconds:.1f} s"


def show(rows: list[Row], outcomes: list[list[Outcome]]) -> None:
    line = "{:<31}{:<10}{:<12}{:<12}{:<12}"
    print(
        line.format(f"Set to {LIMIT} s", "default", "events", "nothing", "heartbeats").rstrip()
    )
    group = ""
    for row, seen in zip(rows, outcomes, strict=True):
        if row.group != group:
            group = row.group
            print(f"\n{group}")
        cells = line.format(f"  {row.name}", row.default, *map(text_of, seen))
        print(cells.rstrip())
    print(
        f"\nopen: after {WATCHED} s the stream was still open. cut: it ended after that time.\n"
        "call: the client gave up a call, and the stream stayed open.\n"
        f"An event or a heartbeat came every {TICK} s."
    )


def as_json(rows: list[Row], outcomes: list[list[Outcome]]) -> dict[str, Any]:
    return {
        row.name: {
            kind: {"what": outcome.what, "seconds": outcome.seconds}
            for kind, outcome in zip(KINDS, seen, strict=True)
        }
        for row, seen in zip(rows, outcomes, strict=True)
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description="Which time limits end a stream?")
    parser.add_argument("--row", metavar="WORD", help="only rows with this word in their name")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = [row for row in ROWS if (chosen.row or "").lower() in row.name.lower()]
    if not rows:
        sys.exit(f"No row has {chosen.row!r} in its name.")
    # Servers and clients log each stream that is cut. The table already says that.
    logging.disable(logging.CRITICAL)
    outcomes = await run(rows)
    if chosen.json:
        print(json.dumps(as_json(rows, outcomes)))
    else:
        show(rows, outcomes)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
