"""Runs the provider, as the engine does."""

from __future__ import annotations

from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.process import serve

if __name__ == "__main__":
    serve(KubernetesProvider())
