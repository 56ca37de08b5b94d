"""Options that take one of a few words.

Laws: any other word is refused with the expected words and the nearest of them; the shell completes the words.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import typer

from choreo.saga.file.errors import one_of, quoted, suggestion

Word = TypeVar("Word", bound=StrEnum)


def choice(option: str, kind: type[StrEnum], metavar: str, explained: str) -> Any:
    """Return the option of typer whose value is a member of `kind`."""
    return typer.Option(
        option,
        metavar=metavar,
        help=explained,
        parser=_parser(kind),
        autocompletion=_completion(kind),
        case_sensitive=True,
    )


def _parser(kind: type[Word]) -> Callable[[str], Word]:
    def parse(word: str) -> Word:
        try:
            return kind(word)
        except ValueError:
            expected = one_of([quoted(each.value) for each in kind])
            raise typer.BadParameter(f"expected {expected}, got {quoted(word)}{suggestion(word, kind)}") from None

    return parse


def _completion(kind: type[StrEnum]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word.value for word in kind if word.startswith(incomplete)]

    return complete
