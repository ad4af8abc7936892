"""Runs the provider, as the engine does."""

from __future__ import annotations

from rehearsal.providers.protocol.process import serve

from .provider import RandomProvider

if __name__ == "__main__":
    serve(RandomProvider())
