"""Applies the realm: a Job of keycloak-config-cli, a new one whenever the realm or a secret in it has changed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import SYSTEM_TOLERATION
from components.images import pinned
from components.keycloak import BOOTSTRAP_SECRET, BOOTSTRAP_USER, PASSWORD_KEY, restricted
from components.realm_secrets import FOLDER

if TYPE_CHECKING:
    from settings.secret_reference import SecretReference

# Built for the newest Keycloak that it knows, which is older than ours: tests apply the realm with it.
IMAGE = "keycloak-config-cli"
IMAGE_USER = 65534

REALM_FILE = "realm.json"
SECRET = "keycloak-realm"  # noqa: S105 (a Secret's name)
_FOLDER = "/config"
# Of keycloak-config-cli's own settings: a file a property ("Configure properties values through files" in its README).
_SETTINGS_FOLDER = "/run/secrets/keycloak-config-cli"
_FILE_MODE = 0o440

# Seconds. Keycloak may be starting; and a Secret that the stack file names may come later.
DEADLINE = 1200
RETRIES = 10

# What people and their administrators may change: an account that exists is left as it is.
_LEFT_TO_PEOPLE = (
    "attributes,credentials,email,emailVerified,enabled,firstName,groups,lastName,requiredActions,username"
)


@dataclass(frozen=True, kw_only=True)
class RealmJobArgs:
    """What is applied.

    `realm` is the document. `secrets` are the values of its variables, `references` the Kubernetes Secrets of others.
    `key` makes the Job's name: it keeps the secrets from being guessed from it. `by_digest`: so is the image taken,
    where contracts have its digest.
    """

    namespace: pulumi.Input[str]
    url: str
    realm: Mapping[str, Any]
    secrets: Mapping[str, pulumi.Input[str]]
    references: Mapping[str, SecretReference]
    key: pulumi.Input[str]
    by_digest: bool = False


class RealmJob(pulumi.ComponentResource):
    """The Job with its realm and its secrets. It stays when it is done: one that vanished would be a difference."""

    job: kubernetes.batch.v1.Job

    def __init__(self, name: str, args: RealmJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:RealmJob", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        document = json.dumps(args.realm, indent=1)
        image = pinned(IMAGE, by_digest=args.by_digest)
        references = {variable: reference.model_dump() for variable, reference in args.references.items()}
        suffix = pulumi.Output.unsecret(
            pulumi.Output.all(key=args.key, secrets=pulumi.Output.all(**args.secrets)).apply(
                lambda known: fingerprint(known["key"], image, document, references, known["secrets"])
            )
        )
        secret = kubernetes.core.v1.Secret(
            f"{name}-secrets",
            metadata={"name": SECRET, "namespace": args.namespace},
            string_data={
                # It is put into JSON text.
                variable: pulumi.Output.secret(value).apply(lambda known: json.dumps(known)[1:-1])
                for variable, value in args.secrets.items()
            },
            opts=child,
        )
        realm = kubernetes.core.v1.ConfigMap(
            name,
            metadata={"name": pulumi.Output.concat("keycloak-realm-", suffix), "namespace": args.namespace},
            data={REALM_FILE: document},
            immutable=True,
            opts=child,
        )
        self.job = kubernetes.batch.v1.Job(
            name,
            metadata={"name": pulumi.Output.concat("keycloak-realm-", suffix), "namespace": args.namespace},
            spec=job_spec(
                image=image,
                config_map=realm.metadata.name,
                secret=secret.metadata.name,
                url=args.url,
                references=args.references,
            ),
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create=f"{DEADLINE}s", update=f"{DEADLINE}s")
            ),
        )
        self.register_outputs({"job": self.job.metadata.name})


def fingerprint(key: str, image: str, document: str, references: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """Ten characters that change with image, realm and every secret, and say nothing of them without the key."""
    content = json.dumps([image, document, dict(references), dict(secrets)], sort_keys=True)
    return hmac.new(key.encode(), content.encode(), hashlib.sha256).hexdigest()[:10]


def import_environment(url: str, location: str) -> dict[str, str]:
    """The settings of keycloak-config-cli, but for the password of the bootstrap administrator: that is in a file."""
    return {
        "KEYCLOAK_URL": url,
        "KEYCLOAK_USER": BOOTSTRAP_USER,
        "KEYCLOAK_AVAILABILITYCHECK_ENABLED": "true",
        "KEYCLOAK_AVAILABILITYCHECK_TIMEOUT": "300s",
        "IMPORT_FILES_LOCATIONS": location,
        "IMPORT_VARSUBSTITUTION_ENABLED": "true",
        # What stands in a secret is not looked at again.
        "IMPORT_VARSUBSTITUTION_NESTED": "false",
        # It would compare the document without its secrets, and so miss a new one.
        "IMPORT_CACHE_ENABLED": "false",
        "IMPORT_USERS_MERGEROLES": "true",
        "IMPORT_USERS_MERGEGROUPS": "true",
        "IMPORT_BEHAVIORS_USERUPDATEIGNOREDPROPERTIES": _LEFT_TO_PEOPLE,
    }


def job_spec(
    *,
    image: str,
    config_map: pulumi.Input[str],
    secret: pulumi.Input[str],
    url: str,
    references: Mapping[str, SecretReference],
) -> Any:
    """The Job's `spec`: one pod that applies the realm, again after a failure, until the deadline."""
    settings = import_environment(url, f"file:{_FOLDER}/{REALM_FILE}")
    settings["SPRING_CONFIG_IMPORT"] = f"configtree:{_SETTINGS_FOLDER}/"
    volumes = {
        "realm": (_FOLDER, {"configMap": {"name": config_map}}),
        "secrets": (FOLDER, _files([{"name": secret}, *map(_reference, sorted(references.items()))])),
        "settings": (_SETTINGS_FOLDER, _files([_keys(BOOTSTRAP_SECRET, PASSWORD_KEY, "keycloak.password")])),
        # Java's own.
        "tmp": ("/tmp", {"emptyDir": {}}),  # noqa: S108 - in a container
    }
    container = {
        "name": "keycloak-config-cli",
        "image": image,
        "env": [{"name": name, "value": value} for name, value in settings.items()],
        "volumeMounts": [
            {"name": name, "mountPath": folder, "readOnly": name != "tmp"} for name, (folder, _) in volumes.items()
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {**restricted(IMAGE_USER), "readOnlyRootFilesystem": True},
    }
    return {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": DEADLINE,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "tolerations": [SYSTEM_TOLERATION],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": IMAGE_USER,
                    "runAsGroup": IMAGE_USER,
                    # The files of secrets are its group's alone.
                    "fsGroup": IMAGE_USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [{"name": name, **source} for name, (_, source) in volumes.items()],
            }
        },
    }


def _files(sources: list[Any]) -> Any:
    return {"projected": {"defaultMode": _FILE_MODE, "sources": [{"secret": source} for source in sources]}}


def _reference(named: tuple[str, SecretReference]) -> Any:
    variable, reference = named
    return _keys(reference.kubernetes_secret, reference.key, variable)


def _keys(secret: str | None, key: str | None, file: str) -> Any:
    return {"name": secret, "items": [{"key": key, "path": file}]}
