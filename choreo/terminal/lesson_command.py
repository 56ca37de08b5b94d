"""`choreo lesson`: the curriculum, told and shown.

Laws: what a lesson claims is found and proven while the reader looks on, never taken from the text. The question is
asked where somebody can answer it.
"""

import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from choreo.composition import SERVICES, open_services
from choreo.lab.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.lessons import Lesson, lesson, lessons
from choreo.terminal.arguments import WrongUse
from choreo.terminal.command import STATUS, Command, Json, finish, wrong_use
from choreo.terminal.report_view import show_counterexample
from choreo.terminal.screen import FAINT, TITLE, Screen

LESSON_HELP = (
    "The lessons: without a number their list; with one, the story, what goes wrong, and the proof of the mend."
)
LESSON_EPILOG = """[bold]Examples[/]
  choreo lesson
  choreo lesson 5
  choreo explore lesson-5
  choreo explore lesson-5-mended""" + STATUS.format("shown as told", "something is not as the lesson says")


def register(app: typer.Typer) -> None:
    app.command("lesson", cls=Command, help=LESSON_HELP, epilog=LESSON_EPILOG)(_lesson)


def _lesson(
    number: Annotated[int | None, typer.Argument(metavar="N", help="The number of the lesson.")] = None,
    json: Json = False,
) -> None:
    screen = Screen()
    if number is None:
        _list(screen, json)
        return
    with wrong_use():
        found = _open(number)
    shown = Shown(found)
    if json:
        screen.json(shown.as_json())
    else:
        shown.tell(screen)
    finish(is_finding=not shown.is_as_told)


def _open(number: int) -> Lesson:
    try:
        return lesson(number)
    except LookupError as error:
        raise WrongUse("N", str(error.args[0])) from None


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


class Shown:
    """A lesson, and what the explorer finds in it: with the bug, without it, and in the other style."""

    def __init__(self, found: Lesson) -> None:
        self.lesson = found
        words = found.words
        self.broken = _explore(found, words.style)
        self.mended = _explore(found, words.style, is_mended=True)
        self.other = _explore(found, found.other_style)
        self.other_mended = _explore(found, found.other_style, is_mended=True)

    @property
    def is_as_told(self) -> bool:
        """Whether the bug is found as what the lesson says it is, and mended by what it says mends it."""
        words, codes = self.lesson.words, {broken.code for broken in self.broken.broken}
        is_found = set(words.invariants) <= codes if self.lesson.is_broken else self.broken.verdict is Conclusion.SAFE
        is_mended = self.mended.verdict is Conclusion.SAFE and self.other_mended.verdict is Conclusion.SAFE
        return is_found and is_mended and self.other.verdict == words.other_style

    def as_json(self) -> dict[str, Any]:
        words = self.lesson.words
        return {
            "number": self.lesson.number,
            "title": words.title,
            "invariants": words.invariants,
            "broken": self.broken.as_json(),
            "mended": self.mended.as_json(),
            "other_style": self.other.as_json(),
            "as_told": self.is_as_told,
        }

    def tell(self, screen: Screen) -> None:
        found, words = self.lesson, self.lesson.words
        screen.one_line((f"Lesson {found.number}: {words.title}", TITLE))
        screen.one_line()
        _paragraphs(screen, words.story)
        _ask(screen, found)
        _heading(screen, "What happens")
        _paragraphs(screen, words.outcome)
        self._show_bug(screen)
        if found.is_broken:
            _heading(screen, "What mends it")
            _paragraphs(screen, words.mend)
            _proof(screen, found, self.mended)
        _heading(screen, f"And in {found.other_style}?")
        _paragraphs(screen, words.other)
        _verdict_of_other(screen, found, self.other, self.other_mended)
        if found.twin is not None:
            _heading(screen, "Its twin")
            _paragraphs(screen, found.twin.text)
        if not self.is_as_told:
            screen.sentence(("What was found is not what this lesson says.", "bold red"))

    def _show_bug(self, screen: Screen) -> None:
        for broken in self.broken.broken:
            screen.sentence(
                (f"{broken.code} {broken.title}", "bold red"), f": {screen.prose(broken.sentence)}", indent=3
            )
        if self.broken.counterexample is not None:
            show_counterexample(screen, self.broken)
            number, seeds = self.lesson.number, self.lesson.words.seeds
            screen.one_line(f"The simulator finds it too: choreo simulate lesson-{number} --seeds {seeds}")
        else:
            _proof(screen, self.lesson, self.broken)


def _explore(found: Lesson, style: str, is_mended: bool = False) -> Report:
    definition = found.mended if is_mended else found.broken
    return Explorer(definition, style, open_services(SERVICES)).explore()


def _ask(screen: Screen, found: Lesson) -> None:
    """The question; where somebody sits at a terminal, the answer is waited for."""
    words = found.words
    _heading(screen, "What do you expect?")
    screen.sentence(words.question)
    for index, answer in enumerate(words.answers, start=1):
        screen.sentence(f"  {index}  {answer}", indent=5)
    if not (sys.stdin is not None and sys.stdin.isatty() and screen.is_terminal):
        return
    guess = typer.prompt("Your answer", default="", show_default=False).strip()
    if guess:
        is_right = guess == str(words.answer)
        right = f"{words.answer}  {words.answers[words.answer - 1]}"
        screen.sentence(("Right.", "bold green") if is_right else (f"Not quite: {right}", "bold yellow"))


def _heading(screen: Screen, text: str) -> None:
    screen.one_line()
    screen.one_line((text, TITLE))


def _paragraphs(screen: Screen, text: str) -> None:
    """A text of a lesson, as wide as the screen."""
    screen.lines(screen.wrapped(Text(" ".join(text.split()))))


def _proof(screen: Screen, found: Lesson, report: Report) -> None:
    if report.verdict is not Conclusion.SAFE:
        return
    budget = found.mended.faults.budget if found.mended.faults.kinds else 0
    faults = f"with at most {budget} fault{'s' if budget != 1 else ''} " if budget else ""
    screen.sentence(
        ("Proof", "bold green"),
        f": all {report.states:,} reachable states {faults}were looked at; S1-S12 and L1-L5 hold.",
    )


def _verdict_of_other(screen: Screen, found: Lesson, other: Report, mended: Report) -> None:
    if not found.is_broken:
        _proof(screen, found, other)
        return
    if other.verdict is Conclusion.SAFE:
        screen.sentence(f"With the same bug, {found.other_style} is safe: all {other.states:,} states were looked at.")
        return
    codes = ", ".join(broken.code for broken in other.broken)
    screen.sentence(
        f"With the same bug, {found.other_style} breaks {codes}; mended, all of its {mended.states:,} states are safe."
    )
