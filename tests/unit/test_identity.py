"""Identity: Keycloak, its database and its realm fit together, and no secret leaves its place."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import jsonschema
import pulumi
import pytest
import yaml
from authorities import certificate_of_an_authority
from engine_mocks import EngineMocks
from identity_lab import (
    CLUSTER_TYPE,
    INGRESS,
    INSTANCE,
    MAIL,
    MAIL_ARN,
    PASSWORD,
    RELEASE,
    SECRET,
    SNAPSHOT,
    args,
    databases,
    deploy,
    identity,
    job_of,
    secret_of,
)

import contracts
from components.ground.secrets import value_of
from components.ground.system_nodes import SYSTEM_NODE_LABELS, SYSTEM_NODES, SYSTEM_TAINT
from components.identity.identity import (
    FIRST_PASSWORDS,
    KEYCLOAK_VERSION,
    NAMESPACE,
    published_service,
)
from components.identity.keycloak import PUBLIC_PATHS, SERVER_PORT, SERVICE, KeycloakArgs, keycloak_values
from components.identity.realm.realm import REALM
from components.platform_urls import PlatformUrls
from components.storage.cluster_database import cluster_of
from components.storage.database import Connection
from rehearsal.machine import java_tools
from settings.language.secret_reference import SecretReference
from settings.people.identity import DATABASE, Server


def test_keycloak_signs_in_to_the_database_that_was_made_for_it(mocks):
    deploy(mocks)
    database, values = mocks.one(INSTANCE).inputs, mocks.one(RELEASE).inputs["values"]["database"]
    assert (values["username"], values["database"], values["port"]) == (
        database["username"],
        database["dbName"],
        database["port"],
    )
    assert secret_of(mocks, values["existingSecret"])[values["existingSecretKey"]] == database["password"]


def test_the_database_is_private_encrypted_and_speaks_tls_alone(mocks):
    deploy(mocks)
    database = mocks.one(INSTANCE).inputs
    assert database["publiclyAccessible"] is False
    assert database["storageEncrypted"] is True
    assert {"name": "rds.force_ssl", "value": "1"}.items() <= mocks.one("aws:rds/parameterGroup:ParameterGroup").inputs[
        "parameters"
    ][0].items()
    variables = {one["name"]: one for one in yaml.safe_load(mocks.one(RELEASE).inputs["values"]["extraEnv"])}
    assert variables["KC_DB_URL_PROPERTIES"]["value"] == "?sslmode=require"
    rule = mocks.one(INGRESS).inputs
    assert rule["referencedSecurityGroupId"] == "sg-nodes"
    assert rule["fromPort"] == rule["toPort"] == database["port"]
    assert "cidrIpv4" not in rule


def test_a_lab_goes_without_a_trace_and_production_does_not(mocks):
    deploy(mocks)
    lab = mocks.one(INSTANCE)
    assert lab.inputs["skipFinalSnapshot"] is True
    assert lab.inputs["multiAz"] is False
    assert not lab.protect
    assert mocks.all(SNAPSHOT) == []


def test_production_is_protected_and_leaves_a_last_snapshot_of_its_own_name(mocks):
    production = identity(database={"multiAz": True, "finalSnapshot": True})
    deploy(mocks, args(production, databases=databases(production=True, protect=True)))
    database = mocks.one(INSTANCE)
    assert database.inputs["deletionProtection"] is True
    assert database.protect
    assert database.inputs["multiAz"] is True
    assert database.inputs["skipFinalSnapshot"] is False
    suffix = mocks.one("random:index/randomId:RandomId").outputs["hex"]
    assert database.inputs["finalSnapshotIdentifier"] == f"{database.inputs['identifier']}-final-{suffix}"


def test_a_new_version_is_rolled_out_once_a_snapshot_of_the_database_is_there(mocks):
    deploy(mocks, args(databases=databases(production=True)))
    snapshot = mocks.one(SNAPSHOT)
    assert KEYCLOAK_VERSION.replace(".", "-") in snapshot.inputs["dbSnapshotIdentifier"]
    assert mocks.needs(mocks.one(RELEASE), snapshot)


def test_what_is_needed_comes_first_and_goes_last(mocks):
    deploy(mocks)
    release, (job, _) = mocks.one(RELEASE), job_of(mocks)
    assert mocks.needs(job, release)
    assert mocks.needs(release, mocks.one(INSTANCE))
    for variable in yaml.safe_load(release.inputs["values"]["extraEnv"]):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            (secret,) = [one for one in mocks.all(SECRET) if one.inputs["metadata"]["name"] == reference["name"]]
            assert reference["key"] in secret.inputs["stringData"]
            assert mocks.needs(release, secret)


def authority(folder: Path) -> Path:
    """A PEM file with the certificate of a private authority."""
    file = folder / "authority.pem"
    file.write_text(certificate_of_an_authority(), encoding="utf-8")
    return file


def test_keycloak_trusts_the_authorities_of_files_and_secrets_and_starts_anew_for_another(mocks, tmp_path):
    file = authority(tmp_path)
    trust = {"files": [str(file)], "secret": {"kubernetesSecret": "company-ca", "key": "ca.crt"}}
    deploy(mocks, args(identity(trust=trust)))
    values = mocks.one(RELEASE).inputs["values"]
    (volume,), (mount,) = yaml.safe_load(values["extraVolumes"]), yaml.safe_load(values["extraVolumeMounts"])
    assert volume["name"] == mount["name"]
    files: dict[str, Any] = {}
    for source in volume["projected"]["sources"]:
        secret = source["secret"]
        named = secret.get("items") or [{"path": key, "key": key} for key in secret_of(mocks, secret["name"])]
        files |= {f"{mount['mountPath']}/{one['path']}": (secret["name"], one["key"]) for one in named}
    variables = {one["name"]: one.get("value") for one in yaml.safe_load(values["extraEnv"])}
    assert variables["KC_TRUSTSTORE_PATHS"].split(",") == sorted(files)
    assert ("company-ca", "ca.crt") in files.values()
    (own,) = [name for name, _ in files.values() if name != "company-ca"]
    assert list(secret_of(mocks, own).values()) == [file.read_text()]

    # Besides, whether there is an authority or not, consolidation lets them be.
    assert values["podAnnotations"].items() >= SYSTEM_NODES.annotations.items()

    other = EngineMocks()
    file.write_text(certificate_of_an_authority(), encoding="utf-8")
    deploy(other, args(identity(trust=trust)))
    assert other.one(RELEASE).inputs["values"]["podAnnotations"] != values["podAnnotations"]


def test_first_passwords_are_admitted_by_the_policy_and_lie_in_a_secret(mocks):
    seeds = {"grace": {"email": "grace@example.com", "firstName": "Grace", "lastName": "Hopper"}}
    policy = {"minLength": 30, "upperCase": 2, "digits": 3, "specialCharacters": 2}
    deploy(mocks, args(identity(seedUsers=seeds, passwordPolicy=policy)))
    people = {"ada@example.com", "grace"}
    passwords = {one.name.removeprefix("lab-"): one for one in mocks.all(PASSWORD) if one.name[4:] in people}
    assert passwords.keys() == people
    for password in passwords.values():
        assert password.inputs["length"] >= 30
        assert password.inputs["minUpper"] >= 2
        assert password.inputs["minNumeric"] >= 3
        assert password.inputs["minSpecial"] >= 2
        # What would break JSON text, where the placeholder stands.
        assert not set(password.inputs["overrideSpecial"]) & set('"\\$')
    lines = secret_of(mocks, FIRST_PASSWORDS)["passwords"].splitlines()
    assert lines == sorted(f"{name}: {password.outputs['result']}" for name, password in passwords.items())


def test_tools_get_the_secret_that_the_realm_has_for_them(mocks):
    settings = identity(clients={"mlflow": {"redirectUris": ["http://localhost:5000/callback"]}})
    made = deploy(mocks, args(settings))
    applied = secret_of(mocks, "keycloak-realm")
    assert made.client_secrets.keys() == {"jupyterhub", "grafana", "mlflow"}
    for client_id, secret in made.client_secrets.items():
        assert mocks.value(secret) == applied[f"CLIENT_{client_id.upper()}_SECRET"]


def test_tools_in_the_cluster_ask_the_service_of_the_release(mocks):
    made = deploy(mocks)
    values = mocks.one(RELEASE).inputs["values"]
    assert f"{values['fullnameOverride']}-http" == SERVICE
    assert made.internal_realm_url == f"http://{SERVICE}.{NAMESPACE}.svc.cluster.local/realms/{REALM}"
    assert mocks.one(RELEASE).inputs["namespace"] == NAMESPACE
    (option,) = [one for one in values["command"] if one.startswith("--hostname=")]
    assert made.realm_url == f"{option.partition('=')[2]}/realms/{REALM}"


def test_no_public_path_leads_to_the_admin_api_or_another_realm():
    published = published_service(PlatformUrls.of("lab.example.com"), NAMESPACE)
    assert published.host == "auth.lab.example.com"
    for path in (
        *("/admin/", f"/admin/realms/{REALM}", "/realms/master/account", "/metrics", "/health", "/"),
        *("/realms/", "/realms/gpulab-2/account", "/management/"),
    ):
        assert not any(fnmatch.fnmatchcase(path, pattern) for pattern in published.paths)
    for path in PUBLIC_PATHS:
        assert any(fnmatch.fnmatchcase(f"{path}x", pattern) for pattern in published.paths)
    assert published.target_port == SERVER_PORT


def test_the_internet_reads_the_realms_keys_only_where_eks_needs_them():
    assert published_service(PlatformUrls.of("lab.example.com"), NAMESPACE).open_paths == ()
    published = published_service(PlatformUrls.of("lab.example.com"), NAMESPACE, kubectl=True)
    issuer = f"/realms/{REALM}"
    assert set(published.open_paths) == {
        f"{issuer}/.well-known/openid-configuration",
        f"{issuer}/protocol/openid-connect/certs",
    }


def schema_of(chart: str) -> dict[str, Any]:
    schema = contracts.chart(chart).schema
    assert schema is not None
    return dict(schema)


def test_the_charts_own_schema_takes_the_values(mocks):
    deploy(mocks, args(identity(keycloak={"replicas": 2, "image": "registry.example.com/keycloak"})))
    chart, values = contracts.chart("keycloakx"), mocks.one(RELEASE).inputs["values"]
    assert values.keys() <= chart.values.keys()
    for name in ("http", "proxy", "health", "metrics", "database", "serviceAccount"):
        assert values[name].keys() <= chart.values[name].keys()
    properties = schema_of("keycloakx")["properties"]
    for name in ("command", "extraEnv", "image"):
        if name in properties and "$ref" not in properties[name]:
            jsonschema.validate(values[name], properties[name])


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_disruption_budget_lets_nodes_be_drained(replicas: int):
    given = KeycloakArgs(
        namespace="x",
        urls=PlatformUrls.of(None),
        database=_connection(),
        settings=Server(replicas=replicas),
        placement=SYSTEM_NODES,
    )
    values = keycloak_values(given)
    assert values["podDisruptionBudget"] == ({"maxUnavailable": 1} if replicas > 1 else {})
    assert values["resources"]["limits"]["memory"] == values["resources"]["requests"]["memory"] == "2Gi"


def test_servers_stay_on_the_system_nodes():
    """Pools have spot instances, and consolidation moves pods without `do-not-disrupt`."""
    given = KeycloakArgs(
        namespace="x",
        urls=PlatformUrls.of(None),
        database=_connection(),
        settings=Server(),
        placement=SYSTEM_NODES,
    )
    values = keycloak_values(given)
    assert values["nodeSelector"] == SYSTEM_NODE_LABELS
    assert values["podAnnotations"]["karpenter.sh/do-not-disrupt"] == "true"


def _connection() -> Connection:
    password = pulumi.Output.from_input("x")
    return Connection(host="h", port=5432, database=DATABASE, username=DATABASE, password=password)


def tolerates_system_nodes(tolerations: list[dict[str, Any]]) -> bool:
    return any(one["key"] == SYSTEM_TAINT["key"] and one["operator"] == "Exists" for one in tolerations)


def restricted(context: dict[str, Any]) -> bool:
    return (
        context["runAsNonRoot"]
        and context["runAsUser"] > 0
        and context["allowPrivilegeEscalation"] is False
        and context["capabilities"] == {"drop": ["ALL"]}
        and context["seccompProfile"] == {"type": "RuntimeDefault"}
    )


def test_pods_run_on_the_system_nodes_as_pod_security_wants_them(mocks):
    deploy(mocks)
    labels = mocks.one("kubernetes:core/v1:Namespace").inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    values, (_, pod) = mocks.one(RELEASE).inputs["values"], job_of(mocks)
    assert tolerates_system_nodes(values["tolerations"])
    assert tolerates_system_nodes(pod["tolerations"])
    assert restricted(values["securityContext"])
    for container in (*pod["initContainers"], *pod["containers"]):
        assert restricted(container["securityContext"])
    assert pod["automountServiceAccountToken"] is False


def test_in_the_cluster_the_operator_outlives_its_servers(mocks):
    deploy(mocks, args(identity(database={"kind": "cloudnative-pg", "instances": 3, "storage": 30})))
    assert mocks.all(INSTANCE) == []
    cluster = mocks.one(CLUSTER_TYPE)
    assert not cluster.protect
    (operator,) = [one for one in mocks.all(RELEASE) if one.inputs["name"] == "cloudnative-pg"]
    (keycloak,) = [one for one in mocks.all(RELEASE) if one.inputs["name"] == "keycloak"]
    assert mocks.needs(cluster, operator)
    assert mocks.needs(keycloak, cluster)
    # A namespace that Helm makes outlives the release.
    assert operator.inputs["namespace"] in [
        one.inputs["metadata"]["name"] for one in mocks.all("kubernetes:core/v1:Namespace")
    ]
    assert "createNamespace" not in operator.inputs
    values = keycloak.inputs["values"]["database"]
    assert values["hostname"] == f"{cluster_of(DATABASE)}-rw"
    owner = cluster.inputs["spec"]["bootstrap"]["initdb"]["secret"]["name"]
    assert secret_of(mocks, owner)["password"] == secret_of(mocks, values["existingSecret"])["password"]
    assert secret_of(mocks, owner)["username"] == values["username"]


def test_production_protects_the_database_in_the_cluster_too(mocks):
    in_cluster = identity(database={"kind": "cloudnative-pg", "instances": 3, "storage": 30})
    deploy(mocks, args(in_cluster, databases=databases(production=True, protect=True)))
    assert mocks.one(CLUSTER_TYPE).protect


def test_a_secret_with_quotes_stays_json_where_its_placeholder_stands(mocks):
    mocks.invokes["aws:secretsmanager/getSecretVersion:getSecretVersion"] = {"secretString": 'a"b\\c'}
    mail = {**MAIL, "password": {"secretsManager": MAIL_ARN}}
    deploy(mocks, args(identity(mail=mail)))
    value = secret_of(mocks, "keycloak-realm")["MAIL_PASSWORD"]
    assert json.loads(f'"{value}"') == 'a"b\\c'


@pytest.mark.parametrize("text", ["no JSON: hunter2", '{"other": "hunter2"}', '"hunter2"'])
def test_a_key_that_a_secret_has_not_is_told_without_the_secret(text: str):
    reference = SecretReference(secretsManager=MAIL_ARN, key="password")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="has") as refusal:
        value_of(text, reference)
    assert MAIL_ARN in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_the_tests_run_the_newest_keycloak_that_can_be_had_up_to_the_platforms():
    tested, installed, charts = (
        tuple(map(int, version.split(".")))
        for version in (java_tools.KEYCLOAK, KEYCLOAK_VERSION, contracts.chart("keycloakx").app_version or "")
    )
    assert charts <= tested <= installed
    assert tested[0] == installed[0]


def test_an_image_of_ones_own_has_keycloaks_version_and_no_digest_of_keycloaks(mocks):
    deploy(mocks, args(identity(keycloak={"image": "registry.example.com/keycloak"}), production=True))
    image = mocks.one(RELEASE).inputs["values"]["image"]
    assert image == {"repository": "registry.example.com/keycloak", "tag": KEYCLOAK_VERSION}
