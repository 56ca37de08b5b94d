"""`choreo run`, and what every command has in common: help, wrong use, pipes, terminals, signals."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from choreo.saga.plan import DEPENDENCIES_MAX, STEPS_MAX
from choreo.saga.usage import UsageError
from choreo.terminal.options.arguments import read_group
from tests.terminal import CHOREO, ROOT, choreo, environment, lines, on_a_terminal, prose, spawn

TRIP = ("book_flight", "book_hotel", "book_car")
COMMANDS = ("run", "compare", "explain", "lint", "explore", "simulate", "check", "lesson")

SERVICES = """
class Service:
    def __init__(self): self.done = 0
    def execute(self, reference): self.done += 1
    def compensate(self, reference, receipt): self.done -= 1

class Broken(Service):
    def execute(self, reference): raise ZeroDivisionError("planted")

class Interrupted(Service):
    def execute(self, reference): raise KeyboardInterrupt

class Refusing(Service):
    opened = 0
    def __init__(self):
        super().__init__()
        Refusing.opened += 1
        self.number = Refusing.opened
    def execute(self, reference):
        if self.number % 2 == 0: raise Refused("every second one refuses")

from choreo import Refused
KINDS = {"broken": Broken, "interrupted": Interrupted, "refusing": Refusing}
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Writes a module of services whose `catalogue` has this body, and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(catalogue: str) -> str:
        name = f"services_{abs(hash(request.node.name))}"
        (tmp_path / f"{name}.py").write_text(f"{SERVICES}\ndef catalogue():\n    {catalogue}\n")
        return name

    return write


FRESH = "kept = {}; return lambda step: kept.setdefault(step, KINDS.get(step, Service)())"


# --- run --------------------------------------------------------------------------------------------------------------


def test_a_run_shows_its_events_its_picture_and_how_it_ended() -> None:
    """Number, participant, event, cause; then the diagram; then a sentence."""
    result = choreo("run", *TRIP, "--fail", "book_car")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == lines("""
    choreography
      1  client        saga started
      2  book_flight   succeeded            ← 1 saga started
      3  book_hotel    succeeded            ← 2 book_flight succeeded
      4  book_car      failed               ← 3 book_hotel succeeded
                       book_car was told to refuse
      5  book_hotel    compensated          ← 4 book_car failed
      6  book_flight   compensated          ← 5 book_hotel compensated
      7  coordinator   saga compensated     ← 6 book_flight compensated

        client     book_flight      book_hotel      book_car  coordinator
           │            │                │              │          │
     1     ●─ started ─►│                │              │          │
     2     │            ●── succeeded ──►│              │          │
     3     │            ┃                ●─ succeeded ─►│          │
     4     │            ┃                ┃◄── failed ───●─────────►│
     5     │            ┃◄─ compensated ─●──────────────┼─────────►│
     6     │            ●─ compensated ──┼──────────────┼─────────►│
     7     │◄───────────┼──────── compensated ──────────┼──────────●
           │            │                │              │          │

      ● published   ► heard   ┃ in force

    compensated: book_car failed (book_car was told to refuse); book_hotel and
    book_flight were compensated, in this order; nothing is in force.
    """)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (TRIP, 0, "completed: all 3 steps are in force."),
        (("a",), 0, "completed: its only step is in force."),
        (("[]",), 0, "completed: there was nothing to do."),
        (("a", "b", "--fail", "a"), 0, "compensated: a failed (a was told to refuse); nothing had to be undone."),
        (
            ("a", "b", "--fail", "b"),
            0,
            "compensated: b failed (b was told to refuse); a was compensated; nothing is in force.",
        ),
        (
            ("a", "b", "c", "d", "--fail", "d", "--fail-compensation", "b"),
            1,
            "stuck: d failed (d was told to refuse) and b could not be compensated (the compensation of b was told to "
            "fail); c was compensated; still in force: a and b.",
        ),
        (
            ("a", "b", "--fail", "b", "--fail-compensation", "a"),
            1,
            "stuck: b failed (b was told to refuse) and a could not be compensated (the compensation of a was told to "
            "fail); nothing was undone; still in force: a.",
        ),
        (
            ("a", "a", "b", "--fail", "b"),
            0,
            "compensated: b failed (b was told to refuse); a (2) and a were compensated, in this order; nothing is in "
            "force.",
        ),
        (
            ("a", "b", "--fail-compensation", "a"),
            0,
            "completed: all 2 steps are in force. --fail-compensation had no effect: a never came to be compensated.",
        ),
    ],
)
@pytest.mark.parametrize("style", ["choreography", "orchestration"])
def test_the_end_is_told_as_it_is(style: str, arguments: tuple[str, ...], status: int, sentence: str) -> None:
    """Failures, compensations and steps still in force are listed; a stuck saga is a finding."""
    result = choreo("run", *arguments, "--style", style)

    assert result.exit_code == status
    assert prose(result.stdout).endswith(sentence)


def test_an_exception_is_a_finding(services: Callable[[str], str]) -> None:
    """An exception that is no refusal ends in exit status 1, and the step is said to have been in doubt."""
    result = choreo("run", "a", "broken", "--services", services(FRESH))

    assert result.exit_code == 1
    assert prose(result.stdout).endswith(
        "compensated: broken failed (ZeroDivisionError: planted); a was compensated; nothing is in force; broken "
        "raised an exception, was in doubt, and was undone."
    )


def test_both_styles_run_one_after_the_other() -> None:
    """Each with services of its own, and the last line says whether they did the same."""
    result = choreo("run", *TRIP, "--style", "both")

    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line in ("choreography", "orchestration")] == [
        "choreography",
        "orchestration",
    ]
    assert result.stdout.endswith("\nBoth styles ended with the same outcome and left the same records.\n")


@pytest.mark.parametrize("command", [("run", "--style", "both"), ("compare",)])
def test_styles_that_differ_are_a_finding(command: tuple[str, ...], services: Callable[[str], str]) -> None:
    """Planted: a service of which every second one opened refuses."""
    result = choreo(*command, "a", "refusing", "--services", services(FRESH))

    assert result.exit_code == 1
    assert "differ" in result.stdout


def test_a_run_as_json_is_one_object() -> None:
    """The request, the outcome, every event with its subscribers, and the records of the real services."""
    result = choreo("run", *TRIP, "--fail", "book_car", "--fail-compensation", "book_flight", "--json")

    run = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert run["steps"] == list(TRIP)
    assert run["outcome"]["state"] == "stuck"
    assert run["outcome"]["stuck_step"] == "book_flight"
    assert run["in_force"] == ["book_flight"]
    assert [(event["number"], event["event"], event["step"], event["heard_by"]) for event in run["events"]] == [
        (1, "saga.started", None, ["book_flight"]),
        (2, "step.succeeded", "book_flight", ["book_hotel"]),
        (3, "step.succeeded", "book_hotel", ["book_car"]),
        (4, "step.failed", "book_car", ["book_hotel", "coordinator"]),
        (5, "step.compensated", "book_hotel", ["book_flight", "coordinator"]),
        (6, "step.compensation_failed", "book_flight", ["coordinator"]),
        (7, "saga.stuck", None, ["client"]),
    ]
    assert run["records"]["Flights"] == {"capacity": None, "booked": 1}
    assert run["records"]["Hotels"]["booked"] == 0


def test_both_styles_as_json_are_one_object_a_line() -> None:
    """As everywhere where a command takes both styles."""
    result = choreo("run", "a", "--style", "both", "--json")

    assert [json.loads(line)["style"] for line in result.stdout.splitlines()] == ["choreography", "orchestration"]


def test_what_json_has_no_word_for_is_told_as_text(services: Callable[[str], str]) -> None:
    """The records of a service may have values of any type."""
    module = services("service = Service(); service.odd = {(1, 2): {3}}; return lambda step: service")

    result = choreo("run", "a", "--json", "--services", module)

    assert json.loads(result.stdout)["records"] == {"Service": {"done": 1, "odd": "{(1, 2): {3}}"}}


# --- the words of the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "group"),
    [
        ("a", "a"),
        ("", ""),
        ("a b", "a b"),
        ("a+b", ("a", "b")),
        ("a+b+c", ("a", "b", "c")),
        ('["a+b", "[c]"]', ("a+b", "[c]")),
        ('["a"]', ("a",)),
        ("[]", ()),
    ],
)
def test_a_word_is_a_step_or_a_group(word: str, group: object) -> None:
    """`a+b` and a JSON array are groups; everything else is a name."""
    assert read_group(word, "STEP 1") == group


@pytest.mark.parametrize("word", ["a+", "+", "+a", "a++b", "[", "[a]", "[1]", "[[]]", "[bold]x[/bold]", "[" * 10_000])
def test_a_group_that_is_none_is_refused(word: str) -> None:
    """The error briefly names the expected and the received value."""
    with pytest.raises(UsageError, match=r"STEP 7: expected .*, got ") as refused:
        read_group(word, "STEP 7")

    assert len(str(refused.value)) < 300


WRONG_USES = [
    (("run",), "Missing argument 'STEP'"),
    (("run", "a", "--fail", "book"), "--fail: expected a step of this saga ('a'), got 'book'"),
    (("run", *TRIP, "--fail", "book_hotle"), "got 'book_hotle'; did you mean 'book_hotel'?"),
    (("run", *TRIP, "--fail-compensation", "Book_Car"), "--fail-compensation: expected a step of this saga"),
    (("run", "a", "--fail", "a", "--fail", "a"), "--fail: expected at most one step, got 2"),
    (("run", "a+"), "STEP 1: expected names on both sides of each +, got 'a+'"),
    (("run", "a", "[1]"), "STEP 2: expected a JSON array of step names"),
    (("run", "a", "--style", "ballet"), "--style"),
    (("run", "a", "--mermaid", "--json"), "expected one form of output, got --json as well"),
    (("run", "a", "--mermaid", "--style", "both"), "expected one style, got both"),
    (("run", "a", "--services", "no_such_module"), "--services: expected a module that can be imported"),
    (("run", "a", "--services", "json"), "a function catalogue(), got 'json'"),
    (("run", "a", "--services", ""), "--services: expected a module"),
    (
        ("run", json.dumps(["a"] * 1000), json.dumps(["b"] * 1000)),
        f"STEP: expected at most {DEPENDENCIES_MAX} dependencies",
    ),
    (("compare", json.dumps(["a"] * STEPS_MAX)), "a step is added to compare: steps: expected at most"),
    (("compare", "a", "--fail", "b"), "--fail: expected a step of this saga ('a'), got 'b'"),
    (("compare", "a", "--style", "both"), "No such option: --style"),
    (("rnu", "a"), "No such command 'rnu'"),
    (("run", "a", "--fail", "\x1b[31mred\x1b[0m"), r"got '\x1b[31mred\x1b[0m'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_USES, ids=range(len(WRONG_USES)))
def test_wrong_use_is_told_and_nothing_is_run(arguments: tuple[str, ...], message: str) -> None:
    """Exit status 2, empty stdout, the expected value on stderr; never a traceback."""
    result = choreo(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert message.replace("\x1b", r"\x1b") in prose(result.stderr)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("catalogue", "message"),
    [
        ("1 / 0", ".catalogue() failed (ZeroDivisionError: division by zero)"),
        ("return {}.__getitem__", "expected a service with execute() and compensate() for 'a', got KeyError: 'a'"),
        (
            "return None",
            "catalogue() to return objects with steps, services by step name, or a function from step name",
        ),
        ("return {}", "function from step name to service, got a value of type dict"),
        ("raise SystemExit(3)", ".catalogue() failed (SystemExit: 3)"),
        ("def find(step): raise SystemExit(3)\n    return find", "got SystemExit: 3"),
        ("return lambda step: 7", "expected a service with execute() and compensate() for 'a', got 7"),
    ],
)
def test_services_that_cannot_be_used_are_wrong_use(
    catalogue: str, message: str, services: Callable[[str], str]
) -> None:
    """Every mistake in a module of services is reported in one line."""
    result = choreo("run", "a", "--services", services(catalogue))

    assert result.exit_code == 2
    assert message in prose(result.stderr)


@pytest.mark.parametrize("command", [("run", "--style", "both"), ("compare",)])
def test_services_that_are_not_separate_are_wrong_use(command: tuple[str, ...], services: Callable[[str], str]) -> None:
    """A comparison of records that both styles write to would be void."""
    module = services("return lambda step, kept=KINDS.setdefault('kept', Service()): kept")

    result = choreo(*command, "a", "--services", module)

    assert result.exit_code == 2
    assert "expected fresh services from each catalogue(), got the same one for 'a' twice" in prose(result.stderr)


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """The help has a description, the options, examples, and the exit statuses."""
    result = choreo(command, "--help")

    assert result.exit_code == 0
    assert f"Usage: choreo {command} [OPTIONS]" in result.stdout
    assert f"  choreo {command} " in result.stdout
    assert "--json" in result.stdout
    for status in ("  0  ", "  1  ", "  2  wrong use"):
        assert status in result.stdout


def test_the_overview_lists_every_command() -> None:
    """The node among them, although it starts without all this."""
    result = choreo("--help")

    assert result.exit_code == 0
    assert [name for name in (*COMMANDS, "node") if f"│ {name} " in result.stdout] == [*COMMANDS, "node"]


def test_help_needs_no_box_characters() -> None:
    """It is plain ASCII apart from the frames, which are replaced where they cannot be shown."""
    printed = spawn("run", "--help", PYTHONIOENCODING="ascii")

    assert printed.returncode == 0
    assert printed.stdout.isascii()


@pytest.mark.parametrize("arguments", [(), ("--no-such-option",), ("--help",)])
def test_node_takes_its_own_arguments(arguments: tuple[str, ...]) -> None:
    """Listed by the overview, it is handed everything that follows, `--help` included."""
    through_the_face = choreo("node", *arguments)
    by_itself = subprocess.run([*CHOREO, "node", *arguments], cwd=ROOT, capture_output=True, input=b"", check=False)

    assert through_the_face.exit_code == by_itself.returncode
    assert through_the_face.stdout.encode() == by_itself.stdout


# --- pipes, terminals, encodings --------------------------------------------------------------------------------------


def test_on_a_pipe_there_is_no_escape_sequence() -> None:
    """Plain text, as wide as COLUMNS says or 80."""
    piped = spawn("run", *TRIP, "--fail", "book_car")

    assert piped.stdout.decode() == choreo("run", *TRIP, "--fail", "book_car").stdout
    assert b"\x1b" not in piped.stdout


def test_on_a_terminal_there_is_colour() -> None:
    """A failure is red, a compensation is yellow; the text is the same."""
    printed = on_a_terminal("run", "a", "b", "--fail", "b", COLUMNS="80")

    assert "\x1b[1;31mfailed" in printed
    assert "\x1b[33mcompensated" in printed


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colour_a_terminal_gets_plain_text(variable: dict[str, str]) -> None:
    """Not one escape sequence, not even for bold."""
    printed = on_a_terminal("run", "a", "b", "--fail", "b", **({"COLUMNS": "80"} | variable))

    assert printed.replace("\r\n", "\n") == choreo("run", "a", "b", "--fail", "b").stdout


@pytest.mark.parametrize("columns", ["0", "-1", "abc", "²", "", "7", "99999999999999999999"])
def test_an_odd_width_does_no_harm(columns: str) -> None:
    """The width has a minimum and a maximum, and an invalid width is ignored."""
    result = choreo("run", *TRIP, COLUMNS=columns)

    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("command", [("run",), ("compare",)])
def test_an_encoding_without_box_characters_gets_a_drawing_in_ascii(command: tuple[str, ...]) -> None:
    """Names that cannot be shown either are escaped, and still stand in line."""
    printed = spawn(*command, "bücher", "東京", "--fail", "東京", PYTHONIOENCODING="ascii", LC_ALL="C")

    assert printed.returncode == 0
    assert printed.stdout.isascii()
    assert b"o- started ->|" in printed.stdout or b"o- compensated --" in printed.stdout
    assert rb"b\xfccher" in printed.stdout


@pytest.mark.parametrize("arguments", [("run", *map(str, range(400))), ("compare", *map(str, range(400)))])
def test_a_reader_that_goes_away_ends_it_quietly(arguments: tuple[str, ...]) -> None:
    """For `| head -1`: empty stderr, and a status that is no finding."""
    command = subprocess.Popen(
        [*CHOREO, *arguments], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    assert command.stderr is not None
    with command:
        command.stdout.read(10)
        command.stdout.close()

        assert command.stderr.read() == b""
    assert command.returncode == 141


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """In one line, and not as a finding."""
    with open(tmp_path / "out", "wb") as out:
        command = subprocess.run(
            [*CHOREO, "run", *TRIP],
            cwd=ROOT,
            env=environment(),
            stdout=out,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)),
            check=False,
        )

    assert command.returncode == 2
    assert command.stderr.startswith(b"choreo: cannot write: ")
    assert command.stderr.count(b"\n") == 1


def test_an_interrupt_ends_it_quietly(tmp_path: Path) -> None:
    """Ctrl-C while a service is at work: exit status 130, and no traceback."""
    (tmp_path / "slow.py").write_text("""
import os, threading
class Slow:
    def execute(self, reference):
        os.write(2, b"begun")
        threading.Event().wait()
    def compensate(self, reference, receipt): pass
def catalogue(): return lambda step: Slow()
""")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    command = subprocess.Popen(
        [*CHOREO, "run", "a", "--services", "slow"],
        env=environment(PYTHONPATH=path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert command.stderr is not None
    with command:
        begun = command.stderr.read(5)
        command.send_signal(signal.SIGINT)

        assert begun + command.stderr.read() == b"begun"
    assert command.returncode == 130
