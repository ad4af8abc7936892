"""What verify tries in a notebook of a choice.

A trial is a call of a function of `notebook_trials`, sent to the notebook's kernel, and a judgement of its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import verify_answers as answers
from .catalogue import Catalogue
from .choices import Choice
from .pod import SHARED_MEMORY, mounts_of
from .quantities import amount
from .sections import Section

SOURCE = Path(__file__).with_name("notebook_trials.py")
METADATA = [["169.254.169.254", 80], ["fd00:ec2::254", 80]]
"""Where clouds have their instances' credentials."""
_CELL_SECONDS, _LONG_SECONDS = 120, 600
# To fill more than this takes long.
_MOST_FILLED = 4 * 1024**3


@dataclass(frozen=True, kw_only=True)
class Trial:
    """`call` is an expression of Python for the notebook; `judge` gives words, or raises Untried or Wrong.

    `section` helps where the call itself fails. `may_end`: the notebook may end by it.
    """

    name: str
    call: str
    judge: Callable[[Any], str]
    section: Section
    seconds: float = _CELL_SECONDS
    may_end: bool = False

    def code(self) -> str:
        """What the kernel runs; it prints the answer as JSON."""
        return f"import json\nprint(json.dumps({self.call}))"

    def found(self, printed: str) -> str:
        """The judgement of what the kernel printed."""
        return self.judge(json.loads(printed.strip().splitlines()[-1]))


def trials(catalogue: Catalogue, choice: Choice) -> Iterator[Trial]:
    """The trials for a notebook of that choice."""
    yield from _of_storage(catalogue, choice)
    yield from _of_isolation()
    gpu = choice.profile.gpu
    if choice.profile.has_gpus:
        # Where a GPU is found for each start, it is one.
        yield from _of_gpus(gpu.resource if gpu else "", gpu.count if gpu else 1)
    else:
        yield Trial(
            name="PyTorch trains on the CPU",
            call="training('cpu') if 'missing' not in torch_gpus() else torch_gpus()",
            judge=answers.has_learned,
            section=Section.PROFILING,
            seconds=_LONG_SECONDS,
        )
    limit = int(amount(choice.profile.memory))
    yield Trial(
        name="the memory limit is the profile's",
        call="memory_limit()",
        judge=lambda found: answers.limit_is(found, limit),
        section=Section.MEMORY,
    )
    if limit <= _MOST_FILLED:
        yield Trial(
            name="the memory limit is felt",
            call=f"above_memory_limit({limit})",
            judge=answers.is_felt,
            section=Section.MEMORY,
            may_end=True,
        )


def others_trial(others: Sequence[tuple[str, int]]) -> Trial:
    """That of isolation from other teams, whose notebooks listen at these addresses and ports."""
    places = [list(one) for one in others]
    return _closed("other teams are out of its reach", f"reached({places!r})", "another team's notebook")


def _of_storage(catalogue: Catalogue, choice: Choice) -> Iterator[Trial]:
    home, profile = catalogue.homes.path, choice.profile
    yield _written("its home takes files", home)
    for mount in mounts_of(choice):
        path = mount["mountPath"]
        if path == home:
            continue
        if mount.get("readOnly"):
            yield Trial(
                name=f"{path} is read-only",
                call=f"folder({path!r})",
                judge=lambda found, path=path: answers.is_read_only(path, found),
                section=Section.STORAGE,
            )
        else:
            yield _written(f"{path} takes files", path)
    if profile.scratch:
        yield _written("scratch takes files", catalogue.hub.scratch)
    if profile.shared_memory:
        size = amount(profile.shared_memory)
        yield Trial(
            name="shared memory has the profile's size",
            call=f"folder({SHARED_MEMORY!r})",
            judge=lambda found: answers.has_size(found, size),
            section=Section.SHARED_MEMORY,
        )


def _of_isolation() -> Iterator[Trial]:
    yield Trial(
        name="its processes have no rights", call="identity()", judge=answers.is_ordinary, section=Section.ISOLATION
    )
    yield Trial(name="its clock is right", call="clock()", judge=answers.is_now, section=Section.CLOCK)
    yield Trial(name="it finds names", call=f"names({list(answers.NAMES)!r})", judge=answers.finds, section=Section.DNS)
    yield _closed("the instance metadata is out of its reach", f"reached({METADATA!r})", "the instance metadata")
    yield _closed(
        "the API server is out of its reach", "reached([api_server()] if api_server() else [])", "the API server"
    )


def _of_gpus(resource: str, count: int) -> Iterator[Trial]:
    def of_torch(name: str, call: str, judge: Callable[[Any], str], section: Section) -> Trial:
        # Without PyTorch, or a GPU in it, the trial before says why.
        guarded = f"{call} if torch_gpus().get('gpus') else {{'missing': 'PyTorch sees no GPU'}}"
        return Trial(name=name, call=guarded, judge=judge, section=section, seconds=_LONG_SECONDS)

    yield Trial(
        name="nvidia-smi shows its GPUs",
        call="driver()",
        judge=lambda found: answers.shows_gpus(found, resource, count),
        section=Section.NO_GPUS,
    )
    yield Trial(
        name="PyTorch sees its GPUs",
        call="{**torch_gpus(), 'driver': driver()}",
        judge=lambda found: answers.torch_sees(found, count),
        section=Section.CUDA,
        seconds=_LONG_SECONDS,
    )
    yield Trial(
        name="TensorFlow sees its GPUs",
        call="tensorflow_gpus()",
        judge=lambda found: answers.tensorflow_sees(found, count),
        section=Section.CUDA,
        seconds=_LONG_SECONDS,
    )
    yield of_torch("a multiplication is faster on the GPU", "multiplication()", answers.is_faster, Section.CONTENTION)
    yield of_torch("PyTorch trains on the GPU", "training('cuda')", answers.has_learned, Section.PROFILING)
    yield of_torch(
        "it trains in mixed precision", "training('cuda', mixed=True)", answers.has_learned, Section.PRECISION
    )
    yield of_torch("the GPU's memory is freed again", "gpu_memory()", answers.is_freed, Section.GPU_MEMORY)
    if count > 1:
        yield of_torch("its GPUs work together", f"together({count})", answers.sum_is_right, Section.SHARED_MEMORY)


def _written(name: str, path: str) -> Trial:
    section = Section.STORAGE
    return Trial(
        name=name, call=f"folder({path!r})", judge=lambda found: answers.takes_files(path, found), section=section
    )


def _closed(name: str, call: str, what: str) -> Trial:
    return Trial(name=name, call=call, judge=lambda found: answers.is_closed(found, what), section=Section.ISOLATION)
