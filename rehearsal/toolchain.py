"""The programs a rehearsal runs: found on PATH, else downloaded as official releases, else built with Go from `tools/`.

Each lies in a cache outside the checkout, by name, version and platform, so that a second rehearsal (of any checkout)
finds it. `tools/NAME/go.mod` holds the version: the pin of the build is the pin of the download and the lowest version
that is taken from PATH.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

TOOLS = Path(__file__).resolve().parent.parent / "tools"

_DOWNLOAD_TIMEOUT_SECONDS = 10
_STILL_BUILDING_SECONDS = 30
_BUILD_LOG_LINES = 12


class ToolMissing(RuntimeError):
    """A program can't be had; the message says which ways were tried and what to do."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """An official release. `url` and `checksums` may use {version}, {number} (without the v), {os}, {arch}, {cpu}.

    `checksums` is the text published with it, in the form of sha256sum, or the bare digest. `archive` says whether the
    release is a tar archive that holds every program, or one file for each {program}. `version_of` names the tool whose
    pin counts, where it isn't the tool itself.
    """

    url: str
    checksums: str
    archive: bool = True
    version_of: Tool | None = None


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A set of programs that are released together.

    `packages` maps each program to the Go package it is built from, `companions` a program to the package whose source
    folder holds it as a script. `version_flags` are linker flags, with {version} and so on as for `Download`, without
    which the program would not know its version. `version_command` prints it; a tool that has none comes with another
    and is taken from PATH as it is. `build_seconds` is what the build took on 2 cores with empty caches.
    """

    name: str
    module: str
    packages: Mapping[str, str]
    companions: Mapping[str, str] = field(default_factory=dict)
    version_flags: str = ""
    version_command: tuple[str, ...] = ("--version",)
    download: Download | None = None
    build_seconds: int

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of all programs of this tool."""
        return (*self.packages, *self.companions)

    @property
    def version(self) -> str:
        """The pinned version, such as v1.34.2, from the tool's go.mod."""
        text = (TOOLS / self.name / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^require {re.escape(self.module)} (v\S+)$", text, re.MULTILINE)
        if not found:
            raise ToolMissing(f"tools/{self.name}/go.mod has no line `require {self.module} VERSION`")
        return found[1]


ENGINE = Tool(
    name="engine",
    module="github.com/pulumi/pulumi/pkg/v3",
    packages={"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
    version_flags="-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",
    version_command=("version",),
    download=Download(
        url="https://get.pulumi.com/releases/sdk/pulumi-{version}-{os}-{cpu}.tar.gz",
        checksums="https://github.com/pulumi/pulumi/releases/download/{version}/pulumi-{number}-checksums.txt",
    ),
    build_seconds=190,
)
# The last module versions that carry the Python host. A released engine brings a newer one, in the same archive.
LANGUAGE_HOST = Tool(
    name="language-python",
    module="github.com/pulumi/pulumi/sdk/v3",
    packages={"pulumi-language-python": "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"},
    companions={"pulumi-language-python-exec": "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"},
    version_flags="-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",
    version_command=(),
    download=replace(ENGINE.download, version_of=ENGINE) if ENGINE.download else None,
    build_seconds=15,
)
ETCD = Tool(
    name="etcd",
    module="go.etcd.io/etcd/server/v3",
    packages={"etcd": "go.etcd.io/etcd/server/v3"},
    download=Download(
        url="https://github.com/etcd-io/etcd/releases/download/{version}/etcd-{version}-{os}-{arch}.tar.gz",
        checksums="https://github.com/etcd-io/etcd/releases/download/{version}/SHA256SUMS",
    ),
    build_seconds=16,
)
KUBERNETES = Tool(
    name="kubernetes",
    module="k8s.io/kubernetes",
    packages={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    },
    # Without them the servers call themselves v0.0.0, and clients refuse to talk to them.
    version_flags=" ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in (("gitVersion", "{version}"), ("gitMajor", "{major}"), ("gitMinor", "{minor}"))
    ),
    download=Download(
        url="https://dl.k8s.io/release/{version}/bin/{os}/{arch}/{program}",
        checksums="https://dl.k8s.io/release/{version}/bin/{os}/{arch}/{program}.sha256",
        archive=False,
    ),
    build_seconds=231,
)
# Its releases come without checksums, so it is built, from modules whose checksums are in go.sum.
KWOK = Tool(name="kwok", module="sigs.k8s.io/kwok", packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, build_seconds=65)
HELM = Tool(
    name="helm",
    module="helm.sh/helm/v3",
    packages={"helm": "helm.sh/helm/v3/cmd/helm"},
    version_flags="-X helm.sh/helm/v3/internal/version.version={version}",
    version_command=("version", "--short"),
    download=Download(
        url="https://get.helm.sh/helm-{version}-{os}-{arch}.tar.gz",
        checksums="https://get.helm.sh/helm-{version}-{os}-{arch}.tar.gz.sha256sum",
    ),
    build_seconds=53,
)
# The controllers of every Karpenter, with KWOK's cloud in the place of AWS's. It is published as a module alone, and a
# `karpenter` on PATH is of another cloud: as none answers to --version, none is taken.
KARPENTER = Tool(
    name="karpenter",
    module="sigs.k8s.io/karpenter",
    packages={"karpenter": "sigs.k8s.io/karpenter/kwok"},
    build_seconds=109,
)

# What `make lint` reads the workflows with: no rehearsal needs it.
ACTIONLINT = Tool(
    name="actionlint",
    module="github.com/rhysd/actionlint",
    packages={"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
    version_flags="-X github.com/rhysd/actionlint.version={number}",
    version_command=("-version",),
    download=Download(
        url="https://github.com/rhysd/actionlint/releases/download/{version}/actionlint_{number}_{os}_{arch}.tar.gz",
        checksums="https://github.com/rhysd/actionlint/releases/download/{version}/actionlint_{number}_checksums.txt",
    ),
    build_seconds=6,
)

ALL_TOOLS = (ENGINE, LANGUAGE_HOST, ETCD, KUBERNETES, KWOK, HELM, KARPENTER)


@dataclass(frozen=True)
class Toolchain:
    """Where each program is, and how it came there (`PATH`, `downloaded` or `built`)."""

    paths: Mapping[str, Path]
    origins: Mapping[str, str]

    def path(self, program: str) -> Path:
        """The file of `program`."""
        return self.paths[program]


def cache_folder() -> Path:
    """Where tools are kept between rehearsals: $GPULAB_CACHE, else gpulab in the user's cache folder."""
    if chosen := os.environ.get("GPULAB_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "gpulab"


def ensure(console: Console, tools: Iterable[Tool] | None = None) -> Toolchain:
    """Finds, downloads or builds tools, the rehearsal's by default; its progress on `console`. Raises ToolMissing."""
    paths: dict[str, Path] = {}
    origins: dict[str, str] = {}
    cache = cache_folder() / "toolchain"
    getter = _Getter(console)
    for tool in ALL_TOOLS if tools is None else tools:
        found, origin = _on_path(tool), "PATH"
        if not found:
            folder = cache / f"{tool.name}-{tool.version}-{_system()}-{_machine()}"
            if not _is_whole(tool, folder):
                with locked(cache, console):
                    if not _is_whole(tool, folder):
                        shutil.rmtree(folder, ignore_errors=True)  # somebody took files out of it
                        getter.fill(tool, folder)
            origin = (folder / "origin").read_text(encoding="utf-8")
            found = {program: folder / program for program in tool.programs}
        paths |= found
        origins |= dict.fromkeys(found, origin)
    return Toolchain(paths, origins)


def _is_whole(tool: Tool, folder: Path) -> bool:
    return all((folder / name).is_file() for name in (*tool.programs, "origin"))


def _on_path(tool: Tool) -> dict[str, Path]:
    """The tool's programs on PATH, when all are there and the version fits; else nothing."""
    found = {program: shutil.which(program) for program in tool.programs}
    if not all(found.values()):
        return {}
    for program in tool.packages if tool.version_command else ():
        try:
            command = [str(found[program]), *tool.version_command]
            printed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return {}
        if not fits(printed, tool.version):
            return {}
    return {program: Path(path) for program, path in found.items() if path}


def fits(printed: str, pinned: str) -> bool:
    """Whether the version in what a program `printed` may stand for `pinned`: the same major, and not older."""
    versions = [re.search(r"(\d+)\.(\d+)\.(\d+)", text) for text in (printed, pinned)]
    if not all(versions):
        return False
    theirs, ours = ([int(part) for part in version.groups()] for version in versions if version)
    return theirs[0] == ours[0] and theirs >= ours


class _Getter:
    """Downloads or builds tools. After the first download that finds no network, it tries no other."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._no_network: str | None = None

    def fill(self, tool: Tool, folder: Path) -> None:
        """Makes `folder` with the tool's programs, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as making:
            staged = Path(making) / "tool"
            staged.mkdir()
            why_not = self._download(tool, staged)
            if why_not:
                self._build(tool, staged, why_not)
            (staged / "origin").write_text("built" if why_not else "downloaded", encoding="utf-8")
            staged.rename(folder)

    def _download(self, tool: Tool, staged: Path) -> str | None:
        """Puts the official release into `staged`; else the reason why it can't be had.

        Raises ToolMissing when what came is not what was published.
        """
        if tool.download is None:
            return "it has no release that could be checked"
        if self._no_network:
            return self._no_network
        self.console.print(f"[dim]toolchain:[/] downloading {tool.name} {tool.version}")
        names = _names(tool.download.version_of or tool)
        try:
            for program in [None] if tool.download.archive else tool.programs:
                url = tool.download.url.format(**names, program=program)
                content = get(url)
                published = get(tool.download.checksums.format(**names, program=program)).decode()
                verify(url, content, published)
                if program:
                    _install(staged / program, content)
                else:
                    _unpack(content, tool.programs, staged)
        except (urllib.error.HTTPError, http.client.HTTPException, tarfile.TarError, KeyError) as error:
            return f"its download failed ({error})"
        except OSError as error:
            reason = getattr(error, "reason", error)
            self._no_network = f"its download failed ({reason})"
            return self._no_network
        return None

    def _build(self, tool: Tool, staged: Path, why_not: str) -> None:
        go = shutil.which("go")
        if not go:
            raise ToolMissing(
                f"{', '.join(tool.programs)} {tool.version}: not on PATH, {why_not}, and not to be built, because"
                f" there is no `go` on PATH. Install Go (https://go.dev/dl; the version in tools/{tool.name}/go.mod or"
                " newer), or put the program on PATH; then run `make setup`."
            )
        flags = f"-s -w {tool.version_flags.format(**_names(tool))}"
        module_folder = TOOLS / tool.name
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        for number, (program, package) in enumerate(tool.packages.items(), 1):
            title = f"building {program} {tool.version} from Go modules ({number} of {len(tool.packages)};"
            title += f" {tool.name} takes about {tool.build_seconds} s on 2 cores)"
            command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(staged / program), package]
            self._run(command, module_folder, environment, title)
        for script, package in tool.companions.items():
            command = [go, "list", "-f", "{{.Dir}}", package]
            listed = subprocess.run(
                command, cwd=module_folder, env=environment, capture_output=True, text=True, check=False
            )
            if listed.returncode:
                raise ToolMissing(f"`go list {package}` in tools/{tool.name} failed: {listed.stderr.strip()}")
            source = Path(listed.stdout.strip()).parent / script
            _install(staged / script, source.read_bytes())

    def _run(self, command: list[str], folder: Path, environment: Mapping[str, str], title: str) -> None:
        """Runs a build with a sign of life; raises ToolMissing with the end of its output when it fails."""
        started = time.monotonic()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log, self.console.status(title):
            if not self.console.is_terminal:
                self.console.print(f"toolchain: {title}")
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            try:
                while True:
                    try:
                        code = process.wait(_STILL_BUILDING_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        if not self.console.is_terminal:
                            self.console.print(f"toolchain: … {time.monotonic() - started:.0f} s")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if code:
                log.seek(0)
                tail = log.read().strip().splitlines()[-_BUILD_LOG_LINES:]
                raise ToolMissing(
                    "\n".join(
                        [
                            f"`{' '.join(command[:2])} … {command[-1]}` in tools/{folder.name} failed:",
                            *tail,
                            "Modules come from where `go env GOPROXY` points; when that is out of reach, put the"
                            " program itself on PATH; then run `make setup`.",
                        ]
                    )
                )
        self.console.print(f"[dim]toolchain:[/] {Path(command[-2]).name} built in {time.monotonic() - started:.0f} s")


def _names(tool: Tool) -> dict[str, str]:
    """What a URL or a linker flag may name. {cpu} is Pulumi's word for {arch}."""
    number = tool.version.removeprefix("v")
    major, minor, _ = number.split(".", 2)
    machine = _machine()
    return {
        "version": tool.version,
        "number": number,
        "major": major,
        "minor": minor,
        "os": _system(),
        "arch": machine,
        "cpu": {"amd64": "x64"}.get(machine, machine),
    }


def _system() -> str:
    return platform.system().lower()


def _machine() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def get(url: str) -> bytes:
    """What is at `url`. Raises OSError."""
    with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT_SECONDS) as answer:
        return answer.read()


def verify(url: str, content: bytes, published: str) -> None:
    """Compares a download with the checksum that was published for it. Raises ToolMissing."""
    file_name = url.rpartition("/")[2]
    lines = [line.split() for line in published.splitlines() if line.strip()]
    expected = [words[0] for words in lines if len(words) == 1 or words[-1].lstrip("*") == file_name]
    actual = hashlib.sha256(content).hexdigest()
    if actual not in expected:
        raise ToolMissing(
            f"{url} is not what its publisher signed for: its SHA-256 is {actual}, published is"
            f" {', '.join(expected) or 'nothing'}. Nothing was installed; try again, or put the program on PATH."
        )


def _unpack(archive: bytes, programs: tuple[str, ...], staged: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}
        for program in programs:
            content = tar.extractfile(members[program])
            if content is not None:
                _install(staged / program, content.read())


def _install(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


@contextlib.contextmanager
def locked(cache: Path, console: Console) -> Iterator[None]:
    """One rehearsal at a time fills the cache; the others wait and then find it filled."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("toolchain: another rehearsal is filling the cache; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """`make setup`: has every tool ready and says where each came from."""
    console = Console(stderr=True)
    try:
        toolchain = ensure(console, (*ALL_TOOLS, ACTIONLINT))
    except (ToolMissing, OSError) as error:
        console.print(f"[red]toolchain:[/] {escape(str(error))}", highlight=False)
        return 1
    for program, origin in toolchain.origins.items():
        console.print(f"[dim]toolchain:[/] {program} ({origin})", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
