"""The offline model, with tools that nobody made it for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from workshop.course import ROOT

if TYPE_CHECKING:  # to import them takes two seconds: only the tests themselves do
    from agents import Agent, FunctionTool, Tool

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/07_sdk_client"

Json = dict[str, Any]


@cache
def offline_model() -> ModuleType:
    """The file, without leaving plain names behind for other lessons."""
    sys.path.insert(0, str(FOLDER))
    try:
        __import__("offline_model")
        del sys.modules["offline_words"]
        return sys.modules.pop("offline_model")
    finally:
        sys.path.remove(str(FOLDER))


def agent_with(*tools: Tool) -> Agent[None]:
    """An agent that the offline model answers for."""
    from agents import Agent

    return Agent(name="t", tools=[*tools], model=offline_model().OfflineModel())


NUMBER: Json = {"type": "number"}
INTEGER: Json = {"type": "integer"}
TEXT: Json = {"type": "string"}
YES_OR_NO: Json = {"type": "boolean"}
OPTIONAL = "?"


def one_of(*values: Any) -> Json:
    return {"enum": list(values)}


def list_of(items: Json) -> Json:
    return {"type": "array", "items": items}


def object_of(**properties: Json) -> Json:
    return {"type": "object", **parameters(properties)}


def parameters(properties: dict[str, Json]) -> Json:
    """`name_` is an optional parameter `name`."""
    return {
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
        "required": [name for name in properties if not name.endswith("_")],
    }


Call = tuple[str, Json]
Answer = Callable[[Json], str]


class Tools:
    """A set of tools, and a record of what was called."""

    def __init__(
        self, *tools: tuple[str, str, Json], answers: dict[str, Answer] | None = None
    ) -> None:
        self.calls: list[Call] = []
        self.answers = answers or {}
        self.tools = tools

    def tool(self, name: str, description: str, schema: Json) -> FunctionTool:
        from agents import FunctionTool

        async def invoke(_: Any, arguments: str) -> str:
            self.calls.append((name, json.loads(arguments)))
            return self.answers.get(name, lambda _: "done")(self.calls[-1][1])

        return FunctionTool(
            name=name,
            description=description,
            params_json_schema=schema,
            on_invoke_tool=invoke,
            strict_json_schema=False,
        )

    def agent(self) -> Agent[None]:
        return agent_with(*(self.tool(*each) for each in self.tools))

    async def ask(self, request: str) -> str:
        """The answer, without the line that says what gives it."""
        from agents import Runner

        self.calls.clear()
        result = await Runner.run(self.agent(), request)
        first, _, rest = str(result.final_output).partition("\n")
        assert first == offline_model().WHAT_THIS_IS and "not a language model" in first
        return rest


def a_tool(name: str, description: str, **properties: Json) -> tuple[str, str, Json]:
    return name, description, {"type": "object", **parameters(properties)}


@pytest.fixture(autouse=True)
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    from agents import set_tracing_disabled

    set_tracing_disabled(True)


WEATHER = Tools(
    a_tool(
        "get_weather",
        "The current weather in a city.",
        city=TEXT,
        units_=one_of("metric", "imperial"),
    ),
    a_tool("get_forecast", "A weather forecast for the coming days.", city=TEXT, days_=INTEGER),
    a_tool("list_alerts", "Storm warnings.", region=TEXT, include_expired_=YES_OR_NO),
)
FILES = Tools(
    a_tool("read_file", "Read a text file.", path=TEXT),
    a_tool("write_file", "Write text to a file.", path=TEXT, content=TEXT, append_=YES_OR_NO),
    a_tool("list_folder", "List what is in a folder.", path=TEXT, recursive_=YES_OR_NO),
    a_tool("delete_file", "Delete a file.", path=TEXT),
    a_tool("search", "Search all files for a text.", pattern=TEXT, max_results_=INTEGER),
)
CALENDAR = Tools(
    a_tool(
        "createEvent",
        "Put an event into the calendar.",
        title=TEXT,
        date=TEXT,
        time_=TEXT,
        attendees_=list_of(TEXT),
    ),
    a_tool("listEvents", "The events of one day.", date=TEXT),
    a_tool("deleteEvent", "Take an event out of the calendar.", event_id=TEXT),
    a_tool("set_status", "Set the status of an event.", status=one_of("open", "in_progress")),
)
TEXTS = Tools(
    a_tool("reverse", "Turn a text around.", text=TEXT),
    a_tool("shout", "A text in capital letters.", text=TEXT),
    a_tool("repeat", "A text several times.", text=TEXT, times_=INTEGER),
    a_tool("count", "Count the words of a text.", text=TEXT),
    answers={
        "reverse": lambda given: given["text"][::-1],
        "shout": lambda given: given["text"].upper(),
        "repeat": lambda given: given["text"] * given.get("times", 2),
        "count": lambda given: str(len(given["text"].split())),
    },
)
UNITS = Tools(
    a_tool(
        "convert",
        "Convert a length between units such as miles and kilometers.",
        value=NUMBER,
        from_unit=TEXT,
        to_unit=TEXT,
    ),
    a_tool(
        "convert_temperature",
        "Convert a temperature.",
        degrees=NUMBER,
        source=one_of("celsius", "fahrenheit", "kelvin"),
        target=one_of("celsius", "fahrenheit", "kelvin"),
    ),
    a_tool("round_off", "Round a value.", value=NUMBER, digits_=INTEGER),
    answers={"convert": lambda given: str(given["value"] * 1.5)},
)
BANK = Tools(
    a_tool("get_balance", "The balance of an account.", account=TEXT),
    a_tool("set_balance", "Set the balance of an account.", account=TEXT, amount=NUMBER),
    a_tool(
        "transfer",
        "Send money from one account to another.",
        amount=NUMBER,
        from_account=TEXT,
        to_account=TEXT,
        note_={"anyOf": [TEXT, {"type": "null"}]},
    ),
    a_tool(
        "open_account",
        "Open an account.",
        owner=object_of(name=TEXT, city_=TEXT),
        kind=one_of("savings", "checking"),
        joint=YES_OR_NO,
    ),
    answers={"get_balance": lambda _: "Error: 503, the bank is closed"},
)
STATISTICS = Tools(
    a_tool("mean", "The average of numbers.", values=list_of(NUMBER), digits_=INTEGER),
    a_tool("minus", "Take b from a.", a=NUMBER, b=NUMBER),
    a_tool("plot", "Draw points.", points=list_of(object_of(x=NUMBER, y=NUMBER))),
    a_tool("dice", "Roll dice.", sides_=INTEGER),
    answers={
        "mean": lambda given: json.dumps({"mean": sum(given["values"]) / len(given["values"])}),
        "minus": lambda given: str(given["a"] - given["b"]),
        "dice": lambda _: "no dice",
    },
)


@pytest.mark.parametrize(
    ("tools", "request_", "calls"),
    [
        (WEATHER, "What's the weather in Paris?", [("get_weather", {"city": "Paris"})]),
        (
            WEATHER,
            "what is the weather like in new york?",
            [("get_weather", {"city": "new york"})],
        ),
        (
            WEATHER,
            "Weather in New York in imperial units, please",
            [("get_weather", {"city": "New York", "units": "imperial"})],
        ),
        (
            WEATHER,
            "forecast for Rome for 3 days",
            [("get_forecast", {"city": "Rome", "days": 3})],
        ),
        (
            WEATHER,
            "Get the weather in Paris and the forecast for Rome",
            [("get_weather", {"city": "Paris"}), ("get_forecast", {"city": "Rome"})],
        ),
        (
            WEATHER,
            "weather and forecast for Paris",
            [("get_weather", {"city": "Paris"}), ("get_forecast", {"city": "Paris"})],
        ),
        (
            WEATHER,
            "alerts in Texas, including expired",
            [("list_alerts", {"region": "Texas", "include_expired": True})],
        ),
        (
            WEATHER,
            "alerts in Texas, not including expired ones",
            [("list_alerts", {"region": "Texas", "include_expired": False})],
        ),
        (FILES, "read notes.txt", [("read_file", {"path": "notes.txt"})]),
        (
            FILES,
            "write 'delete everything, then stop' to notes.txt",
            [("write_file", {"path": "notes.txt", "content": "delete everything, then stop"})],
        ),
        (FILES, "read_file /etc/hosts", [("read_file", {"path": "/etc/hosts"})]),
        (
            FILES,
            "list the folder ~/music recursively",
            [("list_folder", {"path": "~/music", "recursive": True})],
        ),
        (
            FILES,
            "Delete the file old.txt. Then list the folder /tmp",
            [("delete_file", {"path": "old.txt"}), ("list_folder", {"path": "/tmp"})],
        ),
        (
            FILES,
            'search for "to do", max results 5',
            [("search", {"pattern": "to do", "max_results": 5})],
        ),
        (
            CALENDAR,
            "Create an event 'Lunch' on 2026-12-01 at 12:30 with Alice and Bob",
            [
                (
                    "createEvent",
                    {
                        "title": "Lunch",
                        "date": "2026-12-01",
                        "time": "12:30",
                        "attendees": ["Alice", "Bob"],
                    },
                )
            ],
        ),
        (CALENDAR, "list events on Monday", [("listEvents", {"date": "Monday"})]),
        (CALENDAR, "delete event 42", [("deleteEvent", {"event_id": "42"})]),
        (CALENDAR, "status: in progress", [("set_status", {"status": "in_progress"})]),
        (TEXTS, "reverse 'abc'", [("reverse", {"text": "abc"})]),
        (TEXTS, "Reverse the text hello", [("reverse", {"text": "hello"})]),
        (TEXTS, "repeat “ß 雪” 3 times", [("repeat", {"text": "ß 雪", "times": 3})]),
        (TEXTS, "count 雪", [("count", {"text": "雪"})]),
        (
            TEXTS,
            "reverse 'ab', shout it and then repeat the result 3 times",
            [
                ("reverse", {"text": "ab"}),
                ("shout", {"text": "ba"}),
                ("repeat", {"text": "BA", "times": 3}),
            ],
        ),
        (
            UNITS,
            "convert 5 miles to kilometers",
            [("convert", {"value": 5, "from_unit": "miles", "to_unit": "kilometers"})],
        ),
        (
            UNITS,
            "convert from feet to meters: 3.5",
            [("convert", {"value": 3.5, "from_unit": "feet", "to_unit": "meters"})],
        ),
        (
            UNITS,
            "convert the temperature of -40 celsius to fahrenheit",
            [
                (
                    "convert_temperature",
                    {"degrees": -40, "source": "celsius", "target": "fahrenheit"},
                )
            ],
        ),
        (
            UNITS,
            "convert 5 miles to kilometers and round off to 2 digits",
            [
                ("convert", {"value": 5, "from_unit": "miles", "to_unit": "kilometers"}),
                ("round_off", {"value": 7.5, "digits": 2}),
            ],
        ),
        (
            BANK,
            "I want to send $50 from Alice to Bob with the note 'rent'",
            [
                (
                    "transfer",
                    {
                        "amount": 50,
                        "from_account": "Alice",
                        "to_account": "Bob",
                        "note": "rent",
                    },
                )
            ],
        ),
        (BANK, "What is the balance of Alice?", [("get_balance", {"account": "Alice"})]),
        (
            BANK,
            "Set Alice's balance to 12.50",
            [("set_balance", {"account": "Alice", "amount": 12.5})],
        ),
        (
            BANK,
            "open a joint savings account for the owner Ann in the city Oslo",
            [
                (
                    "open_account",
                    {
                        "owner": {"name": "Ann", "city": "Oslo"},
                        "kind": "savings",
                        "joint": True,
                    },
                )
            ],
        ),
        (STATISTICS, "average of 1, 2 and 6", [("mean", {"values": [1, 2, 6]})]),
        (STATISTICS, "the average of two and four", [("mean", {"values": [2, 4]})]),
        (STATISTICS, "10 minus 3", [("minus", {"a": 10, "b": 3})]),
        (STATISTICS, "minus: take 3 from 10", [("minus", {"a": 10, "b": 3})]),
        (
            STATISTICS,
            "mean of 1 and 3, then minus 5",
            [("mean", {"values": [1, 3]}), ("minus", {"a": 2, "b": 5})],
        ),
        (STATISTICS, "roll the dice", [("dice", {})]),
        (STATISTICS, "roll dice with 20 sides", [("dice", {"sides": 20})]),
        (STATISTICS, "draw a point at 3 4", [("plot", {"points": [{"x": 3, "y": 4}]})]),
    ],
)
async def test_calls(tools: Tools, request_: str, calls: list[Call]) -> None:
    answer = await tools.ask(request_)
    assert tools.calls == calls
    lines = answer.splitlines()
    assert [line.partition("(")[0] for line in lines] == [name for name, _ in calls]
    assert await tools.ask(request_) == answer, "the same request, the same answer"


@pytest.mark.parametrize(
    ("tools", "request_"),
    [(WEATHER, "Get me a coffee"), (FILES, "tell me a joke"), (BANK, "2 + 2"), (TEXTS, "雪?")],
)
async def test_no_tool_fits(tools: Tools, request_: str) -> None:
    answer = await tools.ask(request_)
    assert tools.calls == []
    assert answer.startswith("No tool fits this request. The tools are: ")
    name, _, _ = tools.tools[0]
    assert name in answer


async def test_what_is_missing_and_what_is_left_over() -> None:
    assert await WEATHER.ask("What's the weather?") == "get_weather: the request has no city."
    assert WEATHER.calls == []
    assert await BANK.ask("transfer 50") == (
        "transfer: the request has no from_account, no to_account."
    )
    answer = await STATISTICS.ask("minus 9 4 1")
    assert answer == "minus(a=9, b=4): 5\nNot used: 1."
    assert await STATISTICS.ask("roll dice with 2.5 sides") == "dice(): no dice\nNot used: 2.5."


async def test_a_tool_that_fails() -> None:
    """What it says is the answer, and no number is taken from it."""
    from agents import Runner, function_tool

    answer = await BANK.ask("balance of Alice, then set it as the balance of Bob")
    assert [name for name, _ in BANK.calls] == ["get_balance"]
    assert answer.splitlines() == [
        "get_balance(account='Alice'): Error: 503, the bank is closed",
        "set_balance: the request has no amount.",
    ]

    @function_tool
    def ring() -> str:
        """Ring."""
        raise RuntimeError("boom")

    result = await Runner.run(agent_with(ring), "ring")
    assert "ring(): An error occurred" in str(result.final_output)


async def test_the_last_message_is_the_request() -> None:
    from agents import Runner, TResponseInputItem

    first = await Runner.run(WEATHER.agent(), "weather in Paris")
    WEATHER.calls.clear()
    both: list[TResponseInputItem] = [
        *first.to_input_list(),
        {"role": "user", "content": "and the forecast for Rome"},
    ]
    second = await Runner.run(WEATHER.agent(), both)
    assert WEATHER.calls == [("get_forecast", {"city": "Rome"})]
    assert "Paris" not in str(second.final_output)


async def test_streaming() -> None:
    from agents import Runner
    from openai.types.responses import ResponseTextDeltaEvent

    TEXTS.calls.clear()
    result = Runner.run_streamed(TEXTS.agent(), "shout 'hi' and reverse it")
    text = ""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(
            event.data, ResponseTextDeltaEvent
        ):
            text += event.data.delta
    assert text == result.final_output
    assert text.splitlines() == [
        offline_model().WHAT_THIS_IS,
        "shout(text='hi'): HI",
        "reverse(text='HI'): IH",
    ]


@pytest.mark.parametrize(
    "request_",
    [
        "",
        " \n\t",
        "\0\x1b[2J" * 50,
        "'" * 5000,
        '"' * 5001,
        "a" * 1_000_000,
        "9" * 1_000_000,
        "-" * 5000 + "1e999 NaN Infinity",
        "weather in Paris and " * 50_000,
        "Weather " * 5000,
        "i\u0307\u0130\ud83d\ude00\u202e\u0661\u0662" * 300,
        "[" * 10_000,
    ],
    ids=lambda text: ascii(text[:12]),
)
async def test_hostile_requests(request_: str) -> None:
    began = time.process_time()
    for tools in (WEATHER, STATISTICS):
        await tools.ask(request_)
        assert len(tools.calls) <= 8
        json.dumps(tools.calls, allow_nan=False)
    assert time.process_time() - began < 5


async def test_more_calls_than_it_makes() -> None:
    answer = await STATISTICS.ask("roll dice. " * 20)
    assert len(STATISTICS.calls) == 8
    assert answer.endswith("\nThis made 8 calls, and left out the others.")


def loop() -> Json:
    return {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}


def tree() -> Json:
    node = {"$ref": "#/$defs/node"}
    names = {f"child{number}": node for number in range(20)}
    return {
        "type": "object",
        "properties": {"root": node},
        "required": ["root"],
        "$defs": {"node": {"type": "object", "properties": names, "required": list(names)}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": None, "required": None},
        {"properties": [], "required": 5},
        {
            "properties": {"x": True, "y": 5, "z": {"type": ["integer", 5]}},
            "required": [{}, "x"],
        },
        {"properties": {"x": {"enum": 5}, "y": {"enum": [None, {}]}}, "required": ["x", "y"]},
        {"properties": {"x": {"anyOf": 5}, "y": {"$ref": "#/nowhere"}}, "required": ["y"]},
        {"properties": {"x": loop()}, "required": ["x"]},
        {"properties": {"": TEXT, "a b": TEXT}, "required": [""]},
        tree(),
    ],
    ids=lambda schema: str(schema)[:40],
)
async def test_odd_schemas(schema: Json) -> None:
    began = time.process_time()
    tools = Tools(("odd", "", schema), ("", "", {}))
    assert await tools.ask("an odd thing, 5 and 'x' for Bob")
    assert time.process_time() - began < 5


def test_it_names_no_tool_of_the_course() -> None:
    """It would be a recording if it did: words from the tools of our own servers."""
    listed = subprocess.run(
        [
            "git",
            "grep",
            "-hoE",
            r"^(async )?def [a-z_]+\(.*\) -> (float|str):$",
            "--",
            "scripts/06_sdk_server",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {match[1] for match in re.finditer(r"def (\w+)\(", listed)}
    assert {"add", "divide", "multiply"} <= names
    for name in ("offline_model", "offline_words"):
        code = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        code = re.sub(r'"""(.|\n)*?"""|#.*', "", code)  # what is said about it may
        code = re.sub(r"SAID_INSTEAD = \{.*?\n\}", "", code, flags=re.DOTALL)  # English words
        for tool in ("add", "divide", "multiply", "subtract", "echo"):
            assert not re.search(rf"\b{tool}\b", code), tool


def first_call(request: Json, tools: Json) -> Json | None:
    """What it calls first for a request of the set, or None if it calls nothing."""
    offered = [
        offline_model().Tool(name, tools[name]["description"], tools[name]["parameters"])
        for name in request["tools"]
    ]
    given = [{"role": "user", "content": request["request"]}]
    step = offline_model().next_step(given, offered)
    return None if isinstance(step, str) else {"name": step[0], "arguments": step[1]}


def test_it_is_right_on_nine_of_ten_requests_of_a_set() -> None:
    """Requests as people type them, written by somebody who had not seen the rules.

    With the rules of that day it was right on 33 of the 60. The rules then learned what people
    say instead of a tool's words. The rest is wrong to this day, and listed.
    """
    path = ROOT / "tests/offline_requests.json"
    given = json.loads(path.read_text(encoding="utf-8"))
    requests = given["requests"]
    wanting_none = [request for request in requests if request["expected"] is None]
    assert (len(requests), len(wanting_none)) == (60, 15)
    wrong = [
        request["request"]
        for request in requests
        if first_call(request, given["tools"]) != request["expected"]
    ]
    assert wrong == [
        "hi! how many GBP would I get for 59.99 CHF?",
        "How much is 20 euros in US dollars?",
        "I love the weather in spring, it always makes me happy",
        "lol my secret is that I ate the last 2 biscuits",
        "We are 8 people and the bill is 230.40. "
        "If we split it equally, what does each of us pay?",
        "I don't want to get any more door_events, can you take me off them? "
        "Everyone else should keep getting them.",
    ]
