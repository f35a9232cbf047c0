"""What a bearer token may be made of. It travels in a header, and no message about it ever quotes it."""

from __future__ import annotations


def clean_token(text: str) -> str:
    """The token without the white space around it. Raises ValueError, saying where it is wrong and not what it is."""
    token = text.strip()
    for number, character in enumerate(token, start=1):
        if not (character.isascii() and character.isprintable()):
            what = "a line break or control character" if character.isascii() else "not ASCII"
            raise ValueError(f"character {number} of the token is {what}; use one line of printable ASCII")
    return token
