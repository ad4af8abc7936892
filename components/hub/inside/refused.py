"""The exception by which a notebook is refused."""

from __future__ import annotations

from tornado.web import HTTPError


class Refused(HTTPError):
    """A refusal: on the page of the form, on the page that waits, and in the answer to clients of the API."""

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(status, message)
        self.jupyterhub_message = message

    def __str__(self) -> str:
        return self.jupyterhub_message
