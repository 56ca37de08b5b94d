"""`choreo lint`: checks the wiring of a definition without a run."""

import typer

from choreo.compile.finding import Finding
from choreo.compile.linting import lint
from choreo.lab.options import with_services
from choreo.render.screen import FAINT, TITLE, Screen
from choreo.saga.definition import Saga
from choreo.terminal.options.command import STATUS, Command, DefinitionSource, Json, OfStyle, Shown, finish, wrong_use
from choreo.terminal.options.definition_arguments import open_definition
from choreo.terminal.options.panels import BREAK_AND_PROVE
from choreo.terminal.options.services import Services, check_names

LINT_HELP = (
    "Check the wiring of a definition without a run: missing subscribers, failures that never reach a compensation."
)
LINT_EPILOG = """[bold]Examples[/]
  choreo lint services.sagas:order
  choreo lint order.toml --style choreography --json""" + STATUS.format("nothing found", "a finding")


def register(app: typer.Typer) -> None:
    app.command("lint", cls=Command, rich_help_panel=BREAK_AND_PROVE, help=LINT_HELP, epilog=LINT_EPILOG)(_lint)


def _lint(
    definition: DefinitionSource, style: OfStyle = Shown.BOTH, json: Json = False, services: Services = None
) -> None:
    screen = Screen()
    with wrong_use():
        read = with_services(open_definition(definition), services)
        check_names(read, services)
    findings = {name: lint(read, name) for name in style.styles}
    for name, found in findings.items():
        if json:
            screen.json({"definition": read.name, "style": name, "findings": [_plain(finding) for finding in found]})
        else:
            _show(screen, read, name, found)
    finish(is_finding=any(findings.values()))


def _plain(finding: Finding) -> dict[str, str]:
    return {"rule": finding.rule.value, "where": finding.where, "sentence": finding.sentence}


def _show(screen: Screen, definition: Saga, style: str, found: list[Finding]) -> None:
    count = f"{len(found)} finding{'' if len(found) == 1 else 's'}" if found else "nothing found"
    screen.one_line((f"{screen.name(definition.name)}, {style}", TITLE), f": {count}")
    for finding in found:
        screen.one_line("  ", (finding.rule.value, "bold red"), " ", (screen.prose(finding.where), FAINT))
        screen.sentence(f"    {screen.prose(finding.sentence)}", indent=4)
