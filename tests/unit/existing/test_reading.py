"""How a cluster is read, and what is said when it can't be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_server import ApiServer, serving, write_kubeconfig

from components.ground.existing.found import FoundCluster
from components.ground.existing.reading import ClusterError, read_cluster
from contracts import clusters
from settings.ground import ExistingGround


def ground(kubeconfig: str | Path, context: str = "k3s") -> ExistingGround:
    return ExistingGround.model_validate(
        {"kind": "existing", "kubeconfig": str(kubeconfig), "context": context, "distribution": "k3s"}
    )


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer(clusters.cluster("k3s"))) as served:
        yield served


@pytest.fixture
def file(tmp_path: Path, server: ApiServer) -> Path:
    return write_kubeconfig(tmp_path / "kubeconfig", {"k3s": server.url})


def refusal(kubeconfig: str | Path, context: str = "k3s", folder: Path = Path()) -> str:
    with pytest.raises(ClusterError) as error:
        read_cluster(ground(kubeconfig, context), folder)
    return str(error.value)


def test_what_is_read_is_what_the_cluster_has(server: ApiServer, file: Path):
    assert read_cluster(ground(file), Path()) == FoundCluster.of(server.objects, version=server.version)


def test_many_objects_come_in_pages(server: ApiServer, file: Path):
    server.page = 2
    assert read_cluster(ground(file), Path()) == FoundCluster.of(server.objects, version=server.version)


def test_reading_changes_nothing_and_asks_no_secret_for_its_content(server: ApiServer, file: Path):
    read_cluster(ground(file), Path())
    assert {method for method, *_ in server.asked} == {"GET"}
    secrets = [(query, accept) for _, resource, query, accept in server.asked if resource == "secrets"]
    assert secrets
    for query, accept in secrets:
        assert query["fieldSelector"] == ["type=helm.sh/release.v1"]
        assert accept.startswith("application/json;as=PartialObjectMetadataList")


def test_the_context_is_the_one_that_is_named_and_never_the_current_one(tmp_path: Path, server: ApiServer):
    with serving(ApiServer(clusters.cluster("talos"))) as current:
        servers = {"k3s": server.url, "talos": current.url}
        file = write_kubeconfig(tmp_path / "config", servers, current="talos")
        assert list(read_cluster(ground(file), Path()).evidence) == ["k3s"]
        assert not current.asked
        said = refusal(file, context="k3")
        assert not current.asked
    assert said.startswith(f"gpulab:ground.context: {file} has no context k3: it has k3s, talos. Write one of those")


def test_paths_from_the_projects_folder_and_from_home(
    tmp_path: Path, file: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir("/")
    assert read_cluster(ground(file.name), tmp_path).nodes
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_cluster(ground(f"~/{file.name}"), Path("/nowhere")).nodes
    assert refusal("~no-such-user/config").startswith("gpulab:ground.kubeconfig: ~no-such-user/config: ")


def test_a_file_that_is_missing(tmp_path: Path):
    said = refusal("none", folder=tmp_path)
    assert said == (
        f"gpulab:ground.kubeconfig: there is no file {tmp_path}/none: write the path of the cluster's kubeconfig (k3s "
        "has it on its server in /etc/rancher/k3s/k3s.yaml, for root)"
    )


@pytest.mark.parametrize("content", ["[1, 2]", "", "a: [", "contexts: {}", "\0", "clusters: []"])
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, content: str):
    (tmp_path / "config").write_text(content, encoding="utf-8")
    said = refusal(tmp_path / "config")
    assert said.startswith(f"gpulab:ground.kubeconfig: {tmp_path}/config is no kubeconfig")
    assert "write the path of the cluster's kubeconfig" in said


def test_a_file_that_cannot_be_read(tmp_path: Path):
    said = refusal(tmp_path)
    assert said.startswith(f"gpulab:ground.kubeconfig: {tmp_path} can't be read (Is a directory): copy it")


def test_a_file_without_contexts(tmp_path: Path):
    file = write_kubeconfig(tmp_path / "config", {})
    assert "has no context k3s: it has none" in refusal(file)


def test_a_context_whose_user_is_missing(file: Path):
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["users"] = []
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert "the context k3s names the user ada, which is missing there" in refusal(file)


def test_a_context_whose_values_are_wrong(file: Path):
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["users"][0]["user"] = {"client-certificate": "/nowhere/ada.crt", "client-key": "/nowhere/ada.key"}
    content["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:1", "certificate-authority": "/nowhere/ca.crt"}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    said = refusal(file)
    assert said.startswith(f"gpulab:ground.context: the context k3s of {file} can't be used: ")
    assert "/nowhere/" in said


def test_a_server_that_does_not_answer(tmp_path: Path, server: ApiServer):
    with serving(ApiServer([])) as gone:
        url = gone.url
    said = refusal(write_kubeconfig(tmp_path / "config", {"k3s": url}))
    assert said.startswith(
        f"gpulab:ground.context: the API server of the context k3s, {url}, can't be used from here: "
    )
    assert "Connection refused" in said
    assert "127.0.0.1 is right only on the cluster's own machine" in said


def test_a_server_that_does_not_speak_tls(tmp_path: Path, server: ApiServer):
    url = server.url.replace("http:", "https:")
    said = refusal(write_kubeconfig(tmp_path / "config", {"k3s": url}))
    assert f"the API server of the context k3s, {url}, can't be used from here: " in said
    assert "SSL" in said


def test_a_server_that_is_none_of_kubernetes(server: ApiServer, file: Path):
    server.answer = b"<html>"
    assert "it answers, and not as a Kubernetes API server does" in refusal(file)


def test_a_server_that_fails(server: ApiServer, file: Path):
    server.statuses["nodes"] = 503
    assert "can't be used from here: it answered 503" in refusal(file)


def test_credentials_that_are_not_accepted(server: ApiServer, file: Path):
    server.statuses["*"] = 401
    said = refusal(file)
    assert said.startswith(
        f"gpulab:ground.context: {server.url} does not accept the credentials of the context k3s (401)"
    )
    assert "sign in again" in said


def test_every_right_that_is_missing_is_named_at_once(server: ApiServer, file: Path):
    server.statuses |= {"nodes": 403, "secrets": 403}
    said = refusal(file)
    assert "the user of the context k3s may not list nodes, secrets: " in said
    assert f"`kubectl --kubeconfig {file} --context k3s auth can-i list nodes --all-namespaces`" in said


def test_the_kubernetes_client_is_loaded_only_to_read_a_cluster():
    program = "import sys, components.ground.existing.reading as reading; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
