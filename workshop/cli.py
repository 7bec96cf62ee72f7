"""The `workshop` command."""

from __future__ import annotations

from typing import Annotated

import typer

from workshop.course import Course, CourseError

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main() -> None:
    """Learn Server-Sent Events and MCP's SSE transport by building them by hand."""


@app.command()
def publish(
    lessons: Annotated[list[str] | None, typer.Argument(help="05, or nothing for all")] = None,
    check: Annotated[bool, typer.Option("--check", help="compare, write nothing")] = False,
    replay: Annotated[
        bool, typer.Option(help="run the programs whose output the lessons show")
    ] = True,
) -> None:
    """Make again all that the course says twice: starters, snippets, output, notebooks."""
    from workshop.publish import publish as publish_course

    try:
        course = Course.load()
        chosen = [course.lesson(name) for name in lessons] if lessons else None
    except CourseError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    differences = publish_course(course, chosen, check, replay=replay)
    for difference in differences:
        typer.echo(f"{difference.path}: {difference.what}\n{difference.diff}\n")
    if not differences:
        typer.echo("Everything is as its source makes it.")
    elif check:
        typer.echo(f"Differences: {len(differences)}. `uv run workshop publish` writes them.")
    else:
        typer.echo(f"Made again: {sum(d.curable for d in differences)}.")
    if (check and differences) or not all(d.curable for d in differences):
        raise typer.Exit(1)
