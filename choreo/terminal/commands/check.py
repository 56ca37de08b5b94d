"""`choreo check`: S1-S12 and L1-L5 over a trace of any origin, or over the journal of a node.

Laws: reads files and prints the violations; parsing and checking belong to `choreo.conformance`.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from choreo.analysis.naming import enumerated
from choreo.conformance import (
    CheckReport,
    Form,
    Mapping,
    NotOfThisSaga,
    ParsedTrace,
    WrongMapping,
    check,
    read_mapping,
    read_trace,
)
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.saga.definition import Saga
from choreo.saga.file import WrongDefinition, read_definition
from choreo.saga.usage import UsageError
from choreo.terminal.commands.check_journal import check_journal
from choreo.terminal.options.choices import choice
from choreo.terminal.options.command import STATUS, Command, Json, finish, wrong_use
from choreo.terminal.options.panels import BREAK_AND_PROVE
from choreo.terminal.options.trace_lines import bounded, opened
from choreo.terminal.views.violations import CODES, Places, show_violations
from choreo.trace.record import NotATrace

MAPPING_BYTES_MAX = 1_000_000
WORDS_SHOWN = 5
OF_TRACE = Places("line", "the end of the trace")
FORMS = {"choreo": "a choreo trace", "cloudevents": "CloudEvents", "json": "JSON lines"}

CHECK_HELP = (
    "Check a trace against the invariants; print each violation with its place, and the missing events.\n\n"
    "The trace may be choreo's own, CloudEvents 1.0, or any JSON lines with a mapping. "
    "With --journal: check every run of a node's journal and its rows, also while the node runs."
)
CHECK_EPILOG = """[bold]Examples[/]
  choreo node --trace trace.jsonl < sagas.jsonl; choreo check trace.jsonl
  choreo check trace.jsonl --definition order.toml --json
  choreo check production.log --mapping mapping.toml
  choreo check --journal sagas.db""" + STATUS.format("every invariant holds", "a violation, or a damaged journal")


def register(app: typer.Typer) -> None:
    app.command("check", cls=Command, rich_help_panel=BREAK_AND_PROVE, help=CHECK_HELP, epilog=CHECK_EPILOG)(_check)


def _check(
    trace: Annotated[
        str | None, typer.Argument(metavar="TRACE", help="JSON lines; - reads stdin.", show_default=False)
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option("--definition", metavar="DEFINITION", help="A TOML file, module:attribute, or lesson-N."),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option("--mapping", metavar="FILE", help="TOML file that maps the fields and words of other logs."),
    ] = None,
    form: Annotated[
        Form, choice("--format", Form, "FORMAT", "auto, choreo, cloudevents, or json (with a mapping).")
    ] = Form.AUTO,
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="FILE", help="Journal of a node, in place of a trace.")
    ] = None,
    at_rest: Annotated[
        bool,
        typer.Option("--at-rest", metavar="", help="With --journal: expect an outcome of unfinished runs too."),
    ] = False,
    json: Json = False,
) -> None:
    screen = Screen()
    with wrong_use():
        if journal is not None:
            _only(
                ("TRACE", trace),
                ("--definition", definition),
                ("--mapping", mapping),
                ("--format", None if form is Form.AUTO else str(form)),
            )
            finish(is_finding=check_journal(screen, journal, at_rest, json))
        if trace is None:
            raise UsageError("TRACE", "expected a trace, or --journal FILE, got neither")
        if at_rest:
            raise UsageError("--at-rest", "expected it with --journal; the end of a trace is at rest")
        defined = None if definition is None else _definition(definition)
        mapped = _mapping(mapping, form)
        parsed, verdict = _judge(trace, form, mapped, defined)
    if json:
        screen.json(_plain(trace, parsed, verdict, defined))
    else:
        _show(screen, parsed, verdict, defined)
    finish(is_finding=not verdict.holds or bool(parsed.disorder))


def _only(*others: tuple[str, str | None]) -> None:
    """Refuse `--journal` combined with any other input."""
    for where, value in others:
        if value is not None:
            raise UsageError(where, f"expected it without --journal, got {value!r}")


def _judge(trace: str, form: Form, mapping: Mapping | None, definition: Saga | None) -> tuple[ParsedTrace, CheckReport]:
    try:
        with opened(trace) as lines:
            parsed = read_trace(bounded(lines, trace, "a JSON object"), trace, form, mapping)
        return parsed, check(parsed, definition)
    except (NotATrace, NotOfThisSaga) as error:
        raise UsageError("TRACE", str(error)) from None
    except OSError as error:
        raise UsageError("TRACE", f"expected a file that can be read, got {trace!r} ({error.strerror})") from None


def _definition(source: str) -> Saga:
    try:
        return read_definition(source)
    except WrongDefinition as error:
        raise UsageError("--definition", str(error)) from None


def _mapping(path: str | None, form: Form) -> Mapping | None:
    if path is None:
        if form is Form.JSON:
            raise UsageError("--format", "expected --mapping with json, which says what the fields mean; got none")
        return None
    if form not in (Form.AUTO, Form.JSON):
        raise UsageError("--mapping", f"expected it with --format json, got {form}")
    try:
        with open(path, "rb") as file:
            content = file.read(MAPPING_BYTES_MAX + 1)
        if len(content) > MAPPING_BYTES_MAX:
            raise WrongMapping(f"expected at most {MAPPING_BYTES_MAX} bytes, got more")
        return read_mapping(content.decode("utf-8-sig"))
    except WrongMapping as error:
        raise UsageError("--mapping", f"{path}: {error}") from None
    except OSError as error:
        raise UsageError("--mapping", f"expected a file that can be read, got {path!r} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UsageError("--mapping", f"{path}: expected text in UTF-8, but byte {error.start} is none") from None
    except ValueError as error:  # not a path: it has a zero byte
        raise UsageError("--mapping", f"expected a file that can be read, got {path!r} ({error})") from None


# Text


def _show(screen: Screen, parsed: ParsedTrace, verdict: CheckReport, definition: Saga | None) -> None:
    ended = enumerated([f"{count:,} {_ended(name)}" for name, count in verdict.outcomes.items()])
    runs = f"{verdict.runs:,} {'run' if verdict.runs == 1 else 'runs'}"
    read = f": {FORMS[parsed.form]}, {parsed.lines:,} {'line' if parsed.lines == 1 else 'lines'}, {runs}: {ended}"
    screen.sentence((screen.name(parsed.name), TITLE), read, indent=2)
    if verdict.holds and not (parsed.disorder or parsed.missing):
        screen.one_line((f"{CODES} hold", "bold green"))
    elif verdict.holds:
        screen.one_line((f"{CODES} hold, as far as a damaged trace can tell", "bold yellow"))
    else:
        show_violations(screen, verdict, OF_TRACE)
    for note in _notes(parsed, definition):
        screen.sentence((f"  {screen.prose(note)}", FAINT), indent=4)


def _ended(outcome: str) -> str:
    return "without an outcome" if outcome == "none" else outcome


def _notes(parsed: ParsedTrace, definition: Saga | None) -> Iterator[str]:
    """Yield the basis of the verdict, and the checks that were not made."""
    for disorder in parsed.disorder[:1]:
        others = f", and {len(parsed.disorder) - 1:,} more like it" if len(parsed.disorder) > 1 else ""
        yield f"{disorder}{others}"
    if parsed.missing:
        are = "record is" if parsed.missing == 1 else "records are"
        yield f"{parsed.missing:,} {are} missing: the numbers leave gaps"
    if parsed.ignored:
        words = [f"{word or 'an empty word'} ({count:,})" for word, count in _most(parsed.ignored)]
        count = sum(parsed.ignored.values())
        yield f"{count:,} {'line' if count == 1 else 'lines'} about something else: {enumerated(words, WORDS_SHOWN)}"
    if parsed.resent:
        yield f"{parsed.resent:,} sent again, with the same source and id: counted once"
    if not parsed.has_effects:
        yield "the trace has no effects, so a step's word is taken for what its service did"
    if not parsed.has_causes:
        yield "the trace has no causes" + (
            ": nothing is said of S9" if definition else ": nothing is said of S5 and S9"
        )
    if definition is None:
        yield "without --definition the steps are those that are told of, and none of them is a pivot"


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])


# JSON


def _plain(trace: str, parsed: ParsedTrace, verdict: CheckReport, definition: Saga | None) -> dict[str, Any]:
    violations = [msgspec.to_builtins(violation) for violation in verdict.violations]
    return {
        "trace": trace,
        "format": parsed.form,
        "definition": None if definition is None else definition.name,
        "lines": parsed.lines,
        "runs": verdict.runs,
        "outcomes": verdict.outcomes,
        "holds": verdict.holds,
        "first": violations[0] if violations else None,
        "deviations": violations,
        "due": msgspec.to_builtins(verdict.due),
        "ignored": parsed.ignored,
        "resent": parsed.resent,
        "missing": parsed.missing,
        "disorder": parsed.disorder,
    }
