"""The URLs at which people find the platform."""

from __future__ import annotations

from dataclasses import dataclass

from settings.ingress import PLATFORM


@dataclass(frozen=True)
class PlatformUrls:
    """The addresses of sign-in and of the platform's tools. They do not end with a slash."""

    sign_in: str
    platform: str

    @classmethod
    def of(cls, domain: str | None) -> PlatformUrls:
        """The addresses under a domain; without a domain, those on this machine that `kubectl port-forward` serves."""
        if domain is None:
            return cls("http://localhost:8080", "http://localhost:8000")
        return cls(f"https://auth.{domain}", f"https://{PLATFORM}.{domain}")
