"""Names of studies, cases, networks, recipes and members: what they are made of.

A name becomes a folder, a file, a word of a command, a label of a figure and a cell of a page. It
therefore holds nothing that a path, a shell, a namelist, a formula or a page would take for more
than a name.
"""

from __future__ import annotations

import re

from climsim.errors import ClimSimError

_FIRST, _FURTHER = "A-Za-z0-9_+", "A-Za-z0-9_.+-"
PATTERN = f"[{_FIRST}][{_FURTHER}]*"
"""What a name matches as a whole, as a regular expression."""
RULE = "letters without accents, digits, _ . + and -, not starting with . or -"
"""The same in words."""
_NAME = re.compile(PATTERN)
_OTHER = re.compile(f"[^{_FURTHER}]")


def is_name(text: str) -> bool:
    """Whether a text can be a name."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, where: str) -> str:
    """Refuse what cannot be a name.

    Args:
        text: the name.
        where: key or file it was found in, for the message.

    Returns:
        The name.

    Raises:
        ClimSimError: if it holds anything else than the characters of a name.
    """
    if not is_name(text):
        raise ClimSimError(f"{where}: expected a name of {RULE}, found {text!r}: rename it")
    return text


def as_name(text: str) -> str:
    """The name that a file or folder gives what it holds: other characters become ``_``."""
    name = _OTHER.sub("_", text)
    return name if is_name(name) else f"_{name}"
