"""Pulls images from their registries. After the first failure of the network no further registry is tried."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from rehearsal.node import root as machine_root
from rehearsal.node.cached import kept, key, node_cache
from rehearsal.node.root import Bind
from rehearsal.progress import Display

_ANSWER_SECONDS = 5
_DOCKER_HUB = "registry-1.docker.io"
_DOCKER_HUB_NAMES = ("docker.io", "index.docker.io")
# The certificates that the host trusts, with those of its own authorities.
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class NotPulled(Exception):
    """An image can't be pulled. The message says why."""


class Registries:
    """The registries of images, as far as this machine reaches them."""

    def __init__(self) -> None:
        self._no_network: str | None = None

    def pull(self, reference: str, display: Display) -> Path:
        """The archive of an image, pulled once into the cache. Raises NotPulled, and ToolMissing without a root."""
        archive = node_cache() / "images" / f"pulled-{key(reference)}.tar"
        if archive.exists():
            return archive
        self._ask(reference.partition("/")[0])
        root = machine_root.ensure(display)

        def make(making: Path) -> None:
            script = (
                f"image=$(buildah pull --quiet docker://{reference})\n"
                f'buildah push --quiet "$image" docker-archive:/out/{making.name}:{reference.partition("@")[0]}'
            )
            binds = [Bind(making.parent, "/out", writable=True)]
            if _CERTIFICATES.exists():
                binds.append(Bind(_CERTIFICATES, str(_CERTIFICATES)))
            done = machine_root.run(root, ["sh", "-euc", script], binds=binds, env={"STORAGE_DRIVER": "vfs"})
            if done.returncode:
                raise NotPulled(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "buildah failed")

        return kept(archive, make, display, reference, seconds=60)

    def _ask(self, registry: str) -> None:
        """Raises NotPulled if the registry does not answer within seconds."""
        if self._no_network:
            raise NotPulled(self._no_network)
        host = _DOCKER_HUB if registry in _DOCKER_HUB_NAMES else registry
        try:
            with urllib.request.urlopen(f"https://{host}/v2/", timeout=_ANSWER_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            # Without a sign-in, a registry answers with 401.
            if error.code not in {401, 200}:
                self._no_network = f"{registry} answered with {error.code}"
        except (OSError, ValueError) as error:
            self._no_network = f"{registry} does not answer ({getattr(error, 'reason', error)})"
        if self._no_network:
            raise NotPulled(self._no_network)
