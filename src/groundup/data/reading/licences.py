"""Licences that a page, a book or its package states by a link that is certain.

Only links and names of Creative Commons are turned into short names (those of the SPDX list);
whatever else a `rel=license` link leads to is kept as the address it is.
"""

from __future__ import annotations

import re

_CC_LINK = re.compile(
    r"creativecommons\.org/(licenses|publicdomain)/([a-z][a-z-]*)/(\d\.\d)", re.IGNORECASE
)
_CC_NAME = re.compile(r"\b(CC0|CC[ -]BY(?:-NC)?(?:-SA|-ND)?)[ -](\d\.\d)", re.IGNORECASE)


def licence_in(text: str) -> str | None:
    """The one licence of Creative Commons that a text names; None if it names none or several.

    >>> licence_in("https://creativecommons.org/licenses/by-sa/4.0/deed.de")
    'CC-BY-SA-4.0'
    >>> licence_in("shared under CC0 1.0 Universal")
    'CC0-1.0'
    """
    found = {_short(kind, name, version) for kind, name, version in _CC_LINK.findall(text)}
    if not found:
        found = {
            f"{name.upper().replace(' ', '-')}-{version}"
            for name, version in _CC_NAME.findall(text)
        }
    return found.pop() if len(found) == 1 else None


def _short(kind: str, name: str, version: str) -> str:
    if kind.lower() == "publicdomain":
        return f"CC0-{version}" if name.lower() == "zero" else f"PDM-{version}"
    return f"CC-{name.upper()}-{version}"
