"""Wrong use: what somebody who calls choreo asks for and cannot have, whichever face it is asked through."""


class UsageError(Exception):
    """An argument that makes no sense: `where` names it, `why` tells what was expected and what came."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why
