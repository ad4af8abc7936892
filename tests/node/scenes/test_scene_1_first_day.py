"""Scene 1: a data scientist's first day, from the first password to a notebook that is there again the next day."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from . import confinement
from .keycloak import PASSWORD
from .notebook import KernelDied, Notebook
from .pages import Seen
from .site import Site
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.seconds(360)]

CARD = "NVIDIA GeForce RTX 4090"
# More than a profile has.
TOO_MUCH = "held = bytearray(3 * 2**30)\nfor page in range(0, len(held), 4096): held[page] = 1\nprint(len(held))"


def test_a_first_password_leads_to_a_cell_that_sees_the_card(site: Site, seen: Callable[[], Seen]) -> None:
    grace = seen()
    grace.open_hub()
    grace.sign_in("grace", site.keycloak.first_passwords["grace"])
    grace.set_password(PASSWORD)

    grace.open_form()
    assert grace.profiles == {"Python", "PyTorch, a share of the GPU", "Brief", "Mistyped image", "Light"}
    grace.start("PyTorch, a share of the GPU")
    grace.wait_for_event("PyTorch, a share of the GPU for team vision: 0.25 vCPU, 1 GiB of memory")
    grace.pictures.take(grace.tab, "starting")
    lab = grace.in_lab()
    lab.pictures.take(lab.tab, "lab")

    lab.new_notebook()
    assert lab.run_cell("6 * 7") == "42"
    assert CARD in lab.run_cell("!nvidia-smi -L")
    lab.pictures.take(lab.tab, "cell")
    assert not lab.questions


def test_a_developer_sees_the_profiles_of_the_role(visitor: Callable[..., Visitor]) -> None:
    offered = visitor("/research/developer").open("/hub/spawn").profiles
    assert offered == {"research_python", "research_brief", "research_mistyped", "research_light"}


def test_a_notebook_is_confined_to_itself_and_its_memory(site: Site, visitor: Callable[..., Visitor]) -> None:
    visitor("/research/developer").started("research_python")
    with confinement.published(site):
        notebook = visitor("/vision/developer").started("vision_python")
        confinement.is_confined(confinement.reached(site, notebook))
    confinement.has_no_privileges(notebook)
    confinement.has_shared_memory(notebook)

    # The memory limit ends a cell; the server, the node and other people's notebooks stay.
    kernel = notebook.kernel()
    with pytest.raises(KernelDied):
        kernel.run(TOO_MUCH)
    until(lambda: notebook.run("print('again')") == "again\n", "the notebook computes again")
    node = site.kubernetes.request("GET", "/api/v1/nodes/node-1")
    assert {one["type"]: one["status"] for one in node["status"]["conditions"]}["Ready"] == "True"
    assert len(site.notebooks("research")) == 1


def test_files_packages_and_environments_are_there_after_a_stop(visitor: Callable[..., Visitor]) -> None:
    person = visitor("/vision/developer")
    notebook = person.started("vision_python")
    notebook.write("results.csv", b"epoch,loss\n1,0.5\n")
    notebook.write("greeter-1.0-py3-none-any.whl", wheel("greeter", "def greet(): return 'hello'\n"))
    installed = notebook.shell("pip install --no-index ~/greeter-1.0-py3-none-any.whl")
    assert "Successfully installed greeter-1.0" in installed
    made = notebook.shell("python3 -m venv ~/env && ~/env/bin/pip --version")
    assert "/home/jovyan/env" in made, made
    person.stop()

    again = person.started("vision_python")
    assert again.read("results.csv") == b"epoch,loss\n1,0.5\n"
    assert again.run("import greeter; print(greeter.greet())") == "hello\n"
    assert again.shell("~/env/bin/python -c 'import sys; print(sys.prefix)'") == "/home/jovyan/env"
    assert is_home_writable(again)


def is_home_writable(notebook: Notebook) -> bool:
    return notebook.shell("touch ~/written && echo yes") == "yes"


def wheel(name: str, source: str) -> bytes:
    """A package as pip installs it, so that no index is needed (PyPA, "Binary distribution format")."""
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": source,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: scenes\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return written.getvalue()
