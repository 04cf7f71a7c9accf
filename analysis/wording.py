"""Numbers in plain words: odds, shares, times."""

from __future__ import annotations


def odds(evidence: float) -> str:
    """An e-value as odds.

    >>> odds(41.7), odds(3.25), odds(0.25), odds(2e6), odds(0.0)
    ('42 : 1', '3.2 : 1', '1 : 4', 'over 1,000,000 : 1', '1 : over 1,000,000')
    """
    if evidence > 1e6:
        return "over 1,000,000 : 1"
    if evidence < 1e-6:
        return "1 : over 1,000,000"
    return f"{_short(evidence)} : 1" if evidence >= 1 else f"1 : {_short(1 / evidence)}"


def percent(share: float) -> str:
    """A share as a percentage with three digits that count.

    >>> percent(0.0152), percent(0.0), percent(0.2), percent(1.0), percent(0.00021)
    ('1.52 %', '0 %', '20 %', '100 %', '0.021 %')
    """
    return f"{number(100 * share)} %"


def number(value: float) -> str:
    """A number with three digits that count, and no exponent.

    >>> number(1.5234), number(12345.6), number(-0.00321), number(10.0), number(99.96)
    ('1.52', '12,346', '-0.00321', '10', '100')
    """
    if value == 0 or abs(value) < 1e-9:
        return "0"
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    while size < 0.0995 and digits < 9:
        size *= 10
        digits += 1
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float) -> str:
    """A number with its sign.

    >>> signed(0.5), signed(-0.5), signed(0.0)
    ('+0.5', '-0.5', '0')
    """
    text = number(value)
    return text if text.startswith("-") or text == "0" else f"+{text}"


def count(n: float) -> str:
    """A count.

    >>> count(12345.0)
    '12,345'
    """
    return f"{n:,.0f}"


def duration(seconds: float) -> str:
    """A time to wait, roughly.

    >>> duration(42.0), duration(250.0), duration(9000.0), duration(500000.0)
    ('42 s', '4 min', '2.5 h', '5.8 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"


def time_of(latency_s: float) -> str:
    """A latency.

    >>> time_of(0.0123), time_of(2.5)
    ('12.3 ms', '2.5 s')
    """
    return f"{number(latency_s * 1000)} ms" if latency_s < 1 else f"{number(latency_s)} s"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
