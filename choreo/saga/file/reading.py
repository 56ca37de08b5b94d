"""Reader of definitions: from a TOML file, from a module, or from the curriculum.

Laws: the result is a consistent definition, or a `WrongDefinition` that names the defect in one line. Input beyond the
bounds is not read. A definition built in Python passes the same schema as a file.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from choreo.saga.calls.modules import import_named
from choreo.saga.definition import Saga
from choreo.saga.file.checking import check
from choreo.saga.file.document import Document, document_of, saga_of
from choreo.saga.file.errors import WrongDefinition, quoted, suggestion
from choreo.saga.file.schema import departure, in_words
from choreo.saga.file.toml import NotToml, parse_toml
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.spelling import module_suggestion

BYTES_MAX, WHY_MAX = 1_000_000, 200
SUFFIX = ".toml"
SOURCES = "a TOML file, module:attribute, or lesson-N"
LESSON = re.compile(r"lesson-(?P<number>[0-9]{1,4})(?P<mended>-mended)?", re.ASCII)
IN_A_MODULE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)")
LESSONS = "choreo.lessons"

OpenLesson = Callable[[str], Saga]


def is_definition(word: str) -> bool:
    """True if the word has the form of a source that `read_definition` accepts, rather than that of a name."""
    return word.endswith(SUFFIX) or bool(LESSON.fullmatch(word) or IN_A_MODULE.fullmatch(word))


def open_lesson(name: str) -> Saga:
    """Return the definition of `lesson-N` or `lesson-N-mended`.

    The lessons are built from definitions, so they stand above this module; they are imported by name when they are
    needed.
    """
    named = LESSON.fullmatch(name)
    if named is None:
        raise WrongDefinition(f"{quoted(name)}: expected lesson-N or lesson-N-mended")
    try:
        definition_of: Callable[[int, bool], Saga] = import_module(LESSONS).definition_of
    except (ImportError, AttributeError) as error:
        raise WrongDefinition(f"{name}: expected the lessons in {LESSONS}, got {_in_a_line(error)}") from None
    try:
        return definition_of(int(named["number"]), named["mended"] is not None)
    except WrongDefinition:
        raise
    except (LookupError, ValueError) as error:
        raise WrongDefinition(f"{name}: expected a lesson that exists, got {_in_a_line(error)}") from None


def read_definition(source: str, open_lesson: OpenLesson = open_lesson) -> Saga:
    """Return the definition in a TOML file, at `module:attribute`, or of a lesson. Raises `WrongDefinition`."""
    if LESSON.fullmatch(source):
        return _definition_in(source, open_lesson(source))
    if not source.endswith(SUFFIX) and (named := IN_A_MODULE.fullmatch(source)):
        return _definition_in(source, _attribute(source, named["module"], named["attribute"]))
    return read_toml(source)


def read_toml(path: str) -> Saga:
    """Return the definition in a TOML file. Raises `WrongDefinition`."""
    return definition_from(_table(path, _text(path)))


def definition_from(table: Mapping[str, Any]) -> Saga:
    """Return the definition in a parsed TOML table. Raises `WrongDefinition`."""
    try:
        definition = saga_of(msgspec.convert(table, Document, strict=True))
    except (msgspec.ValidationError, RecursionError) as error:
        raise WrongDefinition(departure(table, Document) or in_words(str(error))) from None
    check(definition)
    return definition


def checked_saga(saga: Saga) -> Saga:
    """Return a saga built in Python, checked like one from a file; its types are unchecked so far.

    Raises `WrongDefinition`.
    """
    checked = _definition_in("saga", replace(saga, runs=tuple(replace(run, input=None) for run in saga.runs)))
    return replace(checked, runs=saga.runs)


def _definition_in(source: str, found: object) -> Saga:
    """Return a definition built in Python, checked like one from a file: its types are unchecked so far."""
    if not isinstance(found, Saga):
        raise WrongDefinition(f"{source}: expected a Saga, got a value of type {type(found).__name__}")
    try:
        table = msgspec.to_builtins(document_of(found))
    except Exception as error:  # the value comes from outside, and may raise any exception
        raise WrongDefinition(f"{source}: expected plain values, got {_in_a_line(error)}") from None
    return definition_from(table)


def _attribute(source: str, module: str, attribute: str) -> object:
    try:
        imported = import_named(module)
    except BaseException as error:  # the module comes from outside, and may raise any exception, `sys.exit` included
        expect_no_ctrl_c(error)
        why = f"expected a module that can be imported, got {quoted(module)} ({_in_a_line(error)})"
        why += module_suggestion(module)
        raise WrongDefinition(f"{source}: {why}") from None
    try:
        found: object = attrgetter(attribute)(imported)
    except AttributeError:
        names = [name for name, value in vars(imported).items() if isinstance(value, Saga)]
        alike = suggestion(attribute, names)
        raise WrongDefinition(
            f"{source}: expected a definition in {module}, got no {quoted(attribute)}{alike}"
        ) from None
    return found


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        raise WrongDefinition(f"{quoted(path)}: expected {SOURCES}; there is no such file") from None
    except OSError as error:
        raise WrongDefinition(f"{quoted(path)}: expected a file that can be read, got {error.strerror}") from None
    except ValueError as error:  # not a path: it has a zero byte, or characters that no file system can encode
        raise WrongDefinition(f"{quoted(path)}: expected {SOURCES}, got {_in_a_line(error)}") from None
    if len(content) > BYTES_MAX:
        raise WrongDefinition(f"{quoted(path)}: expected at most {BYTES_MAX} bytes, got more")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {content[error.start]:#04x}"
        raise WrongDefinition(f"{quoted(path)}: expected text in UTF-8, but {byte}") from None


def _table(path: str, text: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except NotToml as error:
        raise WrongDefinition(f"{quoted(path)}: {error}") from None


def _in_a_line(error: BaseException) -> str:
    return in_a_line(error)[:WHY_MAX]
