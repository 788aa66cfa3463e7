"""Programs that keep their keys in AWS KMS, as they are to be had, through the door."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import boto3
import botocore.session
import pytest
from access.jwt_issuer import SigningKey
from access.role_files import write_roles
from botocore.exceptions import ClientError
from environments import environment
from http_answers import bearer
from node import install
from tls_certificates import Authority

pytestmark = pytest.mark.process

COSIGN = shutil.which("cosign")
INSTALL = "pip install -e '.[test-all]'"
SOPS = shutil.which("sops", path=str(Path(sys.executable).parent))


@pytest.fixture
def door(serve, tmp_path):
    """Start a service with the door; its URL, and the environment of programs that use it."""

    def start(*args, token="", authority=None):
        options = []
        if authority:
            options = ["--tls-cert", *authority.issue("kms")]
            options.insert(2, "--tls-key")
        service = serve("--port", "0", "--aws-port", "0", *options, *args)
        line = service.read_until("AWS KMS on ")
        (url,) = re.findall(r"https?://\S+", line)
        given = {
            "AWS_ENDPOINT_URL_KMS": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
        }
        if token:
            given["AWS_SESSION_TOKEN"] = token
        if authority:
            given["AWS_CA_BUNDLE"] = authority.file
        return url, given

    return start


@pytest.fixture
def configured(monkeypatch):
    """Let SDKs in this process find the door as others do, and give boto3's client."""

    def client(environment):
        for name, value in environment.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        return boto3.Session(region_name="us-east-1").client("kms")

    return client


def run(command, *args, environment, cwd, given=None):
    return subprocess.run(
        [command, *args],
        env=environment,
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(COSIGN is None, reason="cosign is missing: apt-get install cosign")
@pytest.mark.parametrize("with_token", [False, True], ids=["open", "token"])
def test_cosign_signs_a_blob(door, configured, admin, tmp_path, with_token):
    token, file = admin
    args = ["--auth", "token", "--admin-token-file", file] if with_token else []
    authority = Authority(tmp_path, "root")
    url, environment = door(*args, token=token if with_token else "", authority=authority)
    client = configured(environment)
    made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    client.create_alias(AliasName="alias/release", TargetKeyId=made["KeyId"])
    (tmp_path / "blob").write_text("hello\n")
    (tmp_path / "other").write_text("bye\n")
    key = f"awskms://{url.removeprefix('https://')}/alias/release"

    def cosign(*args):
        return run(COSIGN, *args, environment=environment, cwd=tmp_path)

    signing = ("--yes", "--tlog-upload=false", "--output-signature", "blob.sig", "blob")
    signed = cosign("sign-blob", "--key", key, *signing)
    assert signed.returncode == 0, signed.stderr
    verifying = ("verify-blob", "--insecure-ignore-tlog", "--signature", "blob.sig", "--key")
    verified = cosign(*verifying, key, "blob")
    assert "Verified OK" in verified.stderr
    assert cosign(*verifying, key, "other").returncode == 1
    # By the public key alone, without the door.
    (tmp_path / "key.pub").write_text(cosign("public-key", "--key", key).stdout)
    assert "Verified OK" in cosign(*verifying, "key.pub", "blob").stderr
    if with_token:
        environment["AWS_SESSION_TOKEN"] = "mkms_another"
        refused = cosign("sign-blob", "--key", key, *signing)
        assert refused.returncode == 1
        assert "UnrecognizedClientException" in refused.stderr


@pytest.mark.skipif(COSIGN is None, reason="cosign is missing: apt-get install cosign")
def test_cosign_makes_a_key(door, tmp_path):
    authority = Authority(tmp_path, "root")
    url, environment = door(authority=authority)
    environment["SSL_CERT_FILE"] = environment.pop("AWS_CA_BUNDLE")
    key = f"awskms://{url.removeprefix('https://')}/alias/made"
    made = run(COSIGN, "generate-key-pair", "--kms", key, environment=environment, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "cosign.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.skipif(SOPS is None, reason=f"sops is missing: {INSTALL}")
@pytest.mark.parametrize("context", ["", "app:web,stage:test"], ids=["plain", "context"])
def test_sops_encrypts_a_file(door, configured, tmp_path, context):
    _, environment = door()
    client = configured(environment)
    key = client.create_key()["KeyMetadata"]
    (tmp_path / "secrets.yaml").write_text("password: correct horse\n")

    def sops(*args):
        flags = ("--disable-version-check", *args)
        return run(SOPS, *flags, environment=environment, cwd=tmp_path)

    extra = ("--encryption-context", context) if context else ()
    encrypted = sops("encrypt", "--kms", key["Arn"], *extra, "secrets.yaml")
    assert encrypted.returncode == 0, encrypted.stderr
    assert "horse" not in encrypted.stdout
    (tmp_path / "encrypted.yaml").write_text(encrypted.stdout)
    decrypted = sops("decrypt", "encrypted.yaml")
    assert decrypted.stdout == "password: correct horse\n", decrypted.stderr
    client.disable_key(KeyId=key["KeyId"])
    assert "DisabledException" in sops("decrypt", "encrypted.yaml").stderr


def test_encryption_sdk_encrypts_a_message(door, configured):
    sdks = pytest.importorskip("aws_encryption_sdk", reason=f"needs aws-encryption-sdk: {INSTALL}")
    _, environment = door()
    client = configured(environment)
    one, other = (client.create_key()["KeyMetadata"] for _ in range(2))
    client.create_alias(AliasName="alias/messages", TargetKeyId=one["KeyId"])
    sdk = sdks.EncryptionSDKClient()

    def provider(key_id):
        session = botocore.session.get_session()
        return sdks.StrictAwsKmsMasterKeyProvider(key_ids=[key_id], botocore_session=session)

    message = bytes(range(256)) * 40
    encrypted, _ = sdk.encrypt(
        source=message, key_provider=provider(one["Arn"]), encryption_context={"für": "alle"}
    )
    decrypted, header = sdk.decrypt(source=encrypted, key_provider=provider(one["Arn"]))
    assert decrypted == message
    assert header.encryption_context["für"] == "alle"
    with pytest.raises(sdks.exceptions.DecryptKeyError):
        sdk.decrypt(source=encrypted, key_provider=provider(other["Arn"]))
    client.schedule_key_deletion(KeyId=one["KeyId"])
    with pytest.raises(sdks.exceptions.DecryptKeyError):
        sdk.decrypt(source=encrypted, key_provider=provider(one["Arn"]))
    with pytest.raises(ClientError, match="KMSInvalidStateException"):
        client.generate_data_key(KeyId=one["KeyId"], KeySpec="AES_256")


ROLES = """
[roles.pid-issuer]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["keys:write", "sign"]
profiles = ["pid"]
"""


@pytest.fixture
def pod(serve, admin, tmp_path):
    """The environment of programs that have a JWT in a file and no credentials, and its issuer."""
    token, file = admin
    key = SigningKey()
    jwt = tmp_path / "jwt"
    jwt.write_text(key.token({"exp": int(time.time()) + 500}))
    roles = write_roles(tmp_path, key, ROLES)
    guarded = ("--auth", "token", "--admin-token-file", file, "--roles", roles)
    service = serve("--port", "0", "--aws-port", "0", *guarded)
    (url,) = re.findall(r"https?://\S+", service.read_until("AWS KMS on "))
    connection = service.connect()
    connection.request("POST", "/profile", json.dumps({"name": "pid"}), bearer(token))
    assert connection.getresponse().status == 200
    connection.close()
    return {
        "AWS_ENDPOINT_URL_STS": url,
        "AWS_ENDPOINT_URL_KMS": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/pid-issuer",
        "AWS_ROLE_SESSION_NAME": "test",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(jwt),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }, key


PID_KEY = re.compile(r"arn:aws:kms:us-east-1:(?!000000000000)\d{12}:key/")
ROLE = "arn:aws:sts::000000000000:assumed-role/pid-issuer/test"


def test_boto3_signs_by_a_jwt_in_a_file(pod, configured, monkeypatch):
    given, key = pod
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client = configured(given)
    made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    assert PID_KEY.match(made["Arn"])
    signing = {"KeyId": made["KeyId"], "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert client.sign(**signing)["Signature"]
    assert boto3.Session().client("sts").get_caller_identity()["Arn"] == ROLE
    # boto3 reads the file again, since these credentials end within ten minutes.
    Path(given["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(key.token({"sub": "bob"}))
    with pytest.raises(ClientError, match="AccessDenied"):
        client.sign(**signing)


SCRIPT = """
import { KMSClient, CreateKeyCommand, SignCommand } from "@aws-sdk/client-kms";
import { STSClient, GetCallerIdentityCommand } from "@aws-sdk/client-sts";

const kms = new KMSClient();
const made = await kms.send(new CreateKeyCommand({
  KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY",
}));
const signed = await kms.send(new SignCommand({
  KeyId: made.KeyMetadata.KeyId, Message: Buffer.from("m"), SigningAlgorithm: "ECDSA_SHA_256",
}));
const caller = await new STSClient().send(new GetCallerIdentityCommand());
console.log(JSON.stringify({ key: signed.KeyId, signed: signed.Signature.length, ...caller }));
"""


@pytest.mark.slow  # npm installs packages
@pytest.mark.timeout(300)
def test_the_sdk_for_javascript_signs_by_a_jwt_in_a_file(pod, tmp_path):
    given, key = pod
    install(tmp_path, "@aws-sdk/client-kms@3", "@aws-sdk/client-sts@3")
    (tmp_path / "run.mjs").write_text(SCRIPT)
    done = run("node", "run.mjs", environment=given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert PID_KEY.match(found["key"])
    assert (found["signed"] > 0, found["Arn"]) == (True, ROLE)
    Path(given["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(key.token({"exp": 1}))
    assert "ExpiredTokenException" in run("node", "run.mjs", environment=given, cwd=tmp_path).stderr


@pytest.mark.slow  # pip installs the command-line interface
@pytest.mark.timeout(300)
def test_the_command_line_interface_signs_by_a_jwt_in_a_file(pod, tmp_path):
    given, _ = pod
    aws = environment(tmp_path / "venv", "awscli>=1.30").with_name("aws")

    def cli(*args):
        return run(aws, *args, environment=given, cwd=tmp_path)

    spec = ("--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY")
    made = json.loads(cli("kms", "create-key", *spec).stdout)["KeyMetadata"]
    assert PID_KEY.match(made["Arn"])
    signing = ("--signing-algorithm", "ECDSA_SHA_256", "--message", "bQ==")
    signed = cli("kms", "sign", "--key-id", made["KeyId"], *signing)
    assert json.loads(signed.stdout)["Signature"], signed.stderr
    assert json.loads(cli("sts", "get-caller-identity").stdout)["Arn"] == ROLE
    Path(given["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(SigningKey().token())
    refused = cli("kms", "sign", "--key-id", made["KeyId"], *signing)
    assert "InvalidIdentityToken" in refused.stderr
