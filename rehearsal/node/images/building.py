"""Makes images with buildah in the machine root, as archives in the cache. No registry and no daemon is needed."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.tools import Tool, ToolMissing, placeholders
from rehearsal.node import root as machine_root
from rehearsal.node.cached import failure, kept, key, node_cache
from rehearsal.node.root import Bind
from rehearsal.progress import Display

from .downloads import FILES
from .recipes import SUITE, Recipe

# Programs run in the image by chroot: containers in namespaces of their own need rights that a machine may not give.
_BUILDAH = {"BUILDAH_ISOLATION": "chroot"}
# Change it when recipes become images in another way.
_FORM = "2"


def archive_of(recipe: Recipe) -> Path:
    """The archive of a recipe's image in the cache. Its name changes with everything that goes into the image."""
    return node_cache() / "images" / f"{recipe.name}-{_key(recipe)}.tar"


def name_of(recipe: Recipe) -> str:
    """The name of the image inside its archive."""
    return f"gpulab.dev/{recipe.name}:{_key(recipe)}"


def tools_of(recipe: Recipe) -> dict[str, Tool]:
    """The Go tools whose programs the recipe's image has, by name."""
    return {tool.name: tool for tool, _ in recipe.programs.values()}


def build(recipe: Recipe, toolchain: Toolchain, display: Display) -> Path:
    """The archive of the recipe's image, which is made if it is missing. Raises ToolMissing."""
    archive = archive_of(recipe)
    if archive.exists():
        return archive
    base = build(recipe.base, toolchain, display) if recipe.base else None
    root = machine_root.ensure(display)

    def make(making: Path) -> None:
        with _working_folder(archive) as work:
            _place_files(recipe, work / "context", toolchain)
            _compile(recipe, work, root)
            for download in recipe.downloads:
                download.into(work / "downloads")
            (work / "downloads" / "apt.conf").write_text(machine_root.proxies(), encoding="utf-8")
            if recipe.debian:
                machine_root.bootstrap(work / "debian.tar", recipe.debian, display, suite=SUITE)
            binds = [Bind(work, "/making", writable=True), Bind(work / "store", "/var/lib/containers", writable=True)]
            if base:
                binds.append(Bind(base, "/base.tar"))
            done = machine_root.run(root, ["sh", "-euc", _script(recipe)], binds=binds, env=_BUILDAH)
            if done.returncode:
                raise ToolMissing(failure(done, f"making the image {recipe.name}"))
            (work / "image.tar").rename(making)

    return kept(archive, make, display, f"the image {recipe.name}", seconds=recipe.seconds)


def _key(recipe: Recipe) -> str:
    plain = {name: value for name, value in vars(recipe).items() if name not in {"base", "programs", "seconds"}}
    return key(
        _FORM,
        SUITE,
        _key(recipe.base) if recipe.base else "",
        repr(sorted(plain.items())),
        *(download.version for download in recipe.downloads),
        *(f"{path} {tool.folder_name} {program}" for path, (tool, program) in recipe.programs.items()),
        *((FILES / file).read_bytes() for file in (*recipe.files.values(), *recipe.compiled.values())),
    )


@contextlib.contextmanager
def _working_folder(archive: Path) -> Iterator[Path]:
    """A folder for one build, which is removed after it. What an interrupted build left is removed before."""
    folder = archive.with_name(f".building-{archive.stem}")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("context", "downloads", "store"):
        (folder / name).mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _place_files(recipe: Recipe, context: Path, toolchain: Toolchain) -> None:
    """Copies files and programs to where the image has them."""
    placed: dict[Path, str] = {}
    for target, file in recipe.files.items():
        source = FILES / file
        # Programs begin with the line that says what runs them.
        _place(context, target, source, executable=source.read_bytes().startswith(b"#!"))
    for target, (tool, program) in recipe.programs.items():
        path = target.format(**placeholders(tool))
        source = toolchain.path(program)
        if source in placed:
            (context / path.lstrip("/")).symlink_to(placed[source])
        else:
            _place(context, path, source, executable=True)
            placed[source] = path


def _place(context: Path, target: str, source: Path, *, executable: bool) -> None:
    path = context / target.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    path.chmod(0o755 if executable else 0o644)


def _compile(recipe: Recipe, work: Path, root: Path) -> None:
    for target, source in recipe.compiled.items():
        command = ["gcc", "-Os", "-static", "-s", "-o", f"/context{target}", f"/files/{source}"]
        binds = [Bind(FILES, "/files"), Bind(work / "context", "/context", writable=True)]
        done = machine_root.run(root, command, binds=binds, network=False)
        if done.returncode:
            raise ToolMissing(failure(done, f"compiling {source}"))


def _script(recipe: Recipe) -> str:
    """The shell script with buildah's commands."""
    origin = "docker-archive:/base.tar" if recipe.base else "scratch"
    lines = [f"image=$(buildah from --quiet {origin})"]
    if recipe.debian:
        lines.append('buildah add --quiet "$image" /making/debian.tar /')
    lines.append('buildah copy --quiet "$image" /making/context/ /')
    if recipe.apt or recipe.run:
        mount = "--user=0:0 --volume=/making/downloads:/downloads:ro --env=APT_CONFIG=/downloads/apt.conf"
        lines.append(f'buildah run {mount} "$image" -- /bin/sh -euc {shlex.quote(_commands(recipe))}')
        # The folder was made for the mount.
        lines.append('buildah run --user=0:0 "$image" -- rmdir /downloads')
    lines += [
        f'buildah config {" ".join(_configuration(recipe))} "$image"',
        f'buildah commit --quiet --format=docker "$image" docker-archive:/making/image.tar:{name_of(recipe)}',
    ]
    return "\n".join(lines)


def _commands(recipe: Recipe) -> str:
    """What is run in the image, as root."""
    if not recipe.apt:
        return recipe.run
    return "\n".join(
        [
            "export DEBIAN_FRONTEND=noninteractive",
            # No manual page is unpacked, but Java's installation makes links to them.
            "mkdir -p /usr/share/man/man1",
            "apt-get update -qq",
            f"apt-get install --yes -qq {' '.join(recipe.apt)}",
            recipe.run,
            "rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*",
        ]
    )


def _configuration(recipe: Recipe) -> list[str]:
    options = [f"--env={name}={value}" for name, value in recipe.env.items()]
    if recipe.user:
        options.append(f"--user={recipe.user}")
    if recipe.folder:
        options.append(f"--workingdir={recipe.folder}")
    if recipe.entrypoint:
        options.append(f"--entrypoint={json.dumps(recipe.entrypoint)}")
    if recipe.command:
        options.append(f"--cmd={shlex.join(recipe.command)}")
    options.append(f"--label=dev.gpulab.made-of={recipe.made_of}")
    return [shlex.quote(option) for option in options]
