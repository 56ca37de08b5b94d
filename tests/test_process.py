"""Effects of services on the process: they print, exit and interrupt; replies and reports are unharmed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from choreo.saga.raised import REASON_CHARACTERS_MAX
from tests.node_client import ROOT, TIMEOUT_S, execute, line
from tests.terminal import CHOREO

NODES = {
    "main.py": [sys.executable, str(ROOT / "main.py")],
    "python -m choreo node": [sys.executable, "-m", "choreo", "node"],
    "choreo node": [str(Path(sys.executable).with_name("choreo")), "node"],
    "with a journal": [sys.executable, str(ROOT / "main.py"), "--journal", "sagas.db"],
}
every_node = pytest.mark.parametrize("node", NODES)

COMMANDS = {
    "run": ["run", "a", "b", "--json"],
    "run in both styles": ["run", "a", "b", "--fail", "b", "--json", "--style", "both"],
    "compare": ["compare", "a", "b", "--fail", "b", "--json"],
    "explore": ["explore", "saga.toml", "--json"],
    "explore a module": ["explore", "noisy:SAGA", "--json"],
    "simulate": ["simulate", "saga.toml", "--seeds", "3", "--json"],
    "simulate on two cores": ["simulate", "saga.toml", "--seeds", "200", "--processes", "2", "--json"],
    "mermaid": ["run", "a", "b", "--mermaid"],
}

NOISY = """
import atexit, os, subprocess, sys
from choreo.saga.definition import Saga, Step
print("imported")
os.write(1, b"imported, raw\\n")
atexit.register(print, "the end")
SAGA = Saga("saga", (Step("a"),))
class Noisy:
    def execute(self, reference):
        print("printed")
        os.write(1, b"raw\\n")
        subprocess.run(["echo", "of a child"])
        sys.__stdout__.write("behind the back\\n")
        if (child := os.fork()) == 0:
            print("forked", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("more")
    def compensate(self, reference, receipt):
        print("compensating")
def catalogue():
    print("opened")
    service = Noisy()
    return lambda step: service
"""
TOML = """
[saga]
name = "saga"
[[step]]
name = "a"
service = "a"
[[step]]
name = "b"
service = "b"
fails = "may"
"""


def run(command: list[str], folder: Path, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """The command in that folder, where its modules of services are."""
    return subprocess.run(
        command,
        input=data,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "COLUMNS": "400"},
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def with_services(folder: Path, name: str, source: str) -> Path:
    (folder / f"{name}.py").write_text(source)
    (folder / "saga.toml").write_text(TOML)
    return folder


def raising(folder: Path, statement: str) -> Path:
    """Services that run this code at the step "bad", and no code at any other."""
    return with_services(
        folder,
        "raising",
        f"""
import os, signal
from choreo import Refused
class Wordless(Exception):
    def __str__(self): raise ZeroDivisionError
class WordlessRefusal(Refused):
    def __str__(self): return 7
class Untraceable(Exception):
    @property
    def __cause__(self): raise SystemExit
class Calm:
    def execute(self, reference): return None
    def compensate(self, reference, receipt): return None
class Bad(Calm):
    def execute(self, reference): {statement}
def catalogue(): return lambda step: Bad() if step == "bad" else Calm()
""",
    )


# --- stdout -----------------------------------------------------------------------------------------------------------


@every_node
def test_replies_alone_go_to_the_stdout_of_a_node(node: str, tmp_path: Path) -> None:
    """Output of services, by any means, goes to stderr; whole lines, in their order."""
    folder = with_services(tmp_path, "noisy", NOISY)

    finished = run([*NODES[node], "--services", "noisy"], folder, line(execute(1, "a", "b", fail_step="b")))

    assert json.loads(finished.stdout)["type"] == "saga_compensated"
    told = finished.stderr.decode().splitlines()
    assert told == ["imported", "imported, raw", "opened", *CALLED, "compensating", "the end"]
    assert finished.returncode == 0


CALLED = ["printed", "raw", "of a child", "behind the back", "forked", "more"]
TOLD = ["imported", "imported, raw", "opened", *CALLED, "the end"]


@pytest.mark.parametrize("vandal", ["sys.stdout.close()", "sys.stdout = None", "os.close(1)", "sys.stdout.detach()"])
@every_node
def test_a_service_that_takes_stdout_away_loses_no_reply(node: str, vandal: str, tmp_path: Path) -> None:
    """Replies are written to another descriptor than the stdout that services know."""
    source = f"""
import os, sys
class Vandal:
    done = False
    def execute(self, reference):
        if not Vandal.done:
            Vandal.done = True
            {vandal}
    def compensate(self, reference, receipt): pass
def catalogue(): return lambda step: Vandal()
"""
    folder = with_services(tmp_path, "vandal", source)

    finished = run([*NODES[node], "--services", "vandal"], folder, line(execute(1, "a")) + line(execute(2, "a")))

    replies = [json.loads(reply) for reply in finished.stdout.splitlines()]
    assert [reply["in_reply_to"] for reply in replies] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_what_services_print_is_not_in_what_a_command_prints(command: str, tmp_path: Path) -> None:
    """JSON and Mermaid output stay intact, up to the end of the process."""
    folder = with_services(tmp_path, "noisy", NOISY)

    finished = run([*CHOREO, *COMMANDS[command], "--services", "noisy"], folder)

    printed = finished.stdout.decode()
    assert "the end" in finished.stderr.decode()
    assert not any(told in printed for told in TOLD)
    if command == "mermaid":
        assert printed.startswith("sequenceDiagram")
    else:
        assert all(json.loads(each) for each in printed.splitlines())


def test_what_services_print_is_not_in_what_resume_prints(tmp_path: Path) -> None:
    """The command drives the run here, with the services of the journal."""
    folder = with_services(tmp_path, "noisy", NOISY)
    stuck = line(execute(1, "a", "b", fail_step="b", fail_compensation="a"))
    run([*NODES["with a journal"], "--services", "noisy"], folder, stuck)

    finished = run([*CHOREO, "resume", "booking-1", "--journal", "sagas.db", "--json"], folder)

    assert json.loads(finished.stdout)["state"] == "compensated"
    assert b"compensating" in finished.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed_from_the_start_are_no_mishap(closed: str, tmp_path: Path) -> None:
    """Printed text never ends up in a file that is opened later."""
    source = "class S:\n def execute(self, r): print('printed')\n def compensate(self, r, p): pass\n"
    folder = with_services(tmp_path, "printing", f"{source}def catalogue(): return lambda step: S()")
    (folder / "in").write_bytes(line(execute(1, "a")))
    node = ["sh", "-c", f'exec "$@" < in {closed}', "sh", *NODES["with a journal"], "--services", "printing"]

    finished = run(node, folder)

    assert len(finished.stdout.splitlines()) == (1 if closed == "2>&-" else 0)
    assert finished.stderr == (b"printed\n" if closed == ">&-" else b"")
    assert finished.returncode == 0


# --- what services raise ----------------------------------------------------------------------------------------------

RAISED = {
    "raise SystemExit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit": "GeneratorExit",
    "raise BaseException('base')": "BaseException: base",
    "raise Untraceable": "Untraceable",
    "raise Wordless": "Wordless",
}


@pytest.mark.slow
@pytest.mark.parametrize("statement", RAISED)
@every_node
def test_nothing_that_a_service_raises_ends_a_node(node: str, statement: str, tmp_path: Path) -> None:
    """It is an answer of that service; the replies of the same batch are there, and a journal serves on."""
    folder = raising(tmp_path, statement)
    requests = line(execute(1, "a")) + line(execute(2, "a", "bad")) + line(execute(3, "a"))

    finished = run([*NODES[node], "--services", "raising", "--trace"], folder, requests)
    again = run([*NODES[node], "--services", "raising"], folder, line(execute(4, "a")))

    first, second, third = map(json.loads, finished.stdout.splitlines())
    assert (first["type"], third["type"]) == ("saga_completed", "saga_completed")
    assert second["in_reply_to"] == 2
    assert any(RAISED[statement] in told for told in finished.stderr.decode().splitlines() if "step.failed" in told)
    assert finished.returncode == 0
    assert [json.loads(reply)["type"] for reply in again.stdout.splitlines()] == ["saga_completed"]


@every_node
def test_a_refusal_without_words_is_a_refusal(node: str, tmp_path: Path) -> None:
    """It is as definite as any other; its class stands for its text."""
    folder = raising(tmp_path, "raise WordlessRefusal")

    finished = run([*NODES[node], "--services", "raising", "--trace"], folder, line(execute(2, "a", "bad")))

    assert json.loads(finished.stdout)["type"] == "saga_compensated"
    assert b"WordlessRefusal: its text cannot be read" in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["raise SystemExit(0)", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("command", ["run", "explore", "simulate", "simulate on two cores"])
def test_nothing_that_a_service_raises_ends_a_command(command: str, statement: str, tmp_path: Path) -> None:
    """The command completes its output."""
    folder = raising(tmp_path, statement)
    (folder / "saga.toml").write_text(TOML.replace('"b"', '"bad"'))
    arguments = [argument.replace("b", "bad", 1) if argument == "b" else argument for argument in COMMANDS[command]]

    finished = run([*CHOREO, *arguments, "--services", "raising"], folder)

    told = json.loads(finished.stdout)
    assert told.get("stopped") is None
    assert finished.returncode in (0, 1)


def test_a_real_interrupt_stops_a_command_in_a_service(tmp_path: Path) -> None:
    """Ctrl-C is no answer of the service in which it arrives, although one raised by a service is."""
    folder = raising(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")

    finished = run([*CHOREO, "run", "a", "bad", "--json", "--services", "raising"], folder)

    assert finished.stdout == b""
    assert finished.returncode == 130


def test_a_real_interrupt_stops_the_laboratory(tmp_path: Path) -> None:
    """It stops with the results so far."""
    folder = raising(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")
    (folder / "saga.toml").write_text(TOML.replace('"b"', '"bad"'))

    finished = run([*CHOREO, "explore", "saga.toml", "--json", "--services", "raising"], folder)

    assert json.loads(finished.stdout)["stopped"] == "it was interrupted"


def test_a_signal_that_arrives_in_a_service_stops_a_node_politely(tmp_path: Path) -> None:
    """Input already read is handled; the service is not disturbed."""
    folder = raising(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")

    finished = run([*NODES["main.py"], "--services", "raising"], folder, line(execute(1, "a", "bad")))

    assert json.loads(finished.stdout)["type"] == "saga_completed"
    assert finished.returncode == 0


# --- services that fork, and read ------------------------------------------------------------------------------------

FORKING = """
import os, subprocess, sys
def called(step):
    with open("calls", "a") as file: print(step, file=file)
class Calm:
    def __init__(self, step): self.step = step
    def execute(self, reference): called(self.step)
    def compensate(self, reference, receipt): pass
class Forking(Calm):
    def execute(self, reference):
        called(self.step)
        if (child := os.fork()) == 0:
            {ending}
        else:
            self.status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print("child ended with", self.status)
def catalogue():
    services = {{}}
    return lambda step: services.setdefault(step, (Forking if step == "forking" else Calm)(step))
"""


@pytest.mark.parametrize(("ending", "status"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("1 / 0", 1)])
@every_node
def test_a_child_that_a_service_forks_ends_with_what_it_raises(
    node: str, ending: str, status: int, tmp_path: Path
) -> None:
    """The child ends like any other process, and does not become a second node with its parent's work."""
    folder = with_services(tmp_path, "forking", FORKING.format(ending=ending))
    requests = line(execute(1, "a", "forking", "b")) + line(execute(2, "c"))

    finished = run([*NODES[node], "--services", "forking"], folder, requests)

    replies = [json.loads(reply) for reply in finished.stdout.splitlines()]
    assert [reply["type"] for reply in replies] == ["saga_completed", "saga_completed"]
    assert sorted((folder / "calls").read_text().split()) == ["a", "b", "c", "forking"]
    assert f"child ended with {status}" in finished.stderr.decode()
    assert (b"ZeroDivisionError" in finished.stderr) == (ending == "1 / 0")


def test_a_forked_child_that_comes_back_from_a_service_writes_no_journal(tmp_path: Path) -> None:
    """It has no right to it: two processes in one SQLite connection damage it."""
    folder = with_services(tmp_path, "forking", FORKING.format(ending="return"))

    finished = run([*NODES["with a journal"], "--services", "forking"], folder, line(execute(1, "a", "forking", "b")))

    assert json.loads(finished.stdout)["type"] == "saga_completed"
    assert (folder / "calls").read_text().split() == ["a", "forking", "b"]
    assert b"got a process that was forked from it" in finished.stderr


@every_node
def test_nothing_that_a_service_starts_reads_messages_away(node: str, tmp_path: Path) -> None:
    """`ssh`, for one, reads its whole stdin."""
    folder = with_services(tmp_path, "reading", READING)
    requests = [line(execute(number, "a")) for number in range(1_000)]

    finished = run([*NODES[node], "--services", "reading"], folder, b"".join(requests))

    assert len(finished.stdout.splitlines()) == len(requests)
    assert finished.returncode == 0


READING = """
import subprocess, sys
class Reading:
    is_first = True
    def execute(self, reference):
        if Reading.is_first:
            Reading.is_first = False
            subprocess.run(["cat"])
            sys.stdin.read()
    def compensate(self, reference, receipt): pass
def catalogue(): return lambda step: Reading()
"""


# --- services that cannot be had --------------------------------------------------------------------------------------

NO_SERVICES = {
    "raise SystemExit(3)": "expected a module that can be imported, got 'none' (SystemExit: 3)",
    "def catalogue(): raise SystemExit(3)": "none.catalogue() failed (SystemExit: 3)",
    "def catalogue(): raise KeyboardInterrupt": "none.catalogue() failed (KeyboardInterrupt)",
    "def catalogue(): return None": "function from step name to service, got None",
    "def catalogue(): return {}": "function from step name to service, got a value of type dict",
    "class E(Exception):\n def __str__(self): return 7\ndef catalogue(): raise E": "(E: its text cannot be read)",
}
FACES = {
    "node": ["node"],
    "node with a journal": ["node", "--journal", "sagas.db"],
    "run": ["run", "a"],
    "compare": ["compare", "a"],
    "explore": ["explore", "saga.toml"],
    "simulate": ["simulate", "saga.toml"],
}


@pytest.mark.slow
@pytest.mark.parametrize("source", NO_SERVICES)
@pytest.mark.parametrize("face", FACES)
def test_a_module_that_offers_no_services_is_wrong_use(face: str, source: str, tmp_path: Path) -> None:
    """The error names the expected and the received value; exit status 2."""
    folder = with_services(tmp_path, "none", source)

    finished = run([*CHOREO, *FACES[face], "--services", "none"], folder)

    assert NO_SERVICES[source] in " ".join(finished.stderr.decode().replace("│", "").split())
    assert b"Traceback" not in finished.stderr
    assert (finished.stdout, finished.returncode) == (b"", 2)


def test_a_definition_whose_module_exits_is_wrong_use(tmp_path: Path) -> None:
    """Importing a module runs foreign code at any place."""
    folder = with_services(tmp_path, "leaving", "raise SystemExit(0)")

    finished = run([*CHOREO, "explore", "leaving:saga"], folder)

    assert b"SystemExit: 0" in finished.stderr
    assert finished.returncode == 2


# --- long texts -------------------------------------------------------------------------------------------------------


@every_node
def test_a_long_text_of_a_service_is_cut(node: str, tmp_path: Path) -> None:
    """In the reply, in the trace and in the journal; and it says how long it was."""
    folder = raising(tmp_path, "raise ValueError('x' * 5_000_000)")

    finished = run([*NODES[node], "--services", "raising", "--trace"], folder, line(execute(1, "a", "bad")))

    assert len(finished.stdout) < 2 * REASON_CHARACTERS_MAX
    assert len(finished.stderr) < 100_000
    assert b"(cut: it has 5,000,0" in finished.stderr
    assert sum(file.stat().st_size for file in folder.glob("sagas.db*")) < 1_000_000


@every_node
def test_a_long_refusal_is_cut(node: str, tmp_path: Path) -> None:
    """Likewise."""
    folder = raising(tmp_path, "raise Refused('x' * 5_000_000)")

    finished = run([*NODES[node], "--services", "raising", "--trace"], folder, line(execute(1, "a", "bad")))

    assert json.loads(finished.stdout)["type"] == "saga_compensated"
    assert len(finished.stderr) < 20_000
    assert b"(cut: it has 5,000,000 characters)" in finished.stderr
