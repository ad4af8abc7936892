"""The provider: finds the random value for a token."""

from __future__ import annotations

from typing import ClassVar

from rehearsal.providers.protocol.model import Properties, Provider, Refused, ResourceType

from .strings import RandomPassword, RandomString
from .values import RandomBytes, RandomId, RandomInteger, RandomPet, RandomShuffle, RandomUuid

_TYPES: dict[str, ResourceType] = {
    kind.token: kind
    for kind in (
        RandomBytes(),
        RandomId(),
        RandomInteger(),
        RandomPassword(),
        RandomPet(),
        RandomShuffle(),
        RandomString(),
        RandomUuid(),
    )
}


class RandomProvider(Provider):
    """Stands in for pulumi-resource-random."""

    name: ClassVar[str] = "random"
    version: ClassVar[str] = "4.21.4"

    def check_config(self, config: Properties) -> None:
        """Refuses every key: the provider has no configuration."""
        Refused.all([Refused("unknown configuration", key) for key in config])

    def resource_type(self, token: str) -> ResourceType:
        """The random value of a type. Raises Refused."""
        try:
            return _TYPES[token]
        except KeyError:
            raise Refused(f"the rehearsal's random provider does not support {token}") from None
