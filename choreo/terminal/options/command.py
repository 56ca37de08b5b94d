"""Common behaviour of all commands: their options, their exit status, and the report of wrong use.

Exit status: 0 fine; 1 a finding; 2 wrong use.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from choreo.compile import STYLES
from choreo.render.names import visible
from choreo.runtime.process import ctrl_c_told_apart, own_output
from choreo.saga.plan import PlanTooLarge
from choreo.saga.usage import UsageError
from choreo.terminal.options.arguments import Failure
from choreo.terminal.options.choices import choice

FINE, FINDING, CANNOT_WRITE = 0, 1, 2
STATUS = "\n\n[bold]Exit status[/]\n  0  {0}\n  1  {1}\n  2  wrong use"


HELP = ("--help", "-h")
"""Names of the help option of every command, in the order in which help and errors show them."""


class Help:
    """Help behaviour common to all commands."""

    def get_help_option_names(self, ctx: Any) -> list[str]:
        """Return the names in the same order in every process; those of the library stand in a set."""
        return list(HELP)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; an option without a value shows no metavar."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the command that this is mixed into
        for each in parameters:
            if getattr(each, "is_flag", False) and each.metavar is None:
                each.metavar = ""
        return parameters


class Command(Help, TyperCommand):
    """Command whose usage line shows required arguments without braces, as they are typed."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Output of services does not reach its stdout, and Ctrl-C stops it."""
        with own_output(), ctrl_c_told_apart():
            return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class Commands(Help, TyperGroup):
    """The commands of `choreo`."""


class NodeCommand(TyperCommand):
    """The node, which reads its own options; the shell completes them."""

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        from choreo.node.options import option_names

        return [Completion(name) for name in option_names() if name.startswith(incomplete)]


class Completion(NamedTuple):
    """Word that the shell offers as completion."""

    value: str
    type: str = "plain"
    help: str | None = None


class Shown(StrEnum):
    CHOREOGRAPHY = "choreography"
    ORCHESTRATION = "orchestration"
    BOTH = "both"

    @property
    def styles(self) -> tuple[str, ...]:
        return tuple(STYLES) if self is Shown.BOTH else (self.value,)


DefinitionSource = Annotated[
    str, typer.Argument(metavar="DEFINITION", help="A TOML file, module:attribute, or lesson-N.", show_default=False)
]
OfStyle = Annotated[Shown, choice("--style", Shown, "STYLE", "choreography, orchestration, or both.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON for programs, one object on one line.")]


@contextmanager
def wrong_use() -> Iterator[None]:
    """Convert errors in the arguments to errors of the command line."""
    try:
        yield
    except Failure as error:
        print(f"choreo: {visible(str(error))}", file=sys.stderr)
        raise typer.Exit(FINDING) from None
    except UsageError as error:
        raise typer.BadParameter(visible(error.why), param_hint=error.where) from None
    except PlanTooLarge as error:
        raise typer.BadParameter(f"a step is added to compare: {error}", param_hint="STEP") from None


def finish(is_finding: bool) -> NoReturn:
    raise typer.Exit(FINDING if is_finding else FINE)
