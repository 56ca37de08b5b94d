"""`choreo lesson`: the curriculum, as text and live runs.

Laws: the explorer proves the claims of a lesson while the command runs; they are never taken from the text. The
question is asked only where a person can answer it.
"""

import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from choreo.api import open_services
from choreo.comparison import Comparison, compare
from choreo.compile import STYLES
from choreo.lab.explore.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.lessons import Lesson, lesson, lessons
from choreo.recorder import Scenario
from choreo.render.report import show_counterexample
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.saga.calls.modules import SERVICES
from choreo.saga.definition import Saga
from choreo.saga.usage import UsageError
from choreo.terminal.options.arguments import open_separately, read_saga
from choreo.terminal.options.command import STATUS, Command, Json, finish, wrong_use
from choreo.terminal.options.panels import LEARN
from choreo.terminal.views.compare import show_comparison

LESSON_HELP = "Show a lesson: the story, the anomaly, and the proof of the fix. Without a number, list the lessons."
LESSON_EPILOG = """[bold]Examples[/]
  choreo lesson
  choreo lesson 5
  choreo explore lesson-5
  choreo explore lesson-5-mended""" + STATUS.format("the lesson holds", "a result differs from the text of the lesson")


def register(app: typer.Typer) -> None:
    app.command("lesson", cls=Command, rich_help_panel=LEARN, help=LESSON_HELP, epilog=LESSON_EPILOG)(_lesson)


def _lesson(
    number: Annotated[int | None, typer.Argument(metavar="N", help="Number of the lesson.")] = None,
    json: Json = False,
) -> None:
    screen = Screen()
    if number is None:
        _list(screen, json)
        return
    with wrong_use():
        found = _open(number)
    taught = LessonRun(found)
    if json:
        screen.json(taught.as_json())
    else:
        taught.tell(screen)
    finish(is_finding=not taught.is_as_told)


def _open(number: int) -> Lesson:
    try:
        return lesson(number)
    except LookupError as error:
        raise UsageError("N", str(error.args[0])) from None


def _list(screen: Screen, json: bool) -> None:
    for each in lessons():
        if json:
            screen.json({"number": each.number, "title": each.words.title, "invariants": each.words.invariants})
        else:
            codes = ", ".join(each.words.invariants)
            screen.one_line(f"{each.number:>3}  {each.words.title:<34}", (codes, FAINT))
    if not json:
        screen.one_line()
        screen.sentence(
            "choreo lesson 5 shows one; choreo explore lesson-5 and choreo simulate lesson-5 take it apart."
        )


class Pair:
    """Results of the explorer for a saga with its bug and without."""

    def __init__(self, broken: Saga, mended: Saga, style: str) -> None:
        self.broken = _explore(broken, style)
        self.mended = _explore(mended, style)
        self.budget = mended.faults.budget if mended.faults.kinds else 0

    def is_as_told(self, invariants: tuple[str, ...]) -> bool:
        """Return whether the explorer finds the bug as the stated violations, and none after the stated fix."""
        is_found = set(invariants) <= {violation.code for violation in self.broken.violations}
        return is_found and self.mended.verdict is Conclusion.SAFE


class LessonRun:
    """Results of the explorer for a lesson: in its own style, in the other style, and for its variant."""

    def __init__(self, found: Lesson) -> None:
        self.lesson = found
        self.own = Pair(found.broken, found.mended, found.words.style)
        self.other = Pair(found.broken, found.mended, found.other_style)
        self.twin = None if found.twin is None else Pair(found.twin.broken, found.twin.mended, found.words.style)

    @property
    def is_as_told(self) -> bool:
        """Return whether all results match the text of the lesson."""
        words, twin = self.lesson.words, self.lesson.twin
        is_other = self.other.broken.verdict == words.other_style and self.other.is_as_told(())
        is_twin = self.twin is None or twin is None or self.twin.is_as_told(twin.invariants)
        return self.own.is_as_told(words.invariants) and is_other and is_twin

    def as_json(self) -> dict[str, Any]:
        words = self.lesson.words
        return {
            "number": self.lesson.number,
            "title": words.title,
            "invariants": words.invariants,
            "broken": self.own.broken.as_json(),
            "mended": self.own.mended.as_json(),
            "other_style": self.other.broken.as_json(),
            "as_told": self.is_as_told,
        }

    def tell(self, screen: Screen) -> None:
        found, words = self.lesson, self.lesson.words
        screen.one_line((f"Lesson {found.number}: {words.title}", TITLE))
        screen.one_line()
        _paragraph(screen, words.story)
        _ask(screen, found)
        _heading(screen, "What happens")
        _paragraph(screen, words.outcome)
        if found.is_broken:
            _bug(screen, self.own.broken)
            screen.one_line(f"The simulator finds it too: choreo simulate lesson-{found.number} --seeds {words.seeds}")
            _heading(screen, "What mends it")
            _paragraph(screen, words.mend)
        _proof(screen, self.own)
        _heading(screen, f"And in {found.other_style}?")
        _paragraph(screen, words.other)
        if found.is_broken:
            _verdict_of_other(screen, found, self.other)
        else:
            _proof(screen, self.other)
            screen.one_line()
            show_comparison(screen, *_compared(found), False)
        if self.twin is not None and found.twin is not None:
            _heading(screen, "Its twin")
            _paragraph(screen, found.twin.text)
            _bug(screen, self.twin.broken)
            _proof(screen, self.twin)
        if not self.is_as_told:
            screen.sentence(("What was found is not what this lesson says.", "bold red"))


def _compared(found: Lesson) -> tuple[Scenario, Comparison]:
    """Compare both styles on a run whose last step refuses."""
    steps = [step.name for step in found.broken.steps]
    saga = read_saga(steps, [steps[-1]], ())
    return saga, compare(saga, open_separately(SERVICES, steps, 2 * len(STYLES)))


def _bug(screen: Screen, report: Report) -> None:
    for violation in report.violations:
        screen.sentence(
            (f"{violation.code} {violation.title}", "bold red"), f": {screen.prose(violation.sentence)}", indent=3
        )
    show_counterexample(screen, report)


def _explore(definition: Saga, style: str) -> Report:
    return Explorer(definition, style, open_services(SERVICES)).explore()


def _ask(screen: Screen, found: Lesson) -> None:
    """Ask the question; on a terminal, wait for the answer."""
    words = found.words
    _heading(screen, "What do you expect?")
    screen.sentence(words.question)
    for index, answer in enumerate(words.answers, start=1):
        screen.sentence(f"  {index}  {answer}", indent=5)
    if not (sys.stdin is not None and sys.stdin.isatty() and screen.is_terminal):
        return
    guess = screen.input("Your answer: ", markup=False, emoji=False).strip()
    if guess:
        is_right = guess == str(words.answer)
        right = f"{words.answer}  {words.answers[words.answer - 1]}"
        screen.sentence(("Right.", "bold green") if is_right else (f"Not quite: {right}", "bold yellow"))


def _heading(screen: Screen, text: str) -> None:
    screen.one_line()
    screen.one_line((text, TITLE))


def _paragraph(screen: Screen, text: str) -> None:
    """Print a text of a lesson at the width of the screen."""
    screen.lines(screen.wrapped(Text(" ".join(text.split()))))


def _proof(screen: Screen, pair: Pair) -> None:
    report, budget = pair.mended, pair.budget
    if report.verdict is not Conclusion.SAFE:
        return
    faults = f"with at most {budget} fault{'s' if budget != 1 else ''} " if budget else ""
    screen.sentence(
        ("Proof", "bold green"),
        f": all {report.states:,} reachable states {faults}were looked at; S1-S12 and L1-L5 hold.",
    )


def _verdict_of_other(screen: Screen, found: Lesson, pair: Pair) -> None:
    other, mended = pair.broken, pair.mended
    if other.verdict is Conclusion.SAFE:
        screen.sentence(f"With the same bug, {found.other_style} is safe: all {other.states:,} states were looked at.")
        return
    codes = ", ".join(violation.code for violation in other.violations)
    screen.sentence(
        f"With the same bug, {found.other_style} breaks {codes}; mended, all of its {mended.states:,} states are safe."
    )
