"""The offline model's guesses: which tools a request means, and with which arguments.

A request is cut into clauses, at "and", "then" and punctuation. In each clause the tool wins
that shares the most words with it: words of its name, description and parameters, or what
people say instead of them.

The values in a request are its numbers, quoted texts, capitalised words and things such as
notes.txt. A parameter takes the value beside its name ("title X", "to X", "3 days"), or else
the next one that its JSON Schema allows. "it" and "the result" are what the call before gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

Json = dict[str, Any]

LONGEST_REQUEST = 4000  # characters
# Words that do not tell which tool is meant.
FILLER = """
    a an the these those some any all i me my we us our you your its he she they is are was be
    do does did has have can could will would should may must please want need like get give
    show tell make use using tool let what which who when where why how much many there here
    now just so if of to in on at for from by with as into about than or not allow include am
"""
# What people say instead of the word that a tool's name or description has.
SAID_INSTEAD = {
    "add": "+ plus sum total altogether more",
    "subtract": "- − minus less away left remaining spent difference",
    "multiply": "* x × times product double",
    "divide": "/ ÷ divided split share shared each half",
    "reverse": "backwards backward",
    "search": "find look",
    "send": "announce know",
    "subscribe": "told notify notified informed follow",
    "unsubscribe": "off stop cancel unfollow",
    "timer": "remind reminder alarm",
    "weather": "umbrella rain raining sunny snow cold warm hot temperature forecast",
}
MEANT = {word: meant for meant, words in SAID_INSTEAD.items() for word in words.split()}
MISSPELT = 0.85  # how alike two words of five letters or more must be, from 0 to 1
NUMBERS = re.findall(
    r"\w+", "zero one two three four five six seven eight nine ten eleven twelve"
)
EARLIER = {"it", "that", "this", "result", "answer"}
PREPOSITIONS = {"in", "to", "from", "of", "for", "at", "on", "into", "by"}
NEGATIONS = {"no", "not", "without", "don't", "never", "false", "off"}
UNLIKELY = 8  # that a plain word is meant as a value
TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"|“[^”]*”|`[^`]*`|(?<!\w)'[^']*'(?!\w))
      |(?P<stop>[,;\n]|\b(?:and|then)\b)
      |[^\s,;()\[\]{}"“”`]+""",
    re.VERBOSE | re.IGNORECASE,
)


# --- Reading the request ------------------------------------------------------------------


@dataclass
class Token:
    kind: str  # quoted, number, literal (notes.txt, 10:30), name, word, earlier, stop or used
    text: str
    value: Any = None


def words_of(text: str) -> list[str]:
    """The stems of the words in a text or a name: listFiles, list_files, "Listing file"."""
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return [stem(word) for word in re.findall(r"[^\W\d_]+", text.lower())]


def stem(word: str) -> str:
    for ending in ("ely", "ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


FILLER_WORDS = {*FILLER.split(), *NUMBERS, *EARLIER}
FILLER_STEMS = set(words_of(" ".join(FILLER_WORDS))) - {stem("note")}  # as "not" is
# A parameter with such a name prefers notes.txt, a@b.org or 10:30 to a quoted text.
WRITTEN_AS_ONE = set(words_of("path file filename url uri email date time start end"))


def read(request: str) -> list[Token]:
    tokens: list[Token] = []
    begins = True  # a sentence: its first word has a capital letter that means nothing
    for found in TOKEN.finditer(request[:LONGEST_REQUEST]):
        text, ends = found[0], found[0][-1] in ".?!\n"
        if found["quoted"]:
            tokens.append(Token("quoted", "", text[1:-1]))
        elif found["stop"]:
            tokens.append(Token("stop", text.lower()))
        elif text := text.rstrip(".?!:…").strip("'’").removesuffix("'s").removesuffix("’s"):
            tokens.append(classify(text, begins))
            if [token.kind for token in tokens[-2:]] == ["name", "name"]:  # "New" and "York"
                both = f"{tokens[-2].text} {text}"
                tokens[-2:] = [Token("name", both, both)]
        if ends:
            tokens.append(Token("stop", "."))
        begins = ends
    digits = any(token.kind == "number" for token in tokens)
    for token, after in zip(tokens, [*tokens, Token("stop", "")][1:], strict=True):
        # "two numbers, 2 and 5" means 2 and 5, but "8 by two" means 8 and 2.
        one = token.text.lower() == "one"
        counts = digits and after.kind == "word" and (one or after.text.endswith("s"))
        if token.text.lower() in NUMBERS and not counts:
            token.kind, token.value = "number", NUMBERS.index(token.text.lower())
    return tokens


def classify(text: str, begins: bool) -> Token:
    if number := re.fullmatch(r"([-+]?)[$€£]?(0|[1-9]\d{0,14})(\.\d{1,15})?[%€]?", text):
        digits = number[1] + number[2]
        return Token("number", text, float(digits + number[3]) if number[3] else int(digits))
    if re.search(r"\d|\w[@/\\_:.]\w|^[/~.]\S", text):
        return Token("literal", text, text)
    if text.lower() in EARLIER:
        return Token("earlier", text)
    return Token("name" if text[0].isupper() and not begins else "word", text, text)


# --- Choosing the tools -------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    schema: Json  # of its arguments


@dataclass
class Step:
    """One call that the request asks for, and the part of it that is about this call."""

    tool: Tool
    tokens: list[Token]

    def has_values(self) -> bool:
        return any(token.kind != "word" for token in self.tokens)

    def form(self, before: str | None) -> Form:
        """Its arguments, where `before` is the result of the call before."""
        form = Form(self.tool, self.tokens, before)
        if form.missing and before is not None:
            # "add 2 and 5, then divide by 7": what is divided is the result.
            form = Form(self.tool, [Token("earlier", ""), *self.tokens], before)
        return form


def plan(request: str, tools: list[Tool]) -> list[Step]:
    """The calls that a request asks for, in order. None if no tool fits."""
    steps: list[Step] = []
    waiting: list[Token] = []
    for new_sentence, clause in clauses(read(request)):
        tool, by_name = choose(clause, tools)
        last = steps[-1] if steps else None
        if tool is None or (last and not by_name and not new_sentence):
            # ", in Paris": more about the call before, or about the one to come.
            (last.tokens if last else waiting).extend(clause)
        elif last and goes_on(last, tool, clause):
            last.tokens.extend(clause)
        else:
            steps.append(Step(tool, waiting + clause))
            waiting = []
    for step in steps:  # now that all that is about it is known
        step.tool = choose(step.tokens, tools, is_all=True)[0] or step.tool
    for step, following in reversed(list(pairwise(steps))):
        if step.form("").missing and not step.has_values():
            # "list and count the files in /tmp": both are about the same values.
            step.tokens = step.tokens + following.tokens
    return steps


def goes_on(last: Step, tool: Tool, clause: list[Token]) -> bool:
    """Whether a clause that names a tool is still about the call before it."""
    before, now = set(words_of(last.tool.name)), set(words_of(tool.name))
    said, said_before = said_in(clause), said_in(last.tokens)
    halves = last.tool is tool and not last.has_values() and not said & said_before & now
    return halves or (before < now and not before & said)  # "search and replace", "… slowly"


def clauses(tokens: list[Token]) -> Iterator[tuple[bool, list[Token]]]:
    """The tokens between two stops, and whether a new sentence begins with them."""
    clause: list[Token] = []
    new_sentence = True
    for token in [*tokens, Token("stop", ".")]:
        if token.kind != "stop":
            clause.append(token)
            continue
        if clause:
            yield new_sentence, clause
            clause, new_sentence = [], False
        new_sentence = new_sentence or token.text not in (",", "and")


def said_in(clause: list[Token], known: Iterable[str] = ()) -> set[str]:
    """The words that may tell which tool is meant. What is quoted is never one of them.

    `known` are words of the tools: one that is said in another way, or misspelt, counts.
    """
    plain = [token.text.lower() for token in clause if token.kind in ("word", "name")]
    said = {word for text in plain if text not in FILLER_WORDS for word in words_of(text)}
    said -= FILLER_STEMS
    meant = {stem(MEANT[text]) for text in plain if text in MEANT}
    for word in said - set(known):
        if len(word) > 4:
            meant.update(get_close_matches(word, known, n=1, cutoff=MISSPELT))
    return said | meant


def choose(
    clause: list[Token], tools: list[Tool], *, is_all: bool = False
) -> tuple[Tool | None, bool]:
    """The tool that fits a clause best, if any does, and whether the clause has its name.

    `is_all`: nothing follows that may have more values for it.
    """
    literals = [token.text for token in clause if token.kind == "literal"]
    names = [set(words_of(tool.name)) for tool in tools]
    known: list[set[str]] = []
    for tool in tools:
        parameters = properties_of(tool.schema)
        known.append(set(words_of(" ".join([tool.name, tool.description, *parameters]))))
    said = said_in(clause, sorted(set().union(*known)))

    def rank(index: int) -> tuple[float, float, bool]:
        # A word of the name counts three times, and one that many tools share counts little.
        score = 100.0 * (tools[index].name in literals)
        for word in sorted(said & known[index]):
            score += (3 if word in names[index] else 1) / sum(word in each for each in known)
        whole_name = len(said & names[index]) / max(1, len(names[index]))
        complete = score > 0 and not Form(tools[index], clause, None).missing
        if is_all and not complete:
            score /= 3  # another tool may be meant, which needs less
        return score, whole_name, complete

    ranked = sorted(((rank(index), -index) for index in range(len(tools))), reverse=True)
    if not ranked or ranked[0][0][0] == 0:
        return None, False
    best = -ranked[0][1]
    return tools[best], bool(said & names[best]) or tools[best].name in literals


def fits(request: str, tools: list[Tool]) -> bool:
    """Whether there is a tool for the request, and an argument for each of its numbers."""
    steps = plan(request, tools)
    form = steps[0].form(None) if steps else None
    return form is not None and not form.missing and not form.unused()


# --- Filling in the arguments -------------------------------------------------------------


def properties_of(schema: Json) -> Json:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


@dataclass(order=True)
class Fit:
    """A token that a parameter can take."""

    unlikely: int  # 0 where hardly anything else can be meant
    index: int
    value: Any = field(compare=False)


class Form:
    """The arguments of one call, and the names of those that are missing."""

    def __init__(self, tool: Tool, tokens: Iterable[Token], before: str | None) -> None:
        self.tool, self.before = tool, before
        self.tokens = [replace(token) for token in tokens]
        self.said = [set(words_of(token.text)) for token in self.tokens]
        # Words that name the tool or a parameter are not values.
        self.own = FILLER_STEMS | set(words_of(tool.name))
        self.names = set(re.findall(r"[^\W_]+", tool.name.lower()))
        self.described = set(words_of(tool.description))
        self.arguments, self.missing = self.fill(tool.schema)

    def unused(self) -> list[str]:
        kinds = ("number", "quoted")
        return [str(token.value) for token in self.tokens if token.kind in kinds]

    def fill(self, schema: Json, depth: int = 0) -> tuple[Json, list[str]]:
        """An object for the schema, and the names of the properties that it lacks."""
        properties = {
            name: {**self.plain(each), "title": name}
            for name, each in properties_of(schema).items()
        }
        listed = schema.get("required")
        required = [name for name in properties if isinstance(listed, list) and name in listed]
        self.own |= {word for name in properties for word in words_of(name)}
        made: Json = {}
        for name, each in properties.items():
            if each.get("type") == "boolean" and (name in required or self.mentions(name)):
                made[name] = self.agrees(name)

        def urgency(name: str) -> tuple[bool, bool, bool]:
            # A list takes all that is left, so it comes after what takes only one.
            each = properties[name]
            return "enum" not in each, name not in required, each.get("type") == "array"

        order = sorted(self.spoken_order(list(properties)), key=urgency)
        for name in order:
            for window in self.beside(name, properties):
                if name not in made and (
                    found := self.take(properties[name], window, True, depth)
                ):
                    made[name] = found[0]
        for name in order:
            everywhere, needed = range(len(self.tokens)), name in required
            if name not in made and (
                found := self.take(properties[name], everywhere, needed, depth)
            ):
                made[name] = found[0]
        return made, [name for name in required if name not in made]

    def plain(self, schema: Any) -> Json:
        """A schema without `$ref`, and without the alternative null."""
        for _ in range(8):  # references may go in a circle
            if not isinstance(schema, dict):
                break
            several = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            types = schema.get("type")
            if isinstance(schema.get("$ref"), str):
                target: Any = self.tool.schema
                for key in schema["$ref"].split("/")[1:]:
                    target = target.get(key) if isinstance(target, dict) else None
                schema = target
            elif isinstance(several, list):
                useful = [one for one in several if one != {"type": "null"}]
                schema = useful[0] if len(useful) == 1 else {}
            elif isinstance(types, list):
                useful = [one for one in types if one != "null"]
                schema = {**schema, "type": useful[0] if len(useful) == 1 else None}
            else:
                return schema
        return {}

    def spoken_order(self, names: list[str]) -> list[str]:
        """With "Take b from a" as the description, b comes first in "take 3 from 9" too."""
        said = re.findall(r"\w+", self.tool.description.lower())
        if not names or not set(names) <= set(said):
            return names
        spoken = sorted(names, key=said.index)
        between = said[said.index(spoken[0]) + 1 : said.index(spoken[-1])]
        return spoken if any(token.text.lower() in between for token in self.tokens) else names

    def mentions(self, name: str) -> bool:
        wanted = set(words_of(name)) - FILLER_STEMS
        return bool(wanted) and wanted <= set().union(*self.said)

    def agrees(self, name: str) -> bool:
        """Whether the request has the word and does not negate it."""
        wanted = set(words_of(name)) - FILLER_STEMS
        places = [index for index, said in enumerate(self.said) if wanted & said]
        around = self.tokens[max(0, places[0] - 2) : places[-1] + 2] if places else []
        return bool(around) and not any(one.text.lower() in NEGATIONS for one in around)

    def beside(self, name: str, properties: Json) -> Iterator[range]:
        """Where a value may be that the request names; the last mention comes first."""
        of_others = {word for each in properties if each != name for word in words_of(each)}
        own = {word for word in words_of(name) if len(word) > 1 and word not in of_others}
        kind, end = properties[name].get("type"), len(self.tokens)
        for index in reversed(range(end)):
            if self.tokens[index].kind not in ("word", "name") or not own & self.said[index]:
                continue
            after = range(index + 1, end if kind == "array" else min(end, index + 4))
            if kind in ("number", "integer"):
                before = range(max(0, index - 1), index)
                plural = self.tokens[index].text.endswith("s")  # "3 days", but "day 3"
                yield from (before, after) if plural else (after, before)
            else:
                yield after

    def take(self, schema: Json, window: range, needed: bool, depth: int) -> list[Any]:
        """The likeliest value in the window: a list of one, or of none."""
        is_list = schema.get("type") == "array"
        item = self.plain(schema.get("items")) if is_list else schema
        if item.get("type") == "object":
            if not needed or depth == 2:
                return []
            made, missing = self.fill(item, depth + 1)
            return [] if missing else [[made] if is_list else made]
        found = sorted(fit for index in window if (fit := self.fit(index, item)))
        if not needed:
            found = [fit for fit in found if fit.unlikely < (UNLIKELY if is_list else 1)]
        if is_list:  # plain words only if there is nothing better
            found = [fit for fit in found if fit.unlikely < UNLIKELY] or found
            found.sort(key=lambda fit: fit.index)
        else:
            found = found[:1]
        if found and not is_list:
            self.join_words(found[0], item)
        for fit in found:
            self.tokens[fit.index].kind = "used"
        values = [fit.value for fit in found]
        return [values] if is_list and values else values

    def join_words(self, first: Fit, schema: Json) -> None:
        """Plain words that follow each other are one value: "new york"."""
        for index in range(first.index, len(self.tokens)):
            if self.tokens[index].kind != "word" or not self.fit(index, schema):
                break
            if index > first.index:
                first.value += f" {self.tokens[index].text}"
                self.tokens[index].kind = "used"

    def fit(self, index: int, schema: Json) -> Fit | None:
        """The token as a value of the schema, if it can be one."""
        token, kind = self.tokens[index], schema.get("type")
        if token.kind == "used":
            return None
        if isinstance(schema.get("enum"), list):
            meant = [each for each in schema["enum"] if self.means(index, str(each))]
            return Fit(0, index, max(meant, key=lambda each: len(str(each)))) if meant else None
        if kind in ("number", "integer"):
            value = number_in(self.before) if token.kind == "earlier" else token.value
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            fine = isinstance(value, int) or (isinstance(value, float) and kind == "number")
            return Fit(0, index, value) if fine else None
        if kind not in ("string", None):
            return None
        if token.kind == "number":
            return Fit(UNLIKELY + 1, index, token.text if kind else token.value)
        if token.kind == "earlier":
            return Fit(2, index, self.before) if self.before and token.text else None
        if token.kind == "literal" and token.text == self.tool.name:
            return None
        if token.kind in ("word", "name") and self.said[index] <= self.own:
            return None
        if MEANT.get(token.text) in self.names:  # "plus" names the tool, too
            return None
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and not matches(pattern, str(token.value)):
            return None
        if token.kind == "word":
            # In "the weather in paris", "weather" is what the tool is about. "paris" is not.
            previous = self.tokens[index - 1] if index else token
            led = previous.text.lower() in PREPOSITIONS or isinstance(
                previous.value, int | float
            )
            if led:
                return Fit(UNLIKELY - 1, index, token.value)
            about = self.said[index] <= self.described
            return None if about else Fit(UNLIKELY, index, token.value)
        names = set(words_of(f"{schema.get('title')} {schema.get('format')}"))
        best = ("literal", "quoted") if names & WRITTEN_AS_ONE else ("quoted", "name")
        return Fit(best.index(token.kind) if token.kind in best else 2, index, token.value)

    def means(self, index: int, value: str) -> bool:
        """Whether a token is the value "high", or the last word of a value "in_progress"."""
        token = self.tokens[index]
        text = str(token.value) if token.kind == "quoted" else token.text
        wanted, said = words_of(value), words_of(text)
        if token.kind == "quoted" or not wanted or not said:
            return text.lower() == value.lower()
        return said[-1] == wanted[-1] and set(wanted) <= set().union(*self.said)


def matches(pattern: str, value: str) -> bool:
    """Whether a value is as the schema's `pattern` wants it. Not all of them are Python's."""
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def number_in(result: str | None) -> float | None:
    """The one number in a result, unless the result tells of a failure."""
    found = re.findall(r"-?\d{1,15}(?:\.\d+)?(?:e[-+]?\d\d?)?", result or "", re.IGNORECASE)
    failed = re.search("error|fail", result or "", re.IGNORECASE)
    return float(found[0]) if len(found) == 1 and not failed else None
