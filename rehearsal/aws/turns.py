"""Requests to one service that change something, one at a time: what is looked at first is still so afterwards."""

from __future__ import annotations

import threading
from typing import Any

from moto.core.responses import BaseResponse


class OneChangeAtATime(BaseResponse):
    """Comes before moto's class among the bases of a service's responses; each such service has turns of its own."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        cls._turn = threading.RLock()

    def call_action(self) -> Any:
        """Answers the request. Reading needs no turn."""
        if self._get_action().startswith("Describe"):
            return super().call_action()
        with self._turn:
            return super().call_action()
