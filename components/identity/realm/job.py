"""Applies the realm with a Job of keycloak-config-cli; a change of the realm or of its secrets makes a new Job.

The Job's second step makes accounts (`apply_accounts`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.ground.placement import Placement
from components.identity.keycloak import BOOTSTRAP_SECRET, BOOTSTRAP_USER, PASSWORD_KEY, restricted
from components.identity.realm import apply_accounts
from components.identity.realm.accounts import accounts_environment
from components.identity.realm.apply_accounts import NO_ACCOUNT
from components.identity.realm.secrets import FOLDER
from components.images import pinned, pinned_of_chart

if TYPE_CHECKING:
    from settings.language.secret_reference import SecretReference

# The newest Keycloak that it was built for is older than ours, so tests apply the realm with it.
IMAGE = "keycloak-config-cli"
IMAGE_USER = 65534

REALM_FILE = "realm.json"
ACCOUNTS_FILE = "accounts.json"
_PROGRAM = Path(apply_accounts.__file__)
SECRET = "keycloak-realm"  # noqa: S105 (a Secret's name)
_FOLDER = "/config"
# keycloak-config-cli's own settings, one file per property ("Configure properties values through files" in its README).
_SETTINGS_FOLDER = "/run/secrets/keycloak-config-cli"
_PASSWORD_FILE = "keycloak.password"  # noqa: S105 (a file's name)
_ACCOUNTS = "accounts"
_FILE_MODE = 0o440

# Seconds. Keycloak may still be starting, and a Secret that the stack file names may be made later.
DEADLINE = 1200
RETRIES = 10


@dataclass(frozen=True, kw_only=True)
class RealmJobArgs:
    """What the Job applies.

    `realm` is the document, `accounts` what is done after it (`accounts.accounts_plan`). `secrets` are the values of
    the document's variables, `references` are Kubernetes Secrets for other variables. `key` is the HMAC key of the
    Job's name, so that nobody can guess the secrets from the name. With `by_digest`, images are pinned by their
    digests, if contracts has them.
    """

    namespace: pulumi.Input[str]
    url: str
    realm: Mapping[str, Any]
    accounts: Mapping[str, Any]
    secrets: Mapping[str, pulumi.Input[str]]
    references: Mapping[str, SecretReference]
    key: pulumi.Input[str]
    placement: Placement
    by_digest: bool = False


class RealmJob(pulumi.ComponentResource):
    """The Job with its realm and its secrets.

    The finished Job stays: if it disappeared, Pulumi would find a difference.
    """

    job: kubernetes.batch.v1.Job

    def __init__(self, name: str, args: RealmJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:RealmJob", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        data = {
            REALM_FILE: json.dumps(args.realm, indent=1),
            _PROGRAM.name: _PROGRAM.read_text(encoding="utf-8"),
            ACCOUNTS_FILE: json.dumps(args.accounts, indent=1),
        }
        # The hub's image has Python, and the nodes have it already.
        images = [
            pinned(IMAGE, by_digest=args.by_digest),
            pinned_of_chart("jupyterhub", "hub.image", by_digest=args.by_digest),
        ]
        references = {variable: reference.model_dump() for variable, reference in args.references.items()}
        suffix = pulumi.Output.unsecret(
            pulumi.Output.all(key=args.key, secrets=pulumi.Output.all(**args.secrets)).apply(
                lambda known: fingerprint(known["key"], images, list(data.values()), references, known["secrets"])
            )
        )
        secret = kubernetes.core.v1.Secret(
            f"{name}-secrets",
            metadata={"name": SECRET, "namespace": args.namespace},
            string_data={
                # It is inserted into JSON text, so it is escaped.
                variable: pulumi.Output.secret(value).apply(lambda known: json.dumps(known)[1:-1])
                for variable, value in args.secrets.items()
            },
            opts=child,
        )
        realm = kubernetes.core.v1.ConfigMap(
            name,
            metadata={"name": pulumi.Output.concat("keycloak-realm-", suffix), "namespace": args.namespace},
            data=data,
            immutable=True,
            opts=child,
        )
        self.job = kubernetes.batch.v1.Job(
            name,
            metadata={
                "name": pulumi.Output.concat("keycloak-realm-", suffix),
                "namespace": args.namespace,
                # A failed Job never runs again. Without this, each later `up` would wait for it and fail.
                "annotations": {"pulumi.com/replaceUnready": "true"},
            },
            spec=job_spec(
                images=images,
                realm=args.realm["realm"],
                config_map=realm.metadata.name,
                secret=secret.metadata.name,
                url=args.url,
                references=args.references,
                placement=args.placement,
            ),
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create=f"{DEADLINE}s", update=f"{DEADLINE}s")
            ),
        )
        self.register_outputs({"job": self.job.metadata.name})


def fingerprint(
    key: str, images: Sequence[str], documents: Sequence[str], references: Mapping[str, Any], secrets: Mapping[str, str]
) -> str:
    """Ten characters that change with the images, the realm and every secret, and reveal nothing without the key."""
    content = json.dumps([images, documents, dict(references), dict(secrets)], sort_keys=True)
    return hmac.new(key.encode(), content.encode(), hashlib.sha256).hexdigest()[:10]


def import_environment(url: str, location: str) -> dict[str, str]:
    """The settings of keycloak-config-cli, except the bootstrap administrator's password, which is in a file."""
    return {
        "KEYCLOAK_URL": url,
        "KEYCLOAK_USER": BOOTSTRAP_USER,
        "KEYCLOAK_AVAILABILITYCHECK_ENABLED": "true",
        "KEYCLOAK_AVAILABILITYCHECK_TIMEOUT": "300s",
        "IMPORT_FILES_LOCATIONS": location,
        "IMPORT_VARSUBSTITUTION_ENABLED": "true",
        # A secret's value is not searched for more variables.
        "IMPORT_VARSUBSTITUTION_NESTED": "false",
        # The cache compares the document without its secrets, so it would miss a new secret.
        "IMPORT_CACHE_ENABLED": "false",
        # It does not remember which of these it made: it would delete what people made by hand, with its members.
        "IMPORT_MANAGED_GROUP": "no-delete",
        "IMPORT_MANAGED_SUBGROUP": "no-delete",
        "IMPORT_MANAGED_AUTHENTICATIONFLOW": "no-delete",
    }


def job_spec(
    *,
    images: Sequence[str],
    realm: str,
    config_map: pulumi.Input[str],
    secret: pulumi.Input[str],
    url: str,
    references: Mapping[str, SecretReference],
    placement: Placement,
) -> Any:
    """The Job's `spec`: a pod that applies the realm, and is retried after a failure until the deadline.

    `images` are those of keycloak-config-cli and of the hub.
    """
    settings = import_environment(url, f"file:{_FOLDER}/{REALM_FILE}")
    settings["SPRING_CONFIG_IMPORT"] = f"configtree:{_SETTINGS_FOLDER}/"
    accounts = accounts_environment(
        url, realm=realm, user=BOOTSTRAP_USER, password_file=f"{_SETTINGS_FOLDER}/{_PASSWORD_FILE}", folder=FOLDER
    )
    volumes = {
        "realm": (_FOLDER, {"configMap": {"name": config_map}}),
        "secrets": (FOLDER, _files([{"name": secret}, *map(_reference, sorted(references.items()))])),
        "settings": (_SETTINGS_FOLDER, _files([_keys(BOOTSTRAP_SECRET, PASSWORD_KEY, _PASSWORD_FILE)])),
        # Java writes there.
        "tmp": ("/tmp", {"emptyDir": {}}),  # noqa: S108 - in a container
    }
    mounts = [{"name": name, "mountPath": folder, "readOnly": name != "tmp"} for name, (folder, _) in volumes.items()]
    config_cli, python = images
    return {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": DEADLINE,
        # A retry does not help if an account does not exist or is not verified.
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": _ACCOUNTS, "operator": "In", "values": [NO_ACCOUNT]},
                }
            ]
        },
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "tolerations": list(placement.tolerations),
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": IMAGE_USER,
                    "runAsGroup": IMAGE_USER,
                    # Only its group may read the files of secrets.
                    "fsGroup": IMAGE_USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "initContainers": [_container("keycloak-config-cli", config_cli, settings, mounts, memory="512Mi")],
                "containers": [
                    {
                        **_container(_ACCOUNTS, python, accounts, mounts, memory="128Mi"),
                        "command": ["python3", f"{_FOLDER}/{_PROGRAM.name}", f"{_FOLDER}/{ACCOUNTS_FILE}"],
                    }
                ],
                "volumes": [{"name": name, **source} for name, (_, source) in volumes.items()],
            }
        },
    }


def _container(name: str, image: str, settings: Mapping[str, str], mounts: list[Any], *, memory: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in settings.items()],
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "100m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {**restricted(IMAGE_USER), "readOnlyRootFilesystem": True},
        # The engine shows the message if the pod fails.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _files(sources: list[Any]) -> Any:
    return {"projected": {"defaultMode": _FILE_MODE, "sources": [{"secret": source} for source in sources]}}


def _reference(named: tuple[str, SecretReference]) -> Any:
    variable, reference = named
    return _keys(reference.kubernetes_secret, reference.key, variable)


def _keys(secret: str | None, key: str | None, file: str) -> Any:
    return {"name": secret, "items": [{"key": key, "path": file}]}
