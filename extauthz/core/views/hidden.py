"""Text in characters that nobody can see."""


def hidden_channels(text: str) -> tuple[str, ...]:
    return ()


def revealed(text: str) -> str:
    return text
