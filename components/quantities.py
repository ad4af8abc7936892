"""Kubernetes quantities in the form that the API server returns."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from contracts.quantities import amount

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {18: "E", 15: "P", 12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "u", -9: "n"}
_SMALLEST = min(_DECIMAL)


def canonical(quantity: str | float) -> str:
    """A quantity in Kubernetes' canonical form: `2048Gi` is `2Ti`, `1000m` is `1`, and 1000 is `1k`. Raises ValueError.

    As `CanonicalizeBytes` of apimachinery's `resource.Quantity` does, it uses the largest suffix that needs no
    fraction. A quantity with an exponent (`1e3`) stays as it is.
    """
    text = str(quantity)
    number = amount(text)
    if text.lstrip("+-0123456789.")[:1] in ("e", "E") and text[-1:].isdigit():
        return text
    if text.endswith("i") and abs(number) >= 1024:
        return _binary(int(number.to_integral_value(ROUND_CEILING)))
    return _decimal(number)


def _binary(number: int) -> str:
    power = 0
    while number % 1024 == 0 and power < len(_BINARY) - 1:
        number //= 1024
        power += 1
    return f"{number}{_BINARY[power]}"


def _decimal(number: Decimal) -> str:
    smallest = int(number.scaleb(-_SMALLEST).to_integral_value(ROUND_CEILING))
    for exponent, suffix in _DECIMAL.items():
        mantissa, rest = divmod(smallest, 10 ** (exponent - _SMALLEST))
        if rest == 0 and mantissa:
            return f"{mantissa}{suffix}"
    return "0"
