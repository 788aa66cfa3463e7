"""The time between SIGTERM and the end of a service, in which it still answers."""


class Shutdown:
    """Whether that time has begun: each answer is then the last on its connection."""

    def __init__(self) -> None:
        self.begun = False
