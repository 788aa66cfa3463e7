"""docs/aws.md: its commands print the shown output, and its table agrees with AWS's model."""

import contextlib
import os
import re
import shutil

import boto3
import pytest
from aws_facts import FACTS
from document_blocks import ROOT, Block, blocks, paste
from ports import free_port

from minikms.plugin.registry import AlgorithmRegistry
from minikms_aws.door import AwsDoor
from minikms_aws.errors import AwsError
from minikms_aws.specs import Specs

DOCUMENT = (ROOT / "docs/aws.md").read_text("utf-8")
MISSING = [name for name in ("curl", "cosign") if shutil.which(name) is None]
MODEL = boto3.client("kms", region_name="us-east-1").meta.service_model


def pasted(block):
    """A block of Python as a person runs it."""
    if block.language != "python":
        return block
    return Block("sh", f".venv/bin/python - <<'END'\n{block.text}END\n")


@pytest.mark.process
@pytest.mark.skipif(bool(MISSING), reason=f"missing: apt-get install {' '.join(MISSING)}")
def test_the_pasted_commands_print_the_shown_output(tmp_path):
    """In the folder of the README, whose files stay as they are."""
    left = {name: tmp_path / name for name in ("admin.token", "keys.db", "store.key")}
    for name, file in left.items():
        file.write_text(name)
    shown = [pasted(block) for block in blocks(DOCUMENT) if block.language not in ("json", "ini")]
    done = paste(shown, tmp_path, {"4566": str(free_port())})
    assert done.answered == done.shown
    assert len(done.shown) == 7
    assert {name: file.read_text() for name, file in left.items()} == {name: name for name in left}


def table():
    rows = DOCUMENT.partition("<!-- operations -->")[2].partition("<!-- /operations -->")[0]
    return re.findall(r"^\| `(\w+)` \| `([a-z:]+)` \|(?: (.*))? \|$", rows, re.MULTILINE)


def test_operations_are_those_of_the_model():
    unsupported = DOCUMENT.partition("operations of AWS's model, ")[2].partition("\n\n")[0]
    names = re.findall(r"`(\w+)`", unsupported.partition(": ")[2])
    listed = [name for name, _, _ in table()]
    assert listed == sorted(listed)
    assert sorted([*listed, *names]) == sorted(MODEL.operation_names)
    assert f"the {len(MODEL.operation_names)} operations" in DOCUMENT


def test_table_of_operations_is_that_of_the_door():
    door = AwsDoor({}, AlgorithmRegistry.from_installed())
    kms = [route for route in door.routes if route.operation in MODEL.operation_names]
    there = {route.operation: route.scope for route in kms}
    assert {name: scope for name, scope, _ in table()} == there
    also = {name: tuple(re.findall("the scope `(.+?)`, too", what)) for name, _, what in table()}
    assert also == {**dict.fromkeys(also, ()), **{r.operation: r.also for r in kms}}


def test_key_specs_that_are_said_to_be_there_are():
    there = Specs(AlgorithmRegistry.from_installed())
    said = re.findall(r"`([A-Z0-9_]+)`", DOCUMENT.partition("- **Keys.**")[2].partition("- **")[0])
    assert set(said) <= set(MODEL.shape_for("KeySpec").enum)
    for name in MODEL.shape_for("KeySpec").enum:
        with contextlib.ExitStack() as stack:
            if name not in said:
                stack.enter_context(
                    pytest.raises(AwsError, match=f"^KeySpec {name} is not supported here")
                )
            there.get(name)


def test_number_of_facts_is_right():
    assert f"{len(FACTS)} facts" in DOCUMENT


async def test_seed_keys_have_the_names_that_they_are_given(start_aws, tmp_path):
    (seeds,) = (block.text for block in blocks(DOCUMENT) if block.language == "json")
    (tmp_path / "keys.json").write_text(seeds)
    aws = await start_aws(seed_keys=str(tmp_path / "keys.json"))
    found = (await aws.describe_key(KeyId="alias/issuer"))["KeyMetadata"]
    (given,) = re.findall('"aws:(.+)"', seeds)
    assert (found["KeyId"], found["KeyUsage"]) == (given, "SIGN_VERIFY")


def test_a_profile_in_the_configuration_of_aws_has_all(tmp_path, monkeypatch):
    (config,) = (block.text for block in blocks(DOCUMENT) if block.language == "ini")
    (tmp_path / "config").write_text(config)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    session = boto3.Session(profile_name="kms-alice")
    assert session.client("kms").meta.endpoint_url == "http://127.0.0.1:4566"
    assert session.client("sts").meta.endpoint_url != "http://127.0.0.1:4566"
    found = session.get_credentials()
    assert (found.access_key, found.token) == ("profile-alice", "TOKEN")
