"""Runs the provider, as the engine does."""

from __future__ import annotations

import sys

from rehearsal.providers.serving import serve

if __name__ == "__main__":
    # Where jsonschema finds it, it builds a grammar of formats, which no chart's schema asks for: a second of each
    # start, and every command of the engine starts this provider twice.
    sys.modules["rfc3987_syntax"] = None  # pyright: ignore[reportArgumentType]

    from .provider import KubernetesProvider

    serve(KubernetesProvider())
