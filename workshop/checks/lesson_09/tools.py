"""What a tool may do: paths that lead out of the folder, and names that are commands."""

from __future__ import annotations

from workshop.checks.lesson_09.opening import Lab, suite
from workshop.checks.mcp_session import Reply, Session
from workshop.failed import Failed


def call(session: Session, tool: str, name: str) -> Reply:
    # An id that no other check has: as long as TODO 4 is open, equal ids lose their replies.
    request_id = f"{tool} {name}"
    params = {"name": tool, "arguments": {"name": name}}
    return session.ask("tools/call", params, request_id=request_id)


def expect_no_canary(lab: Lab, reply: Reply, hint: str) -> None:
    place = reply.at(lab.canary)
    if place is not None:
        raise Failed(
            hint,
            sent=reply.sent,
            received=reply.raw,
            at=place,
            wanted="nothing of a file that is not in the folder",
        )


@suite.check(
    "path-escape",
    "read_note reads nothing outside its folder",
    todo=12,
    after=("allowed",),
    read="What a tool may do",
    rule="CWE-22. CVE-2025-53110 was a comparison of prefixes, CVE-2025-53109 a symbolic link",
    why="The arguments of a tool come from a model, and a model repeats what it has read.",
    hints={
        "dots": "`..` leads out of the folder.",
        "absolute": 'An absolute path replaces the folder: `NOTES / "/etc/passwd"` is '
        "/etc/passwd.",
        "prefix": "The name notes-private begins like notes, but it is another folder. Compare "
        "paths, not strings: Path.is_relative_to.",
        "link": "This name is in the folder, but the file that it means is not: it is a "
        "symbolic link. Path.resolve follows it.",
    },
)
def path_escape(lab: Lab) -> None:
    alice, _ = lab.users("path-escape")
    outside = lab.notes.resolve().parent / "canary.txt"
    with Session.open(alice, initialize=False) as session:
        for name, hint in (
            ("../canary.txt", "dots"),
            (str(outside), "absolute"),
            ("../notes-private/canary.txt", "prefix"),
            ("shortcut.txt", "link"),
        ):
            expect_no_canary(lab, call(session, "read_note", name), hint)


@suite.check(
    "second-command",
    "A note's name is neither a command nor an option",
    todo=13,
    after=("allowed",),
    read="What a tool may do",
    rule="CWE-78 and CWE-88. CVE-2025-68144 was a name that was taken for an option",
    why="A name that is read as a command, or as an option, does whatever its sender wants.",
    hints={
        "shell": "A shell read the name: after the semicolon it ran a second command.",
        "expanded": "A shell read the name, and replaced a part of it: it runs what is in "
        "`$( )`.",
        "option": "`wc` took the name for an option, which tells it to read another file. `--` "
        "says that what comes next is a name.",
    },
)
def second_command(lab: Lab) -> None:
    alice, _ = lab.users("second-command")
    with Session.open(alice, initialize=False) as session:
        for name, hint in (
            ("shopping.txt; cat ../canary.txt", "shell"),
            ('"$(cat ../canary.txt)"', "expanded"),
            ("--files0-from=../canary.txt", "option"),
        ):
            expect_no_canary(lab, call(session, "count_lines", name), hint)
        reply = call(session, "count_lines", "--help")
        content = reply.result.get("content")
        text = str(content[0].get("text")) if isinstance(content, list) and content else ""
        if "2" not in text.split()[:1]:
            raise Failed(
                "option",
                sent=reply.sent,
                received=reply.raw,
                at=reply.at('"text"'),
                wanted="the two lines of the note that is called --help",
            )
