"""Stack files that were hard to get right: each mistake has one message, which says what to write."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import yaml

import settings
from settings.loading import SECTIONS

CASES = Path(__file__).parents[1] / "cases"
MINIMAL = Path(__file__).parents[1] / "stacks" / "minimal.happy.yaml"
TODAY = datetime.date(2026, 6, 1)


def mistakes_in(path: Path, stack: str = "lab") -> dict[str, str]:
    """What is wrong with a stack file, by key, one mistake each."""
    with pytest.raises(settings.SettingsError) as refusal:
        settings.check_stack_file(path, stack, TODAY)
    found = {one.key: one.message for one in refusal.value.mistakes}
    assert len(found) == len(refusal.value.mistakes)
    return found


def case(name: str) -> dict[str, str]:
    """What is wrong with a case."""
    return mistakes_in(CASES / f"Pulumi.{name}.yaml", name)


def changed(folder: Path, old: str, new: str) -> Path:
    """The smallest stack file, in which one text stands in place of another."""
    text = MINIMAL.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = folder / "Pulumi.lab.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_numbers_without_quotes_are_no_text():
    assert case("leading-zero") == {
        "gpulab:owner": 'must be text: write "0x1F" in quotes, as the engine reads 31 without them',
        "gpulab:costCenter": 'must be text: write "0042" in quotes, as the engine reads 34 without them',
    }


TEXT_KEYS = {
    "gpulab:owner": ("gpulab:owner: ml-platform@example.com", "gpulab:owner: {}"),
    "gpulab:costCenter": ("gpulab:costCenter: research-042", "gpulab:costCenter: {}"),
    "gpulab:permissionsBoundary": ("  gpulab:owner:", "  gpulab:permissionsBoundary: {}\n  gpulab:owner:"),
    "gpulab:tags.room": ("  gpulab:owner:", "  gpulab:tags: {{room: {}}}\n  gpulab:owner:"),
    "gpulab:cluster.name": ('version: "1.36"', 'version: "1.36"\n    name: {}'),
    "gpulab:network.zones[0]": ("[us-east-1a, us-east-1b]", "[{}, us-east-1b]"),
}


@pytest.mark.parametrize(
    ("key", "written"),
    [
        *((key, "0042") for key in TEXT_KEYS),
        *(("gpulab:costCenter", text) for text in ("42", "1.50", "1_000", "true", "2027-06-30")),
        ("gpulab:tags.room", "2027-06-30"),
    ],
)
def test_what_is_no_text_without_quotes_is_refused_at_every_text_key(tmp_path, key, written):
    old, new = TEXT_KEYS[key]
    ((found, message),) = mistakes_in(changed(tmp_path, old, new.format(written))).items()
    assert found == key
    assert f'write "{written}" in quotes' in message


def test_every_section_that_is_a_text_is_among_them():
    texts = {f"gpulab:{name}" for name, is_text in SECTIONS.items() if is_text}
    assert len(texts) == 3
    assert texts <= TEXT_KEYS.keys()


@pytest.mark.parametrize("key", ["env: {TOKEN: 0042}", "password: 0042"])
def test_what_may_be_a_secret_is_not_repeated(tmp_path, key):
    path = tmp_path / "Pulumi.lab.yaml"
    text = (CASES / "Pulumi.encrypted-mail-password.yaml").read_text(encoding="utf-8")
    old = 'password: {secure: "v1:abc"}' if key.startswith("password") else "cpu: 2, memory: 8}"
    path.write_text(text.replace(old, key if key.startswith("password") else f"cpu: 2, memory: 8, {key}}}"))
    assert "0042" not in str(mistakes_in(path))


def test_a_number_with_a_leading_zero_is_refused_as_the_engine_reads_another():
    ((key, message),) = case("words-o29").items()
    assert key == "gpulab:nodePools.cpu.limits.cpu"
    assert message == "must not begin with a zero, as the engine reads 0100 as 64, in base 8: write 100"


def test_a_leading_zero_is_told_where_another_value_is_needed(tmp_path):
    message = mistakes_in(changed(tmp_path, "limits: {cpu: 2}", "limits: {cpu: 2}\n      weight: 0777"))[
        "gpulab:nodePools.cpu.weight"
    ]
    assert message == "must be 1 to 100 (given 511); the engine reads 0777 as 511, in base 8"


def test_an_encrypted_value_is_one_mistake_at_its_place():
    ((key, message),) = case("encrypted-mail-password").items()
    assert key == "gpulab:identity.mail.password"
    assert "name the place (secretsManager or kubernetesSecret)" in message


def test_an_encrypted_value_hides_no_other_mistake(tmp_path):
    path = tmp_path / "Pulumi.lab.yaml"
    text = (CASES / "Pulumi.encrypted-mail-password.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("administrators: [ada@example.com]", "administrators: [ada!, {secure: v1:a}]"))
    assert mistakes_in(path).keys() == {
        "gpulab:identity.mail.password",
        "gpulab:identity.administrators[0]",
        "gpulab:identity.administrators[1]",
    }


def test_dotted_keys_are_no_paths():
    found = case("dotted-keys")
    assert found.keys() == {"gpulab:nodePools.cpu.limits.cpu", "gpulab:teams.research.quota.gpus"}
    for key, message in found.items():
        assert f"`pulumi config set --path '{key}' VALUE`" in message


OWNER = "gpulab:owner: ml-platform@example.com"


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        # Other signs, other letters, another name.
        ("gpulab:network:", "gpulab.network:", "gpulab:gpulab.network", '"gpulab:network"'),
        ("gpulab:network:", "gpulab-network:", "gpulab:gpulab-network", '"gpulab:network"'),
        ("gpulab:network:", "GPULAB:network:", "GPULAB:network", '"gpulab:network"'),
        ("gpulab:network:", "gpu-lab:network:", "gpu-lab:network", '"gpulab:network"'),
        ("gpulab:nodePools:", "glupab:nodepools:", "glupab:nodepools", '"gpulab:nodePools"'),
        ("gpulab:nodePools:", "gpulab:nodePool:", "gpulab:nodePool", '"nodePools"'),
        ("gpulab:nodePools:", "lab:nodePools:", "lab:nodePools", '"gpulab:nodePools"'),
        ("aws:region:", "region:", "gpulab:region", '"aws:region"'),
        ("aws:region:", "AWS:Region:", "AWS:Region", '"aws:region"'),
        ("aws:region:", "aws-region:", "gpulab:aws-region", '"aws:region"'),
        # A name with a path.
        (f"  {OWNER}", f"  {OWNER}\n  gpulab:teams[0]: x", "gpulab:teams[0]", "pulumi config set --path"),
        (f"  {OWNER}", f"  {OWNER}\n  network.nat: x", "gpulab:network.nat", "pulumi config set --path"),
        (f"  {OWNER}", f"  {OWNER}\n  gpulap:network.nat: x", "gpulap:network.nat", "'gpulab:network.nat'"),
        # Of nobody.
        (f"  {OWNER}", f"  {OWNER}\n  datadog:apiKey: x", "datadog:apiKey", "is not used: remove it"),
        (f"  {OWNER}", f"  {OWNER}\n  aws:profile: x", "aws:profile", "has no effect"),
        # Another place.
        (f"  {OWNER}\n", f"{OWNER}\n  ", "gpulab:owner", "indent it"),
        ("config:", "gpulab:images: {}\nconfig:", "gpulab:images", "indent it"),
        ("config:", "images: {}\nconfig:", "images", "indent it"),
        ("config:", "Config:", "Config", '"config"'),
        ("config:", "enviroment: [x]\nconfig:", "enviroment", '"environment"'),
        ("config:", "outputs: {}\nconfig:", "outputs", "remove it"),
    ],
)
def test_a_key_that_nobody_reads_is_one_mistake(tmp_path, old, new, key, hint):
    if new == f"{OWNER}\n  ":  # out of the mapping, so at its end
        path = changed(tmp_path, old, "")
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{OWNER}\n", encoding="utf-8")
    else:
        path = changed(tmp_path, old, new)
    ((found, message),) = mistakes_in(path).items()
    assert found == key
    assert hint in message


def test_a_section_of_dotted_keys_alone_is_not_missing_as_well(tmp_path):
    nested = "network:\n    cidr: 10.40.0.0/20\n    zones: [us-east-1a, us-east-1b]"
    path = changed(tmp_path, nested, "network.cidr: 10.40.0.0/20\n  gpulab:network.zones[0]: us-east-1a")
    assert mistakes_in(path).keys() == {"gpulab:network.cidr", "gpulab:network.zones[0]"}


@pytest.mark.parametrize("beside", [True, False])
def test_keys_nested_under_their_namespace_are_one_mistake(tmp_path, beside):
    config = yaml.safe_load(MINIMAL.read_text(encoding="utf-8"))["config"]
    nested = {"gpulab": {key.removeprefix("gpulab:"): value for key, value in config.items() if key != "aws:region"}}
    rest = {"aws:region": config["aws:region"]}
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(yaml.safe_dump({"config": rest, **nested} if beside else {"config": {**rest, **nested}}))
    found = mistakes_in(path)
    assert found.keys() == {"gpulab"}
    assert 'with its namespace, such as "gpulab:' in found["gpulab"]


def test_keys_of_others_are_theirs(tmp_path):
    others = "kubernetes:namespace: x\n  pulumi:disable-default-providers: ['*']\n  random:x: 1\n  eks:x: 1"
    path = changed(tmp_path, f"  {OWNER}", f"  {OWNER}\n  {others}")
    beside = "secretsprovider: awskms://x\nencryptedkey: x\nencryptionsalt: v1:x\nenvironment: [x]\n"
    path.write_text(beside + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert settings.check_stack_file(path, "lab", TODAY).owner == "ml-platform@example.com"


def handed_to_the_program(path: Path) -> dict[str, str]:
    """The configuration as the engine hands it on, with the defaults of Pulumi.yaml."""
    defaults = dict.fromkeys((f"gpulab:{name}" for name in SECTIONS), "")
    return {**defaults, **settings.read_stack_file(path)}


def test_a_preview_refuses_what_only_the_file_shows(tmp_path):
    path = changed(tmp_path, OWNER, "gpulab:owner: 0042")
    path.write_text(f"images: {{cache: 0}}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    config = handed_to_the_program(path)
    assert config["gpulab:owner"] == "34"
    with pytest.raises(settings.SettingsError) as refusal:
        settings.load(config, stack="lab", today=TODAY, written=settings.as_written(path, config))
    assert [one.key for one in refusal.value.mistakes] == ["images", "gpulab:owner", "gpulab:images.cache"]


def test_a_preview_takes_no_other_file_for_its_own(tmp_path):
    """With --config-file, or where a secret is decrypted."""
    path = changed(tmp_path, OWNER, "gpulab:owner: 0042")
    config = handed_to_the_program(path)
    other = {key: text for key, text in config.items() if key != "gpulab:network"}
    assert settings.as_written(path, other) == settings.as_written(tmp_path / "none.yaml", config)
    assert "gpulab:owner" in settings.as_written(path, config).plain
    assert "gpulab:owner" not in settings.as_written(path, config | {"gpulab:owner": "35"}).plain


def test_the_words_of_other_systems_lead_to_ours():
    found = case("words-o02")
    assert {key.removeprefix("gpulab:"): message.partition(": write ")[2] for key, message in found.items()} == {
        "nodePools.cpu.limits.cpu": '64 (given "64000m")',
        "nodePools.cpu.limits.memory": '4096 (given "4Ti")',
        "nodePools.cpu.rootVolume.size": '100 (given "100Gi")',
        "nodePools.gpu.gpus": "",
        "nodePools.gpu.limits.gpus": '16 (given "16")',
        "profiles.p.cpu": '0.5 (given "500m")',
        "profiles.p.memory": '8 (given "8Gi")',
        "profiles.p.scratch": '47 (given "50GB")',
        "profiles.p.idle": "60s or 60m or 60h (given 60)",
        "profiles.p.lifetime": '168h (given "7d")',
    }
    assert found["gpulab:nodePools.gpu.gpus"] == "must be a mapping with keys of min, max (given 1)"
    assert "a whole number of GiB" in found["gpulab:nodePools.cpu.limits.memory"]


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("limits: {cpu: 2}", "limits: {cpu: 2, memory: 512GiB}", "write 512"),
        ("limits: {cpu: 2}", "limits: {cpu: 2, memory: 1048576Mi}", "write 1024"),
        ("limits: {cpu: 2}", "limits: {cpu: 2, memory: 1.5 T}", "write 1397"),
        ("limits: {cpu: 2}", "limits: {cpu: 2}\n      weight: '5'", "a whole number, without quotes: write 5"),
        ("limits: {cpu: 2}", "limits: {cpu: 2}\n      expireAfter: 14d", "write 336h"),
        ("limits: {cpu: 2}", "limits: {cpu: 2}\n      expireAfter: 90", "write 90s or 90m or 90h"),
        ("limits: {cpu: 2}", "limits: {cpu: 2}\n      expireAfter: 2 hours", "write 2h"),
        ("limits: {cpu: 2}", "limits: {cpu: 2}\n      expireAfter: soon", '"Never" (given "soon")'),
        ("limits: {cpu: 2}", "limits: {cpu: 2, memory: lots}", 'a whole number of GiB (given "lots")'),
        (
            "limits: {cpu: 2}",
            "limits: {cpu: 2}\n      expireAfter: 060",
            "write 60s or 60m or 60h (given 48); the engine",
        ),
        ("limits: {cpu: 2}", "limits: {cpu: 2}\n      expireAfter: 0", 'or "Never" (given 0)'),
        ("version:", "logRetentionDays: 30d\n    version:", "days, without quotes or a unit: write 30 (given"),
        ("10.40.0.0/20", "10.40.0.0", "lacks the size of the range, /16 to /20: write 10.40.0.0/16"),
        ("research-042", "2026-1-2", 'write "2026-1-2" in quotes'),
        ("research-042", "2026-01-01 10:00:00", 'write "2026-01-01 10:00:00" in quotes'),
        ("gpulab:nodePools:", "gpulab:tags: {since: 2026-01-01T00:00:00Z}\n  gpulab:nodePools:", 'Z" in quotes'),
        ("gpulab:nodePools:", "gpulab:identity:\n  gpulab:nodePools:", "is empty, which is the same as leaving it out"),
        ("gpulab:nodePools:", "hub: ~\n  gpulab:nodePools:", "is empty, which is the same as leaving it out"),
        ('"2026-06-01"', '"2027-06-31"', "does not exist: 2027-06 has the days 01 to 30"),
        ('"2026-06-01"', '"2027-02-29"', "does not exist: 2027-02 has the days 01 to 28"),
        ('"2026-06-01"', "2027-06-31", "does not exist: 2027-06 has the days 01 to 30"),
        ('"2026-06-01"', '"2027-13-01"', "months are 01 to 12"),
        ('"2026-06-01"', '"30.6.2027"', "year, month and day, such as"),
    ],
)
def test_a_value_that_is_nearly_right_is_told_what_to_write(tmp_path, old, new, hint):
    ((_, message),) = mistakes_in(changed(tmp_path, old, new)).items()
    assert hint in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ((CASES / "Pulumi.words-o12.yaml").read_text(encoding="utf-8"), 4),
        ("config:\n\taws:region: us-east-1\n", 2),
        ("config:\n  a: b\n  \tc: d\n", 3),
        ("config:\n  a:\n\t- b\n", 3),
        ("config:\n\t\ta: b\n", 2),
        ("config:\n \t \t a: b\n", 2),
        ("config:\n  a: [\n\tb: c\n\td: e\n", 3),
    ],
)
def test_a_tab_in_the_indentation_is_named_with_its_line(tmp_path, text, line):
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(settings.StackFileError) as refusal:
        settings.check_stack_file(path, "lab", TODAY)
    assert str(refusal.value) == f"{path}: line {line}: is indented with a tab, and YAML takes only spaces: replace it"


def test_a_stack_whose_name_no_cluster_can_have_is_told_to_name_the_cluster():
    ((key, message),) = case("words-Team_A").items()
    assert key == "gpulab:cluster.name"
    assert message.endswith('(by default "gpulab-words-Team_A", from the stack\'s name: set this key)')


def test_a_mistyped_key_is_not_missing_as_well(tmp_path):
    assert mistakes_in(changed(tmp_path, "cidr:", "cdir:")) == {
        "gpulab:network.cdir": 'is unknown: did you mean "cidr"?'
    }
