"""The node as a process: `python main.py`, its pipes and its signals."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import IO

import pytest

from choreo.node.streams import serve
from tests.node_client import EXAMPLES, ROOT, TIMEOUT_S, Node, execute, expected_reply, line

COMMAND = [sys.executable, "main.py"]
SIGNALS = [signal.SIGINT, signal.SIGTERM]
STEPS = ["a", "b", "c"]


def run(data: bytes, *options: str, command: list[str] = COMMAND) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*command, *options], input=data, capture_output=True, cwd=ROOT, check=False, timeout=TIMEOUT_S
    )


def through_shell(redirection: str) -> list[str]:
    """The node, started with a closed stream."""
    return ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND]


def request(number: int) -> bytes:
    return line(execute(number, *STEPS, fail_step=STEPS[number % 3]))


def reply_to(number: int) -> str:
    return expected_reply(execute(number, *STEPS, fail_step=STEPS[number % 3])["body"])


@contextmanager
def burst(count: int) -> Iterator[IO[bytes]]:
    """A file of requests; where its reader has got to can be seen afterwards."""
    with tempfile.TemporaryFile() as file:
        file.writelines(map(request, range(count)))
        file.seek(0)
        yield file


@pytest.mark.parametrize("name", ["completed", "compensated"])
def test_the_reference_cases_are_answered_character_for_character(name: str) -> None:
    """Standard input as published gives exactly the expected standard output."""
    node = run((EXAMPLES / f"{name}.input.json").read_bytes())

    assert node.stdout == (EXAMPLES / f"{name}.expected.jsonl").read_bytes()
    assert node.stderr == b""
    assert node.returncode == 0


def test_a_conversation_goes_line_by_line() -> None:
    """Two hundred times, the client waits for the reply before it writes the next request."""
    with Node() as node:
        replies = [node.ask(execute(number, *STEPS)) for number in range(200)]
        rest = node.finish()

    assert replies == [expected_reply(execute(number, *STEPS)["body"]) for number in range(200)]
    assert rest == []
    assert node.process.returncode == 0


def test_a_message_without_its_newline_is_answered_while_the_client_waits() -> None:
    """On a single line, and spread over several."""
    message = execute(1, *STEPS)

    with Node() as node:
        node.send(json.dumps(message).encode())
        first = node.receive()
        node.send(b"\n" + json.dumps(message, indent=2).encode())
        second = node.receive()

    assert first == second == expected_reply(message["body"])


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\n"])
def test_an_empty_input_ends_the_node(data: bytes) -> None:
    """With exit status 0, and without a word."""
    node = run(data)

    assert (node.stdout, node.stderr, node.returncode) == (b"", b"", 0)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_from_the_start_is_no_mishap(redirection: str) -> None:
    """Replies go to stdout if it is open, and no other file takes the descriptor of a closed stream."""
    node = run(b"hello\n" + request(0), command=through_shell(redirection))

    replies = node.stdout.decode().splitlines()
    assert replies[1:] == ([reply_to(0)] if redirection == "2>&-" else [])
    assert node.stderr == b""
    assert node.returncode == 0


def test_what_is_for_people_never_goes_to_stdout() -> None:
    """Not even where stderr is closed."""
    node = run(b"hello\n" + request(0), "--envelope", command=through_shell("2>&-"))

    (reply,) = node.stdout.decode().splitlines()
    assert json.loads(reply)["body"] == json.loads(reply_to(0))


def test_what_is_for_people_goes_to_stderr() -> None:
    """One line for each text that cannot be answered."""
    node = run(b"hello\n\xff\n" + request(0), "--envelope")

    assert len(node.stdout.splitlines()) == 1
    assert len(node.stderr.splitlines()) == 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_node_that_waits(number: signal.Signals) -> None:
    """With exit status 0 and without a traceback."""
    with Node() as node:
        reply = node.ask(execute(1, *STEPS))
        rest = node.stop(number)

        assert reply == expected_reply(execute(1, *STEPS)["body"])
        assert rest == []
        assert node.stderr == ""
        assert node.process.returncode == 0


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("begun", [b'{"type": "exec', b'{"body":\n', b'{"body":\n{"type": [oops,\n', b"7"])
def test_what_a_signal_cuts_off_is_no_mistake(number: signal.Signals, begun: bytes) -> None:
    """Complete messages are answered; half a message is no error of the sender."""
    with Node() as node:
        node.send(request(1) + begun)
        replies = [node.receive()]
        replies += [reply for reply in node.stop(number) if "oops" not in reply]

        assert replies == [reply_to(1)]
        assert node.stderr == ""
        assert node.process.returncode == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_middle_of_a_burst_loses_nothing_that_was_read(number: signal.Signals) -> None:
    """Every request that the node has read has its complete reply."""
    with burst(40_000) as file, Node(stdin=file) as node:
        first = node.receive()
        rest = node.stop(number)
        read = os.pread(file.fileno(), file.tell(), 0)

        replies = [first, *rest]
        complete = read.count(b"\n") + read.endswith(b"}}")
        assert 0 < complete < 40_000
        assert replies == list(map(reply_to, range(complete)))
        assert node.stderr == ""
        assert node.process.returncode == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_changes_nothing(number: signal.Signals) -> None:
    """Nor does one that comes while the node is ending."""
    with burst(5_000) as file, Node(stdin=file) as node:
        first = node.receive()
        node.process.send_signal(number)
        rest = node.stop(number)

        assert [first, *rest] == list(map(reply_to, range(1 + len(rest))))
        assert node.stderr == ""
        assert node.process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("has_journal", [False, True])
@pytest.mark.parametrize("is_blocking", [False, True])
def test_a_signal_ends_a_node_whose_replies_nobody_reads(
    tmp_path: Path, number: signal.Signals, has_journal: bool, is_blocking: bool
) -> None:
    """It ends after a grace period, with a line that says so; a journal repeats the replies later."""
    options = ["--journal", str(tmp_path / "sagas.db")] if has_journal else []
    reader, writer = os.pipe()
    os.set_blocking(writer, is_blocking)
    with burst(5_000) as file, Node(*options, stdin=file, stdout=writer) as node:
        wait_until_full(writer)
        node.process.send_signal(number)
        status = node.process.wait(TIMEOUT_S)

        assert status == 1
        assert "bytes of replies were not read within 5.0 s of a signal" in node.stderr
        assert ("they are in the journal" in node.stderr) == has_journal
        assert os.get_blocking(writer) == is_blocking
    os.close(reader)
    os.close(writer)
    if has_journal:
        assert run(request(0), *options).stdout.decode().splitlines() == [reply_to(0)]


def wait_until_full(writer: int) -> None:
    """Fill the pipe, so that the next writer blocks."""
    until = monotonic() + TIMEOUT_S
    while select.select([], [writer], [], 0)[1]:
        assert monotonic() < until, "the node has not filled the pipe"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_reader_that_is_late_gets_every_reply_after_a_signal(number: signal.Signals) -> None:
    """The node waits for it, within the grace."""
    reader, writer = os.pipe()
    with burst(5_000) as file, Node(stdin=file, stdout=writer) as node, open(reader) as replies:
        wait_until_full(writer)
        os.close(writer)
        node.process.send_signal(number)
        received = replies.read().splitlines()
        status = node.process.wait(TIMEOUT_S)
        read = os.pread(file.fileno(), file.tell(), 0)

        assert received == list(map(reply_to, range(read.count(b"\n") + read.endswith(b"}}"))))
        assert (status, node.stderr) == (0, "")


class Ear:
    """Conversation that records its calls."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def recover(self) -> Iterator[bytes]:
        return iter(())

    def poll_operator(self) -> None:
        return None

    def feed(self, data: bytes) -> bytes:
        self.told.append(data)
        return b""

    def end(self) -> bytes:
        self.told.append(b"the end")
        return b""


def test_a_signal_just_before_the_end_of_input_is_a_signal() -> None:
    """Between the moment in which the end is readable and the read itself: half a message is no mistake then."""
    reader, writer = os.pipe()
    ear = Ear()
    os.write(writer, b'{"type": "exec')

    def interrupt_at_the_end(frame: object, event: str, function: object) -> None:
        if event == "c_return" and function is select.select and ear.told and not closed:
            closed.append(os.close(writer))
        elif event == "c_call" and function is os.read and closed:
            signal.raise_signal(signal.SIGINT)

    closed: list[None] = []
    sys.setprofile(interrupt_at_the_end)
    try:
        serve(ear, reader, reader, attend_s=0.01)
    finally:
        sys.setprofile(None)
        os.close(reader)

    assert closed
    assert ear.told == [b'{"type": "exec']


def test_a_reader_that_goes_away_ends_the_node_quietly() -> None:
    """The node notices with its next reply."""
    with burst(20_000) as file, Node(stdin=file) as node:
        node.receive()
        node.stdout.close()
        status = node.process.wait(TIMEOUT_S)

        assert node.stderr == ""
        assert status == 0


def test_a_reader_that_never_was_ends_the_node_quietly() -> None:
    """The pipe is broken before the first reply."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with Node(stdout=writer) as node:
            node.send(request(0))
            status = node.process.wait(TIMEOUT_S)

            assert node.stderr == ""
            assert status == 0
    finally:
        os.close(writer)


def test_a_stdout_that_does_not_block_loses_nothing() -> None:
    """10,000 requests into a pipe that is full now and then."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with burst(10_000) as file, Node(stdin=file, stdout=writer) as node, open(reader) as replies:
        os.close(writer)
        received = replies.read().splitlines()
        status = node.process.wait(TIMEOUT_S)

        assert received == list(map(reply_to, range(10_000)))
        assert node.stderr == ""
        assert status == 0


def test_a_stdin_that_does_not_block_is_waited_for() -> None:
    """A read without data is not the end of the input."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb") as stdin, open(writer, "wb", buffering=0) as requests, Node(stdin=stdin) as node:
        replies = []
        for number in range(5):
            requests.write(request(number))
            replies.append(node.receive())
        requests.close()
        status = node.process.wait(TIMEOUT_S)

        assert replies == list(map(reply_to, range(5)))
        assert status == 0


@pytest.mark.parametrize("extra", [0, 1])
def test_a_message_of_eight_mebibytes_goes_through_the_pipe(extra: int) -> None:
    """One byte more is too much; the next message is fine."""
    limit = 8 * 1024 * 1024
    message = execute(0, *STEPS, fail_step="a", pad="")
    message["body"]["pad"] = "x" * (limit + extra - len(json.dumps(message)))

    node = run(line(message) + request(1))

    first, second = node.stdout.decode().splitlines()
    assert first == reply_to(0) if not extra else json.loads(first)["code"] == 12
    assert second == reply_to(1)
    assert node.returncode == 0


def test_the_limit_can_be_smaller_than_what_is_read_at_once() -> None:
    """Messages within it are answered, one after the other on one line too; a larger one is refused."""
    small = execute(1)
    limit = str(len(json.dumps(small)))

    node = run(json.dumps(small).encode() * 100 + b"\n" + request(1) + line(small), "--max-message-bytes", limit)

    replies = list(map(json.loads, node.stdout.splitlines()))
    assert [reply["type"] for reply in replies] == ["saga_completed"] * 100 + ["error", "saga_completed"]


def test_garbage_never_ends_the_node() -> None:
    """Random and hostile bytes, then a good message; no traceback anywhere."""
    garbage = [
        bytes(range(256)) * 20,
        b"\0" * 5000,
        b"{" * 50_000,
        b'{"a":[\n' * 5000,
        b"\x80\n" * 500,
        b"[" * 100_000 + b"]" * 100_000,
    ]

    node = run(b"\n".join([*garbage, request(1)]))

    assert node.stdout.decode().splitlines()[-1] == reply_to(1)
    assert b"Traceback" not in node.stdout + node.stderr
    assert node.returncode == 0
