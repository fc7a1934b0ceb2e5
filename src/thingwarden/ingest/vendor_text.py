"""Makes text that somebody else wrote harmless: rule titles, categories, names in lists.

In: text of any kind and length. Out: printable ASCII of bounded length, without double quotes.
Must never: let a character through that a terminal acts on, or that could end the quotes around it.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TEXT_CHARACTERS: Final = 200
"""The longest of the 33,000 rule titles of Emerging Threats (2019 and 2025) has 192."""

_CUT_MARK: Final = "..."
_HARMFUL: Final = re.compile(r"[^\x20-\x7e]|[\"`]")


def plain_text(text: str, most_characters: int = MAX_TEXT_CHARACTERS) -> str:
    """The text fit to be quoted: white space runs as one space, double quotes as single ones, the rest as ``?``.

    Args:
        text: of any kind and length.
        most_characters: at least 4; a longer text ends in ``...``.
    """
    spaced = " ".join(text[: 4 * most_characters].split())
    plain = _HARMFUL.sub(lambda found: "'" if found.group() in '"`' else "?", spaced)
    return plain if len(plain) <= most_characters else plain[: most_characters - len(_CUT_MARK)] + _CUT_MARK
