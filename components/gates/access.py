"""How the dynamic providers reach the cluster: by the kubeconfig in the state, or by where one is on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

PATH, CONTEXT = "path", "context"


class AccessError(Exception):
    """The kubeconfig file on this machine does not lead to the cluster, now or later. The message says what to do."""


@contextlib.contextmanager
def api_client(access: dict[str, Any]) -> Iterator[ApiClient]:
    """A client for `access`: a kubeconfig, or the `path` of one (from the project's folder, or with ~) and a `context`.

    The path keeps what gives access to somebody's cluster out of the state. Raises AccessError for a file or a context
    that is not there, and what the Kubernetes client raises.
    """
    # Loading the client takes a second and 60 MB, so it is imported only for this call.
    from kubernetes import config  # noqa: PLC0415

    if PATH in access:
        file = Path(access[PATH]).expanduser()
        try:
            client = config.new_client_from_config(config_file=str(file), context=access[CONTEXT])
        except config.ConfigException as error:
            raise AccessError(_misled(access[PATH], access[CONTEXT], _contexts(file), error)) from None
    else:
        client = config.new_client_from_config_dict(access)
    with client as opened:
        yield opened


def problem(error: Exception) -> str:
    """What keeps a gate from the cluster: its kubeconfig, or an API server that does not answer."""
    if isinstance(error, AccessError):
        return str(error)
    return f"the API server does not answer ({type(error).__name__}: {error})"


def _misled(path: str, context: str, contexts: list[str], error: Exception) -> str:
    if context in contexts or not contexts:
        return (
            f"the kubeconfig {path}, by which the state knows the cluster, can't be used ({error}): put it back there"
        )
    return (
        f"{path} has no context {context}, by which the state knows the cluster: it has {', '.join(contexts)}. If it "
        f"has another name now, rename it back (`kubectl config rename-context NEW {context}`), or write the new name "
        "as gpulab:ground.context and run `pulumi up` first"
    )


def _contexts(file: Path) -> list[str]:
    """The names of a kubeconfig's contexts; empty for a file that is none."""
    try:
        return sorted(one["name"] for one in yaml.safe_load(file.read_text(encoding="utf-8"))["contexts"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return []
