"""Draws what load.py measured: the time to an answer against the number of open streams."""

from __future__ import annotations

from pathlib import Path

from load_run import Measured
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

# The colours also differ in brightness: a projector shows little else.
COLOURS = {"p50": "#1b9e77", "p95": "#d95f02", "p99": "#5e3c99"}
APART = 0.06  # of the plot's height: the least distance between two names


def draw(measured: list[Measured], callers: int, file: Path) -> None:
    """As large as a slide, with text that can be read from the last row."""
    with rc_context({"font.size": 20, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12.8, 7.2), layout="constrained")
        axes = figure.add_subplot()
        streams = [one.streams for one in measured]
        lines = {name: [getattr(one, name) or 0.0 for one in measured] for name in COLOURS}
        for name, times in lines.items():
            axes.plot(
                streams, times, marker="o", linewidth=4, markersize=10, color=COLOURS[name]
            )
        axes.set_ylim(0, 1.1 * max(max(times) for times in lines.values()) or 1)
        name_lines(axes, streams[-1], {name: times[-1] for name, times in lines.items()})
        axes.set_xscale("log")
        axes.set_xticks(streams)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y", alpha=0.3)
        axes.set_xlabel("open streams")
        axes.set_ylabel("time to an answer (ms)")
        calling = "1 stream makes calls" if callers == 1 else f"Up to {callers} make calls"
        axes.set_title(f"{calling}, the others are silent", loc="left")
        figure.savefig(file, dpi=100)


def name_lines(axes: Axes, x: float, ends: dict[str, float]) -> None:
    """Write each name at the end of its line, so that no legend is needed."""
    least = 0.0
    for name, end in ends.items():
        height = max(end, least)
        least = height + APART * axes.get_ylim()[1]
        axes.annotate(
            name,
            (x, height),
            xytext=(16, 0),
            textcoords="offset points",
            color=COLOURS[name],
            va="center",
            fontweight="bold",
        )
