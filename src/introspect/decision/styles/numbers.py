"""Numbers as models write them in an answer."""

from __future__ import annotations

import math
import re
from typing import Literal

__all__ = ["NotANumber", "read_number"]

NotANumber = Literal["missing", "not_finite", "unparsable"]
"""Why there is no number: none was given; it is NaN, infinite or too large to hold; or it is not clear."""

# Full-width digits and signs, and every dash that is used as a minus. Other scripts' digits, superscripts and
# fractions are left alone, and then are no number: turning "10²" into 102 would invent one.
_PLAIN = str.maketrans(
    {0xFF10 + digit: str(digit) for digit in range(10)}
    | {0xFF0B: "+", 0xFF0E: ".", 0xFF05: "%", 0xFE6A: "%"}
    | dict.fromkeys((0x2212, 0x2010, 0x2011, 0x2012, 0x2013, 0xFE63, 0xFF0D), "-")
)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_ENDLESS = re.compile(r"[+-]?(?:nan|inf|infinity|∞)", re.IGNORECASE)
_MAX_LENGTH = 400


def read_number(text: str) -> float | NotANumber:
    """The number that a text is, where there is no doubt about it.

    Accepted: an optional sign right before the digits (also Unicode minus, dashes and full-width signs),
    digits 0-9 (also full-width) without leading zeros, a point and decimals, an exponent, a percent sign at
    the end. Anything else is no number: "1,000" and "12,5" (separators differ between countries), "20-30",
    "20/100", "1 000", "007", "0x10", "about 20", "20 points", "- 20" (which may be an item of a list).

    Example:
        >>> read_number("−80 %"), read_number("+3.5"), read_number("1,000"), read_number("1e309")
        (-80.0, 3.5, 'unparsable', 'not_finite')
    """
    if len(text) > _MAX_LENGTH:
        return "unparsable"
    plain = text.translate(_PLAIN).strip()
    if plain == "" or plain in ("null", "None"):
        return "missing"
    if plain.endswith("%"):
        plain = plain[:-1].rstrip()
    if _NUMBER.fullmatch(plain):
        value = float(plain) + 0.0
        return value if math.isfinite(value) else "not_finite"
    return "not_finite" if _ENDLESS.fullmatch(plain) else "unparsable"
