"""What load.py prints: a table with a column for each load."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from load_run import Measured, in_words
from rich.table import Table

AGREE = 0.01  # the counts of the clients and the server should agree to one in a hundred


def table_of(names: list[str], measured: list[Measured]) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(names), header_style=""
    )
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    rows: dict[str, Callable[[Measured], str]] = {
        "streams open": streams,
        "opened in": lambda one: f"{one.opening_seconds:.1f} s",
        "memory a stream": lambda one: number(one.kib_a_stream, "KiB", 0),
        "calls": lambda one: f"{one.calls:,}",
        "  the server counted": server_calls,
        "calls a second": lambda one: f"{one.calls_a_second:,.0f}",
        "time to an answer: p50": lambda one: number(one.p50, "ms"),
        "  p95": lambda one: number(one.p95, "ms"),
        "  p99": lambda one: number(one.p99, "ms"),
        "  p95 in the server": lambda one: at_most(one.server_p95),
        "processor time a call": lambda one: number(one.server_processor_ms, "ms", 2),
        "errors": lambda one: in_words(one.errors),
    }
    if any(one.came_back for one in measured):
        rows["came back"] = came_back
    for heading, cell in rows.items():
        table.add_row(heading, *(cell(one) for one in measured))
    return table


def streams(one: Measured) -> str:
    if one.open_at_the_end == one.streams:
        return f"{one.streams:,}"
    return f"{one.streams:,}, {one.open_at_the_end:,} at the end"


def number(value: float | None, unit: str, digits: int = 1) -> str:
    return "?" if value is None else f"{value:,.{digits}f} {unit}"


def at_most(milliseconds: float | None) -> str:
    """A histogram only knows which bucket it is in."""
    if milliseconds is None:
        return "?"
    return "over 60 s" if milliseconds == float("inf") else f"at most {milliseconds:g} ms"


def server_calls(one: Measured) -> str:
    if one.server_calls is None:
        return "?"
    off = abs(one.server_calls - one.calls) / max(one.calls, 1)
    return f"{one.server_calls:,}" + ("" if off <= AGREE else f" ({off:.0%} off)")


def came_back(one: Measured) -> str:
    if one.came_back_within is None:
        return "0"
    first, last = one.came_back_within
    return f"{one.came_back:,} streams, after {first:.1f} to {last:.1f} s"


def ratios_in_words(names: list[str], measured: list[Measured], ratios: list[float]) -> str:
    """The second server compared to the first."""
    ratio = statistics.median(ratios)
    said = (
        f"\n{names[1]} makes {ratio:.0%} of the calls a second of {names[0]}:\n"
        f"the median of {len(ratios)} rounds, which lie between {min(ratios):.0%} "
        f"and {max(ratios):.0%}."
    )
    one, other = (each.server_processor_ms for each in measured)
    if one and other:
        said += f"\nIn the same processor time it makes {one / other:.0%} of them."
    return said
