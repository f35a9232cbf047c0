"""Text out of a log as HTML and SVG take it: whatever somebody wrote there, it stays text. Pure."""

from __future__ import annotations

import html
import re

NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # to XML 1.0, and to UTF-8


def escaped(text: object) -> str:
    """Between tags or in a quoted attribute. What is no character there (control codes, half a pair) is replaced."""
    return html.escape(NOT_TEXT.sub("\ufffd", str(text)), quote=True)


def element(name: str, content: str = "", **attributes: object) -> str:
    """`content` is markup already; attributes are escaped, and spelled with - for _ (`class_` for `class`)."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{content}</{name}>"
