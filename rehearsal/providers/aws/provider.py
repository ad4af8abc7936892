"""The aws provider: finds its resource types and functions."""

from __future__ import annotations

import importlib
import pkgutil

from rehearsal.providers.aws import __path__, base, contract, functions
from rehearsal.providers.aws.configuration import ConfiguredProvider
from rehearsal.providers.protocol.model import Properties, Refused, ResourceType


class AwsProvider(ConfiguredProvider):
    """Stands in for pulumi-resource-aws. `AWS_ENDPOINT_URL` is the address of AWS."""

    name = "aws"
    version = contract.VERSION

    def __init__(self) -> None:
        super().__init__()
        for module in pkgutil.iter_modules(__path__):
            if module.name not in ("__main__", "distill"):
                importlib.import_module(f"{__package__}.{module.name}")

    def resource_type(self, token: str) -> ResourceType:
        """The resource type of `token`. Raises Refused if there is none, and says where to add it."""
        if token in base.TYPES:
            return base.TYPES[token]
        contract.shape(token)
        raise Refused(
            f"the rehearsal's aws provider does not support {token}: add a class to a module of rehearsal/providers/aws"
        )

    def invoke(self, token: str, args: Properties) -> Properties:
        """The result of the function `token`."""
        return functions.call(self, token, args)
