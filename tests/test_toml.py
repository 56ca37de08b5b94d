"""TOML from outside: nesting is bounded before parsing."""

import tomllib
from pathlib import Path

import pytest

from choreo.saga.file import WrongDefinition, read_definition
from choreo.saga.file.toml import KEY_PARTS_MAX, NESTING_MAX, NotToml, parse_toml
from tests.stories import in_fresh_process
from tests.terminal import choreo, prose

PARTS = ".".join("a" * KEY_PARTS_MAX)

HOSTILE = {
    "a dotted key": ".".join("a" * 16_000) + " = 1",
    "a dotted key in quotes": " . ".join(["'a'", '"a"'] * 4_000) + " = 1",
    "a header": f"[{'.'.join('a' * 16_000)}]",
    "a header of tables": f"[[{'.'.join('a' * 16_000)}]]",
    "an inline table": f"a = {{ {'.'.join('a' * 16_000)} = 1 }}",
    "many headers": "\n".join(f"[{'.'.join(f'{number:016x}')}]" for number in range(25_000)),
    "inline tables": "a = " + "{ a = " * 100_000,
    "arrays": "a = " + "[" * 900_000,
    "strings without an end": 'a = """' + r"\"" "" * 200_000,
}


def read_hostile(path: str) -> None:
    """Print the error about the file, and the peak memory of the process, in kB."""
    try:
        read_definition(path)
    except WrongDefinition as error:
        print(error)
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_toml_is_refused_within_bounds(tmp_path: Path, hostile: str) -> None:
    """A line of words, and no more memory than a large file takes; tomllib took a gigabyte for the first."""
    path = tmp_path / "hostile.toml"
    path.write_text(HOSTILE[hostile])

    told, peak_kb = in_fresh_process(read_hostile, str(path)).splitlines()

    assert "expected" in told
    assert len(told) < 400
    assert int(peak_kb) < 80 * 1024


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"\n\nx = 1\n{PARTS}.a = 1", "line 4: expected a key of at most 16 parts, got one of 17"),
        (f"[{PARTS}.a]", "line 1: expected a key of at most 16 parts, got one of 17"),
        (f"a = 1\nb = {'[' * 33}{']' * 33}", "line 2: expected at most 32 open brackets, got more"),
    ],
)
def test_the_line_is_named_with_what_was_expected_and_what_came(text: str, told: str) -> None:
    """Beyond either bound."""
    with pytest.raises(NotToml) as caught:
        parse_toml(text)

    assert str(caught.value) == told


@pytest.mark.parametrize(
    "text",
    [
        f"{PARTS} = 1",
        f"[{PARTS}]\n{PARTS} = 1",
        f"a = {'[' * NESTING_MAX}{']' * NESTING_MAX}",
        f'"{PARTS}.a" = "{PARTS}.a"',
        f"'{PARTS}.a' = '{PARTS}.a'",
        f'a = """\n{PARTS}.a\n\\""""" # {PARTS}.a',
        f"a = '''\n{PARTS}.a'''''",
        f"# {PARTS}.a {'[' * 40}",
        f'a = "{"[" * 40}"\nb = "\\"{"[" * 40}"',
        "\n".join(["[[step]]", "effect.credit = -1.5"] * 1_000),
        "a = \"\"\nb = ''\nc = \"\"\"\"\"\"\nd = ''''''",
        f"a = [{', '.join(['1.5'] * 5_000)}]",
    ],
)
def test_what_is_within_the_bounds_is_read_as_tomllib_reads_it(text: str) -> None:
    """Dots and brackets in strings and comments do not count."""
    assert parse_toml(text) == tomllib.loads(text)


def test_a_mapping_has_the_same_bounds(tmp_path: Path) -> None:
    """`choreo check --mapping` names the error."""
    mapping, log = tmp_path / "mapping.toml", tmp_path / "log.jsonl"
    mapping.write_text(HOSTILE["a dotted key"])
    log.write_text("{}\n")

    result = choreo("check", str(log), "--mapping", str(mapping), "--format", "json", width=400)

    assert result.exit_code == 2
    assert "line 1: expected a key of at most 16 parts, got one of 16000" in prose(result.stderr)
