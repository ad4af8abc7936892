"""Java programs that tests run: Keycloak, and keycloak-config-cli, which applies its realm.

Each is downloaded once into the cache of `toolchain`, and its checksum is verified.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

import contracts

from .cache import cache_folder, locked
from .downloads import get, verify
from .tools import ToolMissing

KEYCLOAK = "26.7.3"
"""The newest version that Maven has, but not newer than the platform's image (contracts/images.json)."""

# The tag of the image has its release and the version of Keycloak that it was built for.
CONFIG_CLI, _, CONFIG_CLI_BUILT_FOR = contracts.image("keycloak-config-cli").rpartition(":")[2].partition("-")

# Maven uses its own settings, so a mirror works here too.
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_KEYCLOAK_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:tar.gz"
_KEYCLOAK_SHA256 = "77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47"
_CONFIG_CLI_URL = (
    f"https://github.com/adorsys/keycloak-config-cli/releases/download/v{CONFIG_CLI}"
    f"/keycloak-config-cli-{CONFIG_CLI_BUILT_FOR}.jar"
)

KEYCLOAK_JAVA = 17
CONFIG_CLI_JAVA = 21

OWN_CONFIG_CLI = "GPULAB_KEYCLOAK_CONFIG_CLI"
"""The environment variable with a jar of keycloak-config-cli to use instead of the release."""

# Fixed options at build time make each start seconds faster. The database ends with the process.
_BUILD_OPTIONS = ("--db=dev-mem", "--cache=local", "--health-enabled=true", "--metrics-enabled=true")


def java_version() -> int:
    """The major version of the `java` on PATH, or 0."""
    java = shutil.which("java")
    if not java:
        return 0
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', printed)
    return int(found[1]) if found else 0


def keycloak(console: Console) -> Path:
    """The folder of a Keycloak that is ready to start. Raises ToolMissing."""
    if java_version() < KEYCLOAK_JAVA:
        raise ToolMissing(f"Keycloak {KEYCLOAK} needs Java {KEYCLOAK_JAVA} or newer: put its `java` on PATH.")
    cache = cache_folder() / "toolchain"
    folder = cache / f"keycloak-{KEYCLOAK}"
    if not (folder / "bin" / "kc.sh").is_file():
        with locked(cache, folder.name, _waiting(console)):
            if not (folder / "bin" / "kc.sh").is_file():
                _install_keycloak(folder, console)
    return folder


def config_cli(console: Console) -> Path | None:
    """The jar of keycloak-config-cli; None if its release or the required Java is not available."""
    if own := os.environ.get(OWN_CONFIG_CLI):
        return Path(own)
    if java_version() < CONFIG_CLI_JAVA:
        return None
    cache = cache_folder() / "toolchain"
    jar = cache / f"keycloak-config-cli-{CONFIG_CLI}-{CONFIG_CLI_BUILT_FOR}.jar"
    if not jar.is_file():
        with locked(cache, jar.stem, _waiting(console)):
            try:
                content = get(_CONFIG_CLI_URL)
                published = get(f"{_CONFIG_CLI_URL}.sha256").decode()
            except OSError:
                return None
            verify(_CONFIG_CLI_URL, content, published)
            _put(jar, content)
    return jar


def _waiting(console: Console) -> Callable[[str], None]:
    """Prints once which process it waits for."""
    printed: set[str] = set()

    def print_once(holder: str) -> None:
        if not printed:
            console.print(f"[dim]toolchain:[/] waiting for {holder}, which is filling the cache", highlight=False)
        printed.add(holder)

    return print_once


def unpack_keycloak(folder: Path) -> Path:
    """Downloads Keycloak as it is released, and unpacks it below `folder`. Raises ToolMissing."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as downloading:
        content = _copied_by_maven(_KEYCLOAK_ARTIFACT, Path(downloading)).read_bytes()
    verify(_KEYCLOAK_ARTIFACT, content, _KEYCLOAK_SHA256)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
    return folder / f"keycloak-{KEYCLOAK}"


def _install_keycloak(folder: Path, console: Console) -> None:
    console.print(f"[dim]toolchain:[/] downloading keycloak {KEYCLOAK}")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as making:
        made = unpack_keycloak(Path(making))
        command = [str(made / "bin" / "kc.sh"), "build", *_BUILD_OPTIONS]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise ToolMissing(f"`kc.sh build` of Keycloak {KEYCLOAK} failed:\n{(built.stdout + built.stderr)[-2000:]}")
        made.rename(folder)


def _copied_by_maven(artifact: str, folder: Path) -> Path:
    """Downloads the file of `artifact` (group:name:version:type) into the empty `folder`. Raises ToolMissing."""
    maven = shutil.which("mvn")
    if not maven:
        raise ToolMissing(f"{artifact} is downloaded with Maven: put `mvn` on PATH.")
    options = [f"-Dartifact={artifact}", f"-DoutputDirectory={folder}", "-Dmdep.useBaseVersion=true"]
    command = [maven, "-q", "-B", _MAVEN_COPY, *options]
    # In another folder Maven might read a pom.xml.
    copied = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    files = list(folder.iterdir())
    if copied.returncode or len(files) != 1:
        raise ToolMissing(f"Maven cannot download {artifact}:\n{(copied.stdout + copied.stderr)[-2000:]}")
    return files[0]


def _put(path: Path, content: bytes) -> None:
    """Writes a file, completely or not at all."""
    making = path.with_suffix(".making")
    making.write_bytes(content)
    making.rename(path)
