"""Runs the provider, as the engine does."""

from __future__ import annotations

from rehearsal.providers.serving import serve

from .provider import KubernetesProvider

if __name__ == "__main__":
    serve(KubernetesProvider())
