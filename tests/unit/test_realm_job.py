"""The Job that applies the realm: it has each secret as a file, and a change makes a new Job."""

from __future__ import annotations

import json
from typing import Any

import yaml
from engine_mocks import EngineMocks
from identity_lab import (
    CONFIG_MAP,
    JOB,
    PASSWORD,
    PLACEHOLDER,
    RELEASE,
    WITH_SECRETS,
    args,
    deploy,
    identity,
    job_of,
    secret_names,
    secret_of,
)

from components.identity.identity import (
    FIRST_PASSWORDS,
    IdentityArgs,
)
from components.identity.realm.apply_accounts import NO_ACCOUNT
from components.identity.realm.job import DEADLINE, fingerprint, import_environment
from components.identity.realm.people import initial_password


def test_the_job_has_a_value_for_every_placeholder_of_its_realm(mocks):
    deploy(mocks, args(identity(**WITH_SECRETS)))
    _, pod = job_of(mocks)
    (importing,), (container,) = pod["initContainers"], pod["containers"]
    variables = {one["name"]: one for one in importing["env"]}
    files = files_of(mocks, pod)
    document = files[variables["IMPORT_FILES_LOCATIONS"]["value"].removeprefix("file:")]
    keycloaks = {one["name"]: one for one in yaml.safe_load(mocks.one(RELEASE).inputs["values"]["extraEnv"])}
    bootstrap = keycloaks["KC_BOOTSTRAP_ADMIN_PASSWORD"]["valueFrom"]["secretKeyRef"]
    own = variables["SPRING_CONFIG_IMPORT"]["value"].removeprefix("configtree:")
    password = f"{own}keycloak.password"
    assert files.pop(password) == (bootstrap["name"], bootstrap["key"])
    secrets = {path: source for path, source in files.items() if isinstance(source, tuple)}
    accounts = {one["name"]: one["value"] for one in container["env"]}
    passwords = {accounts["FOLDER"] + "/" + initial_password("ada@example.com")}
    assert secrets.keys() == set(PLACEHOLDER.findall(document)) | passwords
    assert accounts["PASSWORD_FILE"] == password
    assert accounts["KEYCLOAK_URL"] == variables["KEYCLOAK_URL"]["value"]
    given = [path for ending in (".py", "/accounts.json") for path in files if path.endswith(ending)]
    assert container["command"] == ["python3", *given]
    assert ("directory", "bind") in secrets.values()
    assert variables["KEYCLOAK_USER"]["value"] == keycloaks["KC_BOOTSTRAP_ADMIN_USERNAME"]["value"]


def files_of(mocks: EngineMocks, pod: dict[str, Any]) -> dict[str, Any]:
    """What the container of a pod has as files, by path: a text, or the Secret and its key."""
    (container,) = pod["containers"]
    folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    found: dict[str, Any] = {}
    for volume in pod["volumes"]:
        folder = folders[volume["name"]]
        if "configMap" in volume:
            (held,) = [
                one for one in mocks.all(CONFIG_MAP) if one.inputs["metadata"]["name"] == volume["configMap"]["name"]
            ]
            found |= {f"{folder}/{name}": text for name, text in held.inputs["data"].items()}
        for source in volume.get("projected", {}).get("sources", []):
            secret = source["secret"]
            listed = secret.get("items") or [{"key": key, "path": key} for key in secret_of(mocks, secret["name"])]
            found |= {f"{folder}/{one['path']}": (secret["name"], one["key"]) for one in listed}
    return found


def test_the_job_has_no_secret_in_its_environment_and_writes_nothing_but_temporary_files(mocks):
    deploy(mocks, args(identity(**WITH_SECRETS)))
    _, pod = job_of(mocks)
    for container in (*pod["initContainers"], *pod["containers"]):
        assert "envFrom" not in container
        assert all("valueFrom" not in variable for variable in container["env"])
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount["readOnly"]] == ["/tmp"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    modes = {volume["projected"]["defaultMode"] for volume in pod["volumes"] if "projected" in volume}
    assert modes == {0o440}
    assert pod["securityContext"]["fsGroup"] == pod["initContainers"][0]["securityContext"]["runAsUser"]


def test_no_secret_is_in_the_realm_the_values_or_the_job(mocks):
    deploy(mocks, args(identity(**WITH_SECRETS)))
    secrets = [one.outputs["result"] for one in mocks.all(PASSWORD)] + ["kept in Secrets Manager"]
    assert len(secrets) > 3
    for resource in (*mocks.all(CONFIG_MAP), *mocks.all(RELEASE), *mocks.all(JOB)):
        for secret in secrets:
            assert secret not in json.dumps(resource.inputs)


def test_the_job_stays_when_it_is_done_and_has_an_end(mocks):
    deploy(mocks)
    job, _ = job_of(mocks)
    assert "ttlSecondsAfterFinished" not in job.inputs["spec"]
    assert job.inputs["spec"]["activeDeadlineSeconds"] == DEADLINE
    assert job.custom_timeouts["create"] == f"{DEADLINE}s"
    # And when it failed, the next `up` makes a new one.
    assert job.inputs["metadata"]["annotations"] == {"pulumi.com/replaceUnready": "true"}


def test_who_is_not_there_is_not_looked_for_ten_times(mocks):
    deploy(mocks, args(identity(administrators=["grace"])))
    spec = mocks.one(JOB).inputs["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["containerName"] in [one["name"] for one in spec["template"]["spec"]["containers"]]
    assert rule["onExitCodes"]["values"] == [NO_ACCOUNT]
    assert not secret_names(mocks) & {FIRST_PASSWORDS}, "nobody has a first password"


def job_name(given: IdentityArgs, clients: str = "generated") -> str:
    """The Job's name with other client secrets and everything else unchanged."""
    mocks = EngineMocks()
    mocks.outputs[PASSWORD] = lambda resource: {
        "result": f"{clients if '-client-' in resource.name else 'generated'} {resource.name}"
    }
    deploy(mocks, given)
    return mocks.one(JOB).inputs["metadata"]["name"]


def test_a_job_has_a_new_name_for_a_new_realm_or_a_new_secret_and_for_nothing_else():
    name = job_name(args())
    assert job_name(args()) == name
    assert job_name(args(teams=["vision"])) != name
    assert job_name(args(identity(totp="required"))) != name
    assert job_name(args(), clients="other") != name
    assert job_name(args(production=True)) == name


def test_a_jobs_name_says_nothing_of_a_secret_to_who_lacks_the_key():
    names = {fingerprint(key, ["image"], ["realm"], {}, {"MAIL_PASSWORD": "guessable"}) for key in ("key", "other")}
    assert len(names) == 2


def test_what_was_made_by_hand_is_not_deleted_where_nobody_remembers_who_made_it():
    environment = import_environment("http://keycloak", "file:/realm.json")
    for kind in ("GROUP", "SUBGROUP", "AUTHENTICATIONFLOW"):
        assert environment[f"IMPORT_MANAGED_{kind}"] == "no-delete"
    # Who vouches for people is for the stack file to say.
    assert "IMPORT_MANAGED_IDENTITYPROVIDER" not in environment
