"""Random texts: passwords, which are secret, and strings."""

from __future__ import annotations

import secrets
import string
from typing import Any, ClassVar

import bcrypt

from rehearsal.providers.protocol.model import Properties, Refused, Request

from .drawn import Input, RandomValue

_SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
# The switch and the minimum of each class of characters, and the class.
_CLASSES = {
    "special": ("minSpecial", _SPECIAL),
    "numeric": ("minNumeric", string.digits),
    "upper": ("minUpper", string.ascii_uppercase),
    "lower": ("minLower", string.ascii_lowercase),
}
# bcrypt reads no more of a password.
_BCRYPT_BYTES = 72
_BCRYPT_COST = 10


class RandomString(RandomValue):
    """`random.RandomString`: a text that is not secret."""

    token: ClassVar[str] = "random:index/randomString:RandomString"
    computed: ClassVar[frozenset[str]] = frozenset({"result"})
    takes: ClassVar[dict[str, Input]] = {
        "length": Input(int, required=True, at_least=1),
        **{switch: Input(bool, default=True) for switch in _CLASSES},
        # The older name of `numeric`.
        "number": Input(bool),
        **{minimum: Input(int, default=0, at_least=0) for minimum, _ in _CLASSES.values()},
        "overrideSpecial": Input(str),
    }

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """As in the base. `number` and `numeric` get the same value."""
        given: dict[str, Any] = dict(inputs)
        for name, other in (("number", "numeric"), ("numeric", "number")):
            if given.get(name) is not None:
                given.setdefault(other, given[name])
        checked = super().check(given, olds, request)
        return {**checked, "number": checked["numeric"]}

    def check_together(self, inputs: Properties) -> None:
        """Refuses minima that exceed the length, and a text without any class of characters."""
        if inputs.get("number", inputs["numeric"]) != inputs["numeric"]:
            raise Refused("it contradicts numeric, whose older name it is", "number")
        least = sum(inputs[minimum] for minimum, _ in _CLASSES.values())
        if inputs["length"] < least:
            raise Refused(f"{inputs['length']} is less than the sum of the minima ({least})", "length")
        if not any(inputs[switch] for switch in _CLASSES):
            raise Refused(f"at least one of {', '.join(_CLASSES)} must be true")

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """A random text for the inputs."""
        return self.known_as(_draw_text(inputs))

    def imported(self, id: str) -> tuple[Properties, Properties]:
        """Imports a text. The only input is its length."""
        switches = dict.fromkeys((*_CLASSES, "number"), True)
        inputs = {"length": len(id), **switches, **dict.fromkeys((minimum for minimum, _ in _CLASSES.values()), 0)}
        known_as, outputs = self.known_as(id)
        return inputs, {**inputs, **outputs, "id": known_as}

    def known_as(self, text: str) -> tuple[str, Properties]:
        """The id and the outputs of a text. The text is the id."""
        return text, {"result": text}


class RandomPassword(RandomString):
    """`random.RandomPassword`: a secret text, with its bcrypt hash."""

    token: ClassVar[str] = "random:index/randomPassword:RandomPassword"
    computed: ClassVar[frozenset[str]] = frozenset({"result", "bcryptHash"})
    secret_outputs: ClassVar[frozenset[str]] = computed

    def known_as(self, text: str) -> tuple[str, Properties]:
        """The id does not reveal the password."""
        hashed = bcrypt.hashpw(text.encode()[:_BCRYPT_BYTES], bcrypt.gensalt(_BCRYPT_COST))
        return "none", {"result": text, "bcryptHash": hashed.decode()}


def _draw_text(inputs: Properties) -> str:
    """The minimum of characters of each class, and others of any enabled class, in random order."""
    classes = {switch: (inputs[minimum], characters) for switch, (minimum, characters) in _CLASSES.items()}
    if inputs.get("overrideSpecial"):
        classes["special"] = (inputs["minSpecial"], inputs["overrideSpecial"])
    drawn = [secrets.choice(characters) for count, characters in classes.values() for _ in range(count)]
    every = "".join(characters for switch, (_, characters) in classes.items() if inputs[switch])
    drawn += [secrets.choice(every) for _ in range(inputs["length"] - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)
