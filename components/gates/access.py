"""How the dynamic providers reach the cluster: by the kubeconfig in the state, or by where one is on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

PATH, CONTEXT = "path", "context"


@contextlib.contextmanager
def api_client(access: dict[str, Any]) -> Iterator[ApiClient]:
    """A client for `access`: a kubeconfig, or the `path` of one (from the project's folder, or with ~) and a `context`.

    The path keeps what gives access to somebody's cluster out of the state. Raises what the Kubernetes client raises.
    """
    # Loading the client takes a second and 60 MB, so it is imported only for this call.
    from kubernetes import config  # noqa: PLC0415

    if PATH in access:
        file = str(Path(access[PATH]).expanduser())
        client = config.new_client_from_config(config_file=file, context=access[CONTEXT])
    else:
        client = config.new_client_from_config_dict(access)
    with client as opened:
        yield opened
