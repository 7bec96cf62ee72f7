"""The two CI modes, the settings, and the summary that names broken lessons."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lessons_summary import OTHER, lesson_of
from tests.parts import INSTALL
from workshop.cli import app
from workshop.course import ROOT


def sources(*folders: str) -> list[Path]:
    """The Python files of the project in these folders."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


def test_env_example_lists_every_setting_with_its_default() -> None:
    # What a program is told by the system, or tells another program, is no setting.
    of_others = {
        *("PATH", "HOME", "NO_COLOR", "TERM", "COLUMNS", "LINES"),
        *("DOCKER_HOST", "GIVEN", "PYTHONUNBUFFERED", "WARM_TERMINAL"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_WORKER"),
    }
    read = {
        name
        for path in sources("scripts", "solutions", "workshop", "tests")
        for name in re.findall(
            # (`number` is how lesson 11's settings read one. Those of lesson 09 name the
            # environment first.)
            r"""(?:environ(?:\.get\(|\[)|getenv\(|\b(?:whole_)?number\("""
            r"""|\b(?:rate|number|seconds|one_of)\(environment,|\b(?:read_tokens\(|analytics=)environment\.get\()"""
            r"""\s*["'](\w+)""",
            path.read_text(encoding="utf-8"),
        )
    } - of_others
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = re.findall(r"^# .*Default: .+\n# ([A-Z_]+)=", text, re.MULTILINE)
    assert set(listed) == read
    assert len(listed) == len(re.findall(r"^#? ?[A-Z_]+=", text, re.MULTILINE))


def test_ci_installs_every_part_that_a_test_requires() -> None:
    required = {
        name
        for path in sources("tests")
        for name in re.findall(r"\brequire\(\"([\w-]+)\"\)", path.read_text(encoding="utf-8"))
    }
    assert required <= set(INSTALL)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert required <= set(re.findall(r'"([\w-]+):[\w-]+"', script))


def test_ci_runs_the_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^uv run pytest$", readme, re.MULTILINE)
    assert re.search(
        r"^uv run pytest \"\$@\" </dev/null\n\Z",
        (ROOT / ".ci" / "run").read_text(encoding="utf-8"),
        re.MULTILINE,
    )


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_the_readme_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"uv run (scripts/\S+)", text):
        assert (ROOT / target).is_file(), target
    commands = {one.callback.__name__ for one in app.registered_commands if one.callback}
    assert set(re.findall(r"uv run workshop (\w+)", text)) <= commands


@pytest.mark.parametrize("name", ["run", "newest"])
def test_ci_scripts_are_executable_and_whole(name: str) -> None:
    script = ROOT / ".ci" / name
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


SLUGS = ["01_flask_stream", "05_sse_server"]


@pytest.mark.parametrize(
    ("nodeid", "lesson"),
    [
        ("tests/test_05_sse_server.py::test_a", "05_sse_server"),
        ("tests/test_05_clients.py::test_a[01_flask_stream]", "05_sse_server"),
        ("tests/test_three_proofs.py::test_a[01_flask_stream-no-type]", "01_flask_stream"),
        ("tests/test_09_security.py::test_a", OTHER),
        ("tests/test_cli.py::test_a[5]", OTHER),
        ("tests/test_notebooks.py::test_a[05]", "05_sse_server"),
    ],
)
def test_a_test_belongs_to_a_lesson(nodeid: str, lesson: str) -> None:
    assert lesson_of(nodeid, SLUGS) == lesson


def test_an_unknown_lesson_is_said_at_once() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--lesson", "99", "--collect-only", "-q", "-n", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--lesson 99: no such lesson. There are 01, " in run.stderr


def test_a_failing_run_names_the_lessons_that_are_broken(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.lessons_summary import pytest_terminal_summary\n", encoding="utf-8"
    )
    (tmp_path / "test_05_x.py").write_text(
        "import pytest\n"
        "def test_a(): assert False\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_b(broken): pass\n"
        "def test_c(): pass\n",
        encoding="utf-8",
    )
    (tmp_path / "test_other.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('slug', ['01_flask_stream', '02_event_format'])\n"
        "def test_a(slug): assert slug != '01_flask_stream'\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    summary = run.stdout.partition("lessons that are broken")[2]
    assert summary.splitlines()[1:3] == [
        "01_flask_stream: 1 test failed",
        "05_sse_server: 2 tests failed",
    ], run.stdout
