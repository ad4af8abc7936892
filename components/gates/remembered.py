"""What the dynamic providers share: a resource that makes nothing and keeps properties in the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pulumi.dynamic import CreateResult, DiffResult, ResourceProvider, UpdateResult


class RememberedProvider(ResourceProvider):
    """Keeps the properties `keys` in the state, up to date, under one ID. Subclasses add what else happens."""

    # The properties hold no secret: an EKS kubeconfig says only how to get a token.
    serialize_as_secret_always: ClassVar[bool] = False

    id: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Makes nothing; stores the properties."""
        return CreateResult(self.id, self._own(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Reports an update if a property changed."""
        return DiffResult(changes=self._own(_olds) != self._own(_news))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Stores the new properties."""
        return UpdateResult(self._own(_news))

    def _own(self, props: Mapping[str, Any]) -> dict[str, Any]:
        return {key: props.get(key) for key in self.keys}
