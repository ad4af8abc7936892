"""Answers requests that change a service one at a time, so that what a check found is still true at the change."""

from __future__ import annotations

import threading
from typing import Any

from moto.core.responses import BaseResponse


class OneChangeAtATime(BaseResponse):
    """A mixin that must precede moto's class among the bases of a service's responses.

    Each service has its own lock.
    """

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        cls._one_change = threading.RLock()

    def call_action(self) -> Any:
        """Answers the request. Reading needs no lock."""
        if self._get_action().startswith("Describe"):
            return super().call_action()
        with self._one_change:
            return super().call_action()
