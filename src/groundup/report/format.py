"""Numbers as the report writes them."""

from __future__ import annotations


def format_number(value: float) -> str:
    """A tick or a figure, three digits at most.

    >>> [format_number(v) for v in (0, 0.5, 2.25, 1500, 2_000_000, 0.0003, 999_999)]
    ['0', '0.5', '2.25', '1.5k', '2M', '3e-4', '1M']
    """
    value = float(f"{value:.3g}")
    if value == 0:
        return "0"
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    if abs(value) < 0.001:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}"


def format_percent(share: float | None) -> str:
    """A share in whole percents, a dash where there is none.

    >>> format_percent(0.256), format_percent(None)
    ('26%', '–')
    """
    return "–" if share is None else f"{100 * share:.0f}%"


def format_share(share: float) -> str:
    """A share in percents, three digits at most.

    >>> format_share(0.256), format_share(0.0025), format_share(0)
    ('25.6%', '0.25%', '0%')
    """
    return f"{format_number(100 * share)}%"


def format_bytes(n: float | None) -> str:
    """Decimal units, as disks count.

    >>> format_bytes(2_400_000), format_bytes(900), format_bytes(31_000_000_000)
    ('2.4 MB', '900 B', '31 GB')
    """
    if n is None:
        return ""
    n = float(f"{n:.3g}")
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= limit:
            return f"{n / limit:.3g} {unit}"
    return f"{n:.0f} B"


def format_duration(seconds: float) -> str:
    """Two units at most.

    >>> format_duration(8.4), format_duration(540), format_duration(552), format_duration(7260)
    ('8.4 s', '9 min', '9 min 12 s', '2 h 1 min')
    """
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    large, small, names = (60, 1, ("min", "s")) if seconds < 3599.5 else (3600, 60, ("h", "min"))
    units = round(seconds / small)
    whole, rest = divmod(units, large // small)
    return f"{whole} {names[0]}" + (f" {rest} {names[1]}" if rest else "")
