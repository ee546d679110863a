"""A flag that says nobody waits for the answer any more."""


class Cancellation:
    """Set by the transport when the client gave up; read by whoever would work in vain."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        """Start out as wanted."""
        self.cancelled = False

    def cancel(self) -> None:
        """Mark the answer as unwanted. Work not yet begun on it is dropped."""
        self.cancelled = True
