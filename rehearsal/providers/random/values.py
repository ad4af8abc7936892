"""Random numbers, bytes, identifiers, orders and names."""

from __future__ import annotations

import base64
import secrets
import uuid
from random import Random
from typing import ClassVar

from rehearsal.providers.protocol.model import Properties, Refused

from .drawn import Input, RandomValue

_ADVERBS = ("barely", "briskly", "calmly", "deeply", "fairly", "gently", "largely", "mostly", "neatly", "openly")
_ADJECTIVES = ("able", "bold", "brave", "calm", "eager", "fair", "keen", "merry", "noble", "proud", "quick", "wise")
_ANIMALS = ("badger", "crane", "dolphin", "falcon", "heron", "lynx", "marten", "otter", "puffin", "raven", "seal")


class RandomId(RandomValue):
    """`random.RandomId`: random bytes in several spellings."""

    token: ClassVar[str] = "random:index/randomId:RandomId"
    computed: ClassVar[frozenset[str]] = frozenset({"b64Std", "b64Url", "dec", "hex"})
    takes: ClassVar[dict[str, Input]] = {"byteLength": Input(int, required=True, at_least=1), "prefix": Input(str)}

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """The id is the URL-safe spelling, without the prefix."""
        drawn, prefix = secrets.token_bytes(inputs["byteLength"]), inputs.get("prefix") or ""
        id = base64.urlsafe_b64encode(drawn).rstrip(b"=").decode()
        return id, {
            "b64Std": prefix + base64.b64encode(drawn).decode(),
            "b64Url": prefix + id,
            "dec": prefix + str(int.from_bytes(drawn, "big")),
            "hex": prefix + drawn.hex(),
        }


class RandomBytes(RandomValue):
    """`random.RandomBytes`: secret bytes."""

    token: ClassVar[str] = "random:index/randomBytes:RandomBytes"
    computed: ClassVar[frozenset[str]] = frozenset({"base64", "hex"})
    secret_outputs: ClassVar[frozenset[str]] = computed
    outputs_have_id: ClassVar[bool] = False
    takes: ClassVar[dict[str, Input]] = {"length": Input(int, required=True, at_least=1)}

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """The bytes are the id, which a state never encrypts (computeRandomBytesID of pulumi-random)."""
        drawn = secrets.token_bytes(inputs["length"])
        id = base64.b64encode(drawn).decode()
        return id, {"base64": id, "hex": drawn.hex()}


class RandomInteger(RandomValue):
    """`random.RandomInteger`: a number from `min` to `max`, both included. The same seed gives the same number."""

    token: ClassVar[str] = "random:index/randomInteger:RandomInteger"
    computed: ClassVar[frozenset[str]] = frozenset({"result"})
    takes: ClassVar[dict[str, Input]] = {
        "min": Input(int, required=True),
        "max": Input(int, required=True),
        "seed": Input(str),
    }

    def check_together(self, inputs: Properties) -> None:
        """Refuses an empty range."""
        if inputs["max"] < inputs["min"]:
            raise Refused(f"the maximum ({inputs['max']}) is less than the minimum ({inputs['min']})", "max")

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """The number is the id."""
        drawn = _source(inputs).randint(inputs["min"], inputs["max"])
        return str(drawn), {"result": drawn}


class RandomShuffle(RandomValue):
    """`random.RandomShuffle`: a list in random order. The same seed gives the same order."""

    token: ClassVar[str] = "random:index/randomShuffle:RandomShuffle"
    computed: ClassVar[frozenset[str]] = frozenset({"results"})
    takes: ClassVar[dict[str, Input]] = {
        "inputs": Input(list, required=True),
        "resultCount": Input(int, at_least=0),
        "seed": Input(str),
    }

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """If there are more results than inputs, further random orders follow."""
        source, wanted = _source(inputs), inputs.get("resultCount", len(inputs["inputs"]))
        results: list[str] = []
        while inputs["inputs"] and len(results) < wanted:
            results += source.sample(inputs["inputs"], len(inputs["inputs"]))
        return "-", {"results": results[:wanted]}


class RandomUuid(RandomValue):
    """`random.RandomUuid`: a UUID of version 4."""

    token: ClassVar[str] = "random:index/randomUuid:RandomUuid"
    computed: ClassVar[frozenset[str]] = frozenset({"result"})
    takes: ClassVar[dict[str, Input]] = {}

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """The UUID is the id."""
        drawn = str(uuid.uuid4())
        return drawn, {"result": drawn}


class RandomPet(RandomValue):
    """`random.RandomPet`: a name that is easy to remember, such as `keenly-bold-otter`."""

    token: ClassVar[str] = "random:index/randomPet:RandomPet"
    takes: ClassVar[dict[str, Input]] = {
        "length": Input(int, default=2, at_least=1),
        "separator": Input(str, default="-"),
        "prefix": Input(str),
    }

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """The name is the id: adverbs, an adjective and an animal, as many words as `length`."""
        length = inputs["length"]
        words = [secrets.choice(_ADVERBS) for _ in range(length - 2)]
        words += [secrets.choice(_ADJECTIVES)] if length > 1 else []
        words = [*filter(None, [inputs.get("prefix")]), *words, secrets.choice(_ANIMALS)]
        return inputs["separator"].join(words), {}


def _source(inputs: Properties) -> Random:
    # With a seed the value must be predictable.
    return Random(inputs["seed"]) if inputs.get("seed") else secrets.SystemRandom()  # noqa: S311
