"""How the engine is answered: levels by the stack's kind, and each resource decoded once."""

from __future__ import annotations

from concurrent import futures

import grpc
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc
from pulumi_policy import EnforcementLevel
from pulumi_policy import policy as sdk
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from policies import analyzer as policy_server
from policies import lifecycle
from policies.pack import POLICIES
from policies.reading.resources import SecretText
from tests.policies.conftest import BY_NAME, kubernetes, resource, text

ADVISORY, MANDATORY, DISABLED = EnforcementLevel.ADVISORY, EnforcementLevel.MANDATORY, EnforcementLevel.DISABLED


@pytest.fixture
def analyzer():
    return policy_server.Analyzer("test", "0.0.1", POLICIES, MANDATORY, None, None, None, None, None, None, None)


def struct(properties):
    return json_format.ParseDict(properties, struct_pb2.Struct())


def request(type_, properties, name="one"):
    urn = f"urn:pulumi:a::b::{type_}::{name}"
    return proto.AnalyzeRequest(type=type_, properties=struct(properties), urn=urn, name=name)


def analyzed(analyzer, type_, properties):
    found = analyzer.Analyze(request(type_, properties), None)
    return {one.policyName: one for one in found.diagnostics}


QUEUE = ("aws:sqs/queue:Queue", {"tags": {"Owner": "me", "CostCenter": "x"}})


def provider(kind):
    return "pulumi:providers:aws", {"defaultTags": text({"tags": {"Lifecycle": kind}})}


def test_a_stack_that_says_nothing_is_production(analyzer):
    assert analyzed(analyzer, *QUEUE)["sqs-encryption"].enforcementLevel == proto.MANDATORY


def test_a_lab_is_warned(analyzer):
    analyzed(analyzer, *provider("lab"))
    assert analyzed(analyzer, *QUEUE)["sqs-encryption"].enforcementLevel == proto.ADVISORY


def test_the_stacks_own_tag_comes_before_its_resources(analyzer):
    tags = {lifecycle.STACK_TAG: "production"}
    analyzer.ConfigureStack(proto.AnalyzerStackConfigureRequest(tags=tags), None)
    analyzed(analyzer, *provider("lab"))
    assert analyzed(analyzer, *QUEUE)["sqs-encryption"].enforcementLevel == proto.MANDATORY


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (resource(*provider("lab")), "lab"),
        (resource("aws:ec2/vpc:Vpc", {"tags": {"Lifecycle": "production"}}), "production"),
        (kubernetes("Namespace", metadata={"labels": {"gpulab.dev/lifecycle": "lab"}}), "lab"),
        (kubernetes("Namespace"), None),
        (resource("aws:ec2/vpc:Vpc", {"tags": {"Lifecycle": "staging"}}), None),
        (resource("aws:ec2/vpc:Vpc", {"tags": UNKNOWN_STRING_VALUE}), None),
    ],
)
def test_a_resource_gives_its_stacks_lifecycle(one, kind):
    assert lifecycle.lifecycle_of(one, {}) == kind


@pytest.mark.parametrize(
    ("policy", "configured", "labs", "kind", "expected"),
    [
        ("sqs-encryption", MANDATORY, "advisory", "production", MANDATORY),
        ("sqs-encryption", MANDATORY, "advisory", "lab", ADVISORY),
        ("sqs-encryption", MANDATORY, "mandatory", "lab", MANDATORY),
        ("sqs-encryption", MANDATORY, "disabled", "lab", DISABLED),
        ("sqs-encryption", DISABLED, "mandatory", "lab", DISABLED),
        ("sqs-encryption", ADVISORY, "mandatory", "production", ADVISORY),
        ("lab-expiry", MANDATORY, "advisory", "lab", MANDATORY),
    ],
)
def test_how_strict_a_policy_is(policy, configured, labs, kind, expected):
    assert policy_server.level(BY_NAME[policy], configured, labs, kind) is expected


def test_what_is_not_known_is_a_warning_and_names_its_place(analyzer):
    said = analyzed(analyzer, "aws:sqs/queue:Queue", {"sqsManagedSseEnabled": UNKNOWN_STRING_VALUE})["sqs-encryption"]
    assert said.enforcementLevel == proto.ADVISORY
    assert "not yet known: sqsManagedSseEnabled" in said.message


def test_what_no_policy_can_read_is_a_warning_about_its_resource(analyzer):
    nitro = {"key": "karpenter.k8s.aws/instance-hypervisor", "operator": "In", "values": ["nitro"]}
    spec = {"template": {"spec": {"requirements": [nitro]}}}
    said = analyzed(analyzer, "kubernetes:karpenter.sh/v1:NodePool", {"metadata": {"name": "x"}, "spec": spec})
    assert said["gpu-pool-taint"].enforcementLevel == proto.ADVISORY
    assert said["gpu-pool-taint"].message.count("not decided: ") == 1
    assert "NodePool" in said["gpu-pool-taint"].urn


def test_a_violation_says_what_to_do(analyzer):
    said = analyzed(analyzer, *QUEUE)["sqs-encryption"]
    assert BY_NAME["sqs-encryption"].remediation_steps in said.message


def test_a_secret_is_known_to_be_one_however_deep_it_is():
    secret = {SPECIAL_SIG_KEY: SPECIAL_SECRET_SIG, "value": {"password": ["x"]}}
    found = policy_server.decoded(struct({"values": secret, "plain": "y"}))
    assert isinstance(found["values"]["password"][0], SecretText)
    assert not isinstance(found["plain"], SecretText)


@pytest.fixture
def decodings(monkeypatch):
    """The properties that were decoded, in order."""
    seen = []
    real = policy_server.decoded
    monkeypatch.setattr(policy_server, "decoded", lambda properties: seen.append(real(properties)) or seen[-1])
    return seen


def test_a_resource_of_a_stack_is_decoded_once_and_not_before_it_is_read(analyzer, decodings):
    unread = ("kubernetes:core/v1:ServiceAccount", {"metadata": {"name": "x"}})
    pool = ("kubernetes:karpenter.sh/v1:NodePool", {"metadata": {"name": "gpu"}})
    resources = [
        proto.AnalyzerResource(
            type=type_, properties=struct(properties), urn=f"urn:pulumi:a::b::{type_}::{index}", name="x"
        )
        for index, (type_, properties) in enumerate([provider("production"), pool, unread])
    ]
    analyzer.AnalyzeStack(proto.AnalyzeStackRequest(resources=resources), None)
    assert [properties for properties in decodings if properties == pool[1]] == [pool[1]]
    assert unread[1] not in decodings


def test_a_resource_that_no_policy_looks_at_is_not_decoded(analyzer, decodings):
    analyzed(analyzer, *provider("production"))
    assert analyzed(analyzer, "kubernetes:core/v1:ServiceAccount", {"metadata": {"name": "x"}}) == {}
    assert [properties for properties in decodings if "metadata" in properties] == []


@pytest.fixture
def engine(analyzer, monkeypatch):
    """The engine's side of the service, over a connection."""
    for module, name in ((analyzer_pb2_grpc, "add_AnalyzerServicer_to_server"), (sdk, "_PolicyAnalyzerServicer")):
        monkeypatch.setattr(module, name, getattr(module, name))  # as they were, once this test ends
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    policy_server.install()
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(analyzer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield analyzer_pb2_grpc.AnalyzerStub(channel)
    server.stop(None)


def test_all_is_offered_but_what_no_policy_needs(engine):
    """The engine sends each resource once, to Analyze; it would call Remediate first."""
    with pytest.raises(grpc.RpcError) as refused:
        engine.Remediate(request(*QUEUE))
    found = engine.Analyze(request(*QUEUE))
    assert engine.GetAnalyzerInfo(empty_pb2.Empty()).policies
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
    assert "sqs-encryption" in {one.policyName for one in found.diagnostics}


def test_a_policy_that_fails_itself_ends_the_preview_with_its_name_and_its_place(engine, monkeypatch):
    def broken(*_):
        raise KeyError("tags")

    monkeypatch.setattr(BY_NAME["sqs-encryption"], "validate", broken)
    with pytest.raises(grpc.RpcError) as refused:
        engine.Analyze(request(*QUEUE))
    details = str(refused.value.details())  # type: ignore[attr-defined]
    assert "Policy sqs-encryption failed" in details
    assert "test_analyzer.py" in details


def test_an_old_copy_that_is_still_to_go_is_seen_beside_the_new(analyzer):
    group = "aws:ec2/securityGroup:SecurityGroup"
    messages = [proto.AnalyzerResource(type=group, urn=f"urn:pulumi:a::b::{group}::one", name="one") for _ in range(2)]
    assert len(analyzer._resources(messages)) == 2


def test_what_has_no_outputs_before_its_cluster_is_there_is_judged_with_its_stack_by_its_inputs(analyzer):
    """As the engine sends it in the preview of a new stack, whose Kubernetes provider is not configured."""

    def wildcard_is_refused(chart_values):
        release = request(
            "kubernetes:helm.sh/v3:Release",
            {"chart": "jupyterhub", "values": {"hub": {"config": {"JupyterHub": chart_values}}}},
        )
        analyzer.Analyze(release, None)
        record = request("aws:route53/record:Record", {"type": "A", "name": "*.platform.example.com"})
        sent = [(release, struct({})), (record, record.properties)]
        resources = [
            proto.AnalyzerResource(type=one.type, urn=one.urn, name=one.name, properties=known) for one, known in sent
        ]
        found = analyzer.AnalyzeStack(proto.AnalyzeStackRequest(resources=resources), None)
        return "wildcard-host" in {one.policyName for one in found.diagnostics}

    assert wildcard_is_refused({})
    assert not wildcard_is_refused({"subdomain_host": "https://platform.example.com"})


def test_a_stack_policy_sees_what_a_resource_is_made_from(analyzer):
    def made(type_, name, **more):
        urn = f"urn:pulumi:a::b::{type_}::{name}"
        return proto.AnalyzerResource(type=type_, properties=struct({}), urn=urn, name=name, **more)

    homes = made("aws:efs/fileSystem:FileSystem", "homes")
    selection = made("aws:backup/selection:Selection", "homes", dependencies=[homes.urn])
    for resources, refused in (([homes], True), ([homes, selection], False), ([selection, homes], False)):
        found = analyzer.AnalyzeStack(proto.AnalyzeStackRequest(resources=resources), None)
        assert ("data-without-backup" in {one.policyName for one in found.diagnostics}) is refused
