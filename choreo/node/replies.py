"""Replies of the node as text, and the codes of its error replies.

Laws: a reply is exactly what `json.dumps` would make of it, only faster.
"""

from json.encoder import encode_basestring_ascii

from choreo.saga.outcome import Outcome, State
from choreo.saga.raised import cut

NOT_SUPPORTED = 10
MALFORMED_REQUEST = 12
CRASH = 13
KEY_DOES_NOT_EXIST = 20
PRECONDITION_FAILED = 22

COMPLETED = State.COMPLETED

quote = encode_basestring_ascii
"""Encode a string as JSON, exactly as `json.dumps` does."""


def reply_text(saga_id: str | int, msg_id: int | None, outcome: Outcome) -> str:
    """Encode the reply exactly as `json.dumps` would, only faster."""
    if outcome.state is COMPLETED:
        return f'{{"type": "saga_completed", {_head(saga_id, msg_id)}{_completed_text(outcome)}}}'
    if outcome.defect is not None and outcome.failed_step is None:  # recorded by choreo 0.1: repeat its reply
        return error_text(msg_id, CRASH, outcome.defect)
    return f'{{"type": "saga_{outcome.state}", {_head(saga_id, msg_id)}{_state_text(outcome)}}}'


def status_text(saga_id: str | int, msg_id: int | None, outcome: Outcome | None) -> str:
    """Encode the reply to a status request: the outcome of a saga, or that it is running."""
    return _status_text(saga_id, msg_id, '"state": "running"' if outcome is None else _state_text(outcome))


def held_status_text(saga_id: str | int, msg_id: int | None, step: str | None, reason: str) -> str:
    """Encode the reply to a status request for a held saga, with the reason."""
    at = "" if step is None else f'"held_step": {quote(step)}, '
    return _status_text(saga_id, msg_id, f'"state": "held", {at}"reason": {quote(reason)}')


def _status_text(saga_id: str | int, msg_id: int | None, state: str) -> str:
    return f'{{"type": "saga_status", {_head(saga_id, msg_id)}{state}}}'


def _head(saga_id: str | int, msg_id: int | None) -> str:
    saga = quote(saga_id) if isinstance(saga_id, str) else saga_id
    return f'"saga_id": {saga}, ' if msg_id is None else f'"in_reply_to": {msg_id}, "saga_id": {saga}, '


def _state_text(outcome: Outcome) -> str:
    if outcome.state is COMPLETED:
        return _completed_text(outcome)
    text = f'"state": "{outcome.state}", "compensated_steps": {_names(outcome.compensated_steps)}'
    if outcome.stuck_step is not None:
        text += f', "stuck_step": {quote(outcome.stuck_step)}'
    return text if outcome.failed_step is None else text + _raised_text(outcome.failed_step, outcome)


def _completed_text(outcome: Outcome) -> str:
    if outcome.result is None:
        return f'"state": "completed", "completed_steps": {outcome.completed_steps}'
    return f'"state": "completed", "completed_steps": {outcome.completed_steps}, "result": {outcome.result}'


def _raised_text(step: str, outcome: Outcome) -> str:
    """Return the fields that report an exception of a service other than a refusal."""
    in_doubt = f', "in_doubt_steps": {_names(outcome.in_doubt_steps)}' if outcome.in_doubt_steps else ""
    return f'{in_doubt}, "failed_step": {quote(step)}, "reason": {quote(outcome.defect or "")}'


def _names(steps: tuple[str, ...]) -> str:
    return f"[{', '.join(map(quote, steps))}]"


def init_ok_text(msg_id: int | None) -> str:
    return '{"type": "init_ok"}' if msg_id is None else f'{{"type": "init_ok", "in_reply_to": {msg_id}}}'


def error_text(msg_id: int | None, code: int, text: str) -> str:
    return f'{{"type": "error", {_in_reply_to(msg_id)}"code": {code}, "text": {quote(cut(text))}}}'


def envelope_text(src: str, dest: str | None, body: str) -> str:
    return f'{{"src": {quote(src)}, "dest": {"null" if dest is None else quote(dest)}, "body": {body}}}'


def _in_reply_to(msg_id: int | None) -> str:
    return "" if msg_id is None else f'"in_reply_to": {msg_id}, '
