"""Usage errors: arguments that choreo cannot accept, through any face."""


class UsageError(Exception):
    """An invalid argument: `where` names it, `why` states the expected and the actual value."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why
