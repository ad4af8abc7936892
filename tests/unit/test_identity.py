"""Identity: Keycloak, its database and its realm fit together, and no secret leaves its place."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from typing import Any

import jsonschema
import pulumi
import pytest
import yaml
from engine_mocks import EngineMocks, Registered

import contracts
from components.cluster import SYSTEM_TAINT
from components.database import CLUSTER, USERNAME, Connection, cluster_spec
from components.identity import (
    FIRST_PASSWORDS,
    KEYCLOAK_VERSION,
    NAMESPACE,
    Identity,
    IdentityArgs,
    published_service,
    value_of,
)
from components.keycloak import PUBLIC_PATHS, SERVER_PORT, SERVICE, KeycloakArgs, keycloak_values
from components.realm import REALM, Addresses
from components.realm_job import DEADLINE, fingerprint, import_environment
from rehearsal import java_tools
from settings import Identity as IdentitySettings
from settings.identity import DATABASE
from settings.secret_reference import SecretReference

RELEASE, JOB = "kubernetes:helm.sh/v3:Release", "kubernetes:batch/v1:Job"
SECRET, CONFIG_MAP = "kubernetes:core/v1:Secret", "kubernetes:core/v1:ConfigMap"
INSTANCE, SNAPSHOT = "aws:rds/instance:Instance", "aws:rds/snapshot:Snapshot"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
PASSWORD = "random:index/randomPassword:RandomPassword"
CLUSTER_TYPE = "kubernetes:postgresql.cnpg.io/v1:Cluster"

MAIL_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mail-AbCdEf"
PLACEHOLDER = re.compile(r"\$\(file:UTF-8:([/A-Za-z0-9_-]+)\)")


def identity(**sections: Any) -> IdentitySettings:
    return IdentitySettings.model_validate({"administrators": ["ada@example.com"], **sections})


def args(settings: IdentitySettings | None = None, **changes: Any) -> IdentityArgs:
    settings = settings or identity()
    given = IdentityArgs(
        settings=settings,
        addresses=Addresses.of(None),
        cluster_name="lab",
        vpc_id="vpc-1",
        subnet_ids=["subnet-1", "subnet-2"],
        node_security_group_id="sg-nodes",
    )
    return dataclasses.replace(given, **changes)


def deploy(mocks: EngineMocks, given: IdentityArgs | None = None) -> Identity:
    return mocks.deploy(lambda: Identity("lab", given or args()))


def secret_of(mocks: EngineMocks, name: str) -> dict[str, str]:
    (found,) = [one for one in mocks.all(SECRET) if one.inputs["metadata"]["name"] == name]
    return found.inputs["stringData"]


def job_of(mocks: EngineMocks) -> tuple[Registered, dict[str, Any]]:
    job = mocks.one(JOB)
    return job, job.inputs["spec"]["template"]["spec"]


MAIL = {"from": "lab@example.com", "host": "smtp.example.com", "user": "lab"}
WITH_SECRETS = {
    "mail": {**MAIL, "password": {"secretsManager": MAIL_ARN, "key": "password"}},
    "ldap": {
        "url": "ldaps://ldap.example.com",
        "vendor": "other",
        "bindDn": "cn=a,dc=b",
        "bindPassword": {"kubernetesSecret": "directory", "key": "bind"},
        "users": "ou=people,dc=b",
    },
}


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
    deploy(mocks, args(production, production=True, protect=True))
    database = mocks.one(INSTANCE)
    assert database.inputs["deletionProtection"] is True
    assert database.protect
    assert database.inputs["multiAz"] is True
    assert database.inputs["skipFinalSnapshot"] is False
    suffix = mocks.one("random:index/randomId:RandomId").outputs["hex"]
    assert database.inputs["finalSnapshotIdentifier"] == f"{database.inputs['identifier']}-final-{suffix}"


def test_a_new_version_is_rolled_out_once_a_snapshot_of_the_database_is_there(mocks):
    deploy(mocks, args(production=True))
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


def test_the_job_has_a_value_for_every_placeholder_of_its_realm(mocks):
    deploy(mocks, args(identity(**WITH_SECRETS)))
    _, pod = job_of(mocks)
    (container,) = pod["containers"]
    variables = {one["name"]: one for one in container["env"]}
    files = files_of(mocks, pod)
    document = files[variables["IMPORT_FILES_LOCATIONS"]["value"].removeprefix("file:")]
    keycloaks = {one["name"]: one for one in yaml.safe_load(mocks.one(RELEASE).inputs["values"]["extraEnv"])}
    bootstrap = keycloaks["KC_BOOTSTRAP_ADMIN_PASSWORD"]["valueFrom"]["secretKeyRef"]
    own = variables["SPRING_CONFIG_IMPORT"]["value"].removeprefix("configtree:")
    password = f"{own}keycloak.password"
    assert files.pop(password) == (bootstrap["name"], bootstrap["key"])
    secrets = {path: source for path, source in files.items() if isinstance(source, tuple)}
    assert secrets.keys() == set(PLACEHOLDER.findall(document))
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
    (container,) = pod["containers"]
    assert "envFrom" not in container
    assert all("valueFrom" not in variable for variable in container["env"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount["readOnly"]] == ["/tmp"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    modes = {volume["projected"]["defaultMode"] for volume in pod["volumes"] if "projected" in volume}
    assert modes == {0o440}
    assert pod["securityContext"]["fsGroup"] == container["securityContext"]["runAsUser"]


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


def job_name(given: IdentityArgs, clients: str = "generated") -> str:
    """The name of the Job where the secrets of clients are others, and the rest is as ever."""
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
    names = {fingerprint(key, "image", "realm", {}, {"MAIL_PASSWORD": "guessable"}) for key in ("key", "other")}
    assert len(names) == 2


def test_an_account_that_exists_is_left_to_its_person():
    environment = import_environment("http://keycloak", "file:/realm.json")
    left = environment["IMPORT_BEHAVIORS_USERUPDATEIGNOREDPROPERTIES"].split(",")
    assert {"credentials", "requiredActions", "enabled", "email", "firstName", "lastName", "groups"} <= set(left)
    assert environment["IMPORT_USERS_MERGEROLES"] == environment["IMPORT_USERS_MERGEGROUPS"] == "true"


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
    published = published_service(Addresses.of("lab.example.com"), NAMESPACE)
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
    assert published_service(Addresses.of("lab.example.com"), NAMESPACE).open_paths == ()
    published = published_service(Addresses.of("lab.example.com"), NAMESPACE, kubectl=True)
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
        addresses=Addresses.of(None),
        database=_connection(),
        replicas=replicas,
        memory=2,
    )
    values = keycloak_values(given)
    assert values["podDisruptionBudget"] == ({"maxUnavailable": 1} if replicas > 1 else {})
    assert values["resources"]["limits"]["memory"] == values["resources"]["requests"]["memory"] == "2Gi"


def _connection() -> Connection:
    password = pulumi.Output.from_input("x")
    return Connection(host="h", port=5432, database=DATABASE, username=USERNAME, password=password)


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
    assert restricted(pod["containers"][0]["securityContext"])
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
    assert values["hostname"] == f"{CLUSTER}-rw"
    owner = cluster.inputs["spec"]["bootstrap"]["initdb"]["secret"]["name"]
    assert secret_of(mocks, owner)["password"] == secret_of(mocks, values["existingSecret"])["password"]
    assert secret_of(mocks, owner)["username"] == values["username"]


def test_production_protects_the_database_in_the_cluster_too(mocks):
    in_cluster = identity(database={"kind": "cloudnative-pg", "instances": 3, "storage": 30})
    deploy(mocks, args(in_cluster, production=True, protect=True))
    assert mocks.one(CLUSTER_TYPE).protect


def test_the_clusters_crd_takes_the_spec():
    spec = cluster_spec(instances=3, storage=30, secret="owner")
    version = next(v for v in contracts.crd("clusters.postgresql.cnpg.io")["spec"]["versions"] if v["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.Draft202012Validator(schema).validate(spec)
    assert spec.keys() <= schema["properties"].keys()


@pytest.mark.parametrize(("instances", "budget"), [(1, False), (2, True)])
def test_a_single_database_server_does_not_keep_its_node_from_being_drained(instances: int, budget: bool):
    assert cluster_spec(instances=instances, storage=30, secret="owner")["enablePDB"] is budget


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
