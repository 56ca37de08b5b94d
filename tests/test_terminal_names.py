"""Names from outside: any characters are shown as text, and take as many columns as are counted."""

import json

import pytest

from choreo.analysis.naming import enumerated, numbered
from choreo.render.names import cut, cut_apart, shown, visible
from tests.terminal import choreo

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "a\nb",
    "a\rb",
    "a\tb",
    "\x08\x08",
    "\x9b31m",
    "\u202egnirts",
    "a\u200bb",
    "\ud800",
    "\ufeff",
    "\u2028",
    "[bold]x[/bold]",
    "[/]",
    "\\[red]",
    ":smile:",
    "e\u0301",
    "\u0301",
    "e" + "\u0301" * 50,
    "東京" * 30,
    "👩\u200d👩\u200d👧",
    "✈\ufe0f",
    "x" * 5000,
    "",
    "  ",
    "client",
    "coordinator",
    "orchestrator",
    "{step}",
    "%s",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize("command", [("run", "--style", "both", "--all"), ("compare",), ("run", "--mermaid")])
def test_no_name_reaches_the_terminal_as_anything_but_text(command: tuple[str, ...], name: str) -> None:
    """No control character, no markup, no text that reaches into other lines."""
    result = choreo(*command, json.dumps([name]), "b", "--fail", "b")

    assert result.exit_code == 0
    assert all(character == "\n" or character.isprintable() for character in result.stdout)
    assert "\u0301\u0301\u0301" not in result.stdout


def test_markup_in_a_name_is_printed_as_it_is() -> None:
    """Square brackets have no special meaning here."""
    result = choreo("run", '["[bold]x[/bold]"]')

    assert "  2  [bold]x[/bold]  succeeded" in result.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain", "plain"),
        ("\x1b[0m", r"\x1b[0m"),
        ("a\u202eb", r"a\u202eb"),
        ("\U000e0041", r"\U000e0041"),
        ("é東", "é東"),
        ("e\u0301", "e\u0301"),
        ("\u0301e", r"\u0301e"),
        ("\u1161", r"\u1161"),
        ("\u1112\u1161\u11ab", "\u1112\u1161\u11ab"),
        ("\U0001f44d\U0001f3fb", "\U0001f44d" + r"\U0001f3fb"),
        ("e\u0301\u0301\u0301", "e\u0301\u0301" + r"\u0301"),
        ("", "''"),
        (" a", "' a'"),
        ("x" * 1000, "x" * 400 + "…"),
    ],
)
def test_a_name_is_made_visible(name: str, text: str) -> None:
    """Letters stay; invisible characters, and those that would not stay in place, are escaped."""
    assert shown(name) == text


def test_in_ascii_everything_else_is_escaped() -> None:
    """Also letters."""
    assert visible("é東\U0001f6eb", ascii_only=True) == r"\xe9\u6771\U0001f6eb"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("東京都", 6, "東京都"),
        ("東京都", 5, "東京…"),
        ("東京都", 4, "東…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_a_text_is_cut_by_the_columns_that_it_takes(text: str, width: int, expected: str) -> None:
    """Not by its characters."""
    assert cut(text, width, "…") == expected


def test_names_that_are_cut_stay_apart() -> None:
    """They are cut in the middle, for names differ at their ends; those that do not are numbered."""
    assert cut_apart(["a_long_name_1", "a_long_name_2", "short"], 8, "…") == ["a_lon…_1", "a_lon…_2", "short"]
    assert cut_apart(["aaaaaaaaaaaa", "aaaaaaaaaaaaa"], 6, "…") == ["aaaa…a", "aaa…a2"]


def test_equal_names_are_numbered() -> None:
    """As their topics are."""
    assert numbered(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_names_are_enumerated() -> None:
    """And where there are very many, counted."""
    assert [enumerated(list(names), most=3) for names in ("", "a", "ab", "abc", "abcd")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 1 more",
    ]
