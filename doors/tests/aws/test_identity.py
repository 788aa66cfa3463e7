import pytest
from aiohttp.test_utils import make_mocked_request

from minikms.key_requests import KeyRef
from minikms_aws.errors import AwsError
from minikms_aws.identity import Arns, account_of, caller

UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
KID = "k" * 43
ARNS = Arns("000000000000", "eu-west-1")


def caller_of(credential):
    header = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00"
    return caller(make_mocked_request("POST", "/", headers={"Authorization": header}))


@pytest.mark.parametrize(
    ("access_key", "profile"),
    [
        ("AKIAEXAMPLE", "default"),
        ("profile-alice", "alice"),
        ("profile-a/b,c=d", "a/b,c=d"),
        ("profile-x/20260101/us-east-1/kms/aws4_request", "x/20260101/us-east-1/kms/aws4_request"),
    ],
)
def test_the_access_key_picks_the_profile(access_key, profile):
    found = caller_of(f"{access_key}/20260101/eu-central-1/kms/aws4_request")
    assert found == (profile, "eu-central-1")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}])
def test_a_call_without_credentials_is_in_the_default_profile(headers):
    assert caller(make_mocked_request("POST", "/", headers=headers)) == ("default", "us-east-1")


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=profile-a/20260101/us-east-1/kms/aws4_request",
        "AWS4-ECDSA-P256-SHA256 Credential=profile-a/20260101/kms/aws4_request, SignedHeaders=host",
        *(
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00"
            for credential in ("a", "profile-a/20260101/kms/aws4_request", "a/20260101/x/s3/aws4")
        ),
    ],
)
def test_credentials_that_cannot_be_read(header):
    with pytest.raises(AwsError) as error:
        caller(make_mocked_request("POST", "/", headers={"Authorization": header}))
    assert error.value.slug == "IncompleteSignatureException"


def test_the_account_of_a_profile():
    assert account_of("default") == "000000000000"
    numbers = {account_of(f"profile {n}") for n in range(50)}
    assert len(numbers) == 50
    assert all(len(number) == 12 and number.isdigit() for number in numbers)
    assert account_of("alice") == account_of("alice")


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        (UUID, KeyRef(alias=f"aws:{UUID}")),
        (f"arn:aws:kms:eu-west-1:000000000000:key/{UUID}", KeyRef(alias=f"aws:{UUID}")),
        (KID, KeyRef(kid=KID)),
        (f"arn:aws:kms:eu-west-1:000000000000:key/{KID}", KeyRef(kid=KID)),
        ("aes-1", KeyRef(kid="aes-1")),
        ("alias/a:b/c", KeyRef(alias="alias/a:b/c")),
        ("arn:aws:kms:eu-west-1:000000000000:alias/a:b/c", KeyRef(alias="alias/a:b/c")),
    ],
)
def test_ids_arns_and_aliases_name_keys(text, ref):
    assert ARNS.ref(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "a" * 129,
        "a.b",
        f"aws:{UUID}",
        f"{UUID}\n",
        f"arn:aws:kms:us-east-1:000000000000:key/{UUID}",
        f"arn:aws:kms:eu-west-1:111111111111:key/{UUID}",
        "arn:aws:kms:us-east-1:000000000000:alias/a",
        "arn:aws:kms:eu-west-1:000000000000:key/alias/a",
    ],
)
def test_other_texts_name_no_key(text):
    with pytest.raises(AwsError) as error:
        ARNS.ref(text)
    assert error.value.slug == "NotFoundException"
