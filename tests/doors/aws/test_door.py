import botocore.session
import pytest

from minikms.doors.aws import door

MODEL = botocore.session.get_session().get_service_model("kms")


async def test_random_bytes(aws):
    answer = await aws.generate_random(NumberOfBytes=1024)
    assert len(answer["Plaintext"]) == 1024
    assert answer["ResponseMetadata"]["RequestId"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"


@pytest.mark.parametrize("name", sorted(door._ABSENT))
async def test_an_operation_that_is_not_here(aws, name):
    assert name in MODEL.operation_names
    await aws.refused("UnsupportedOperationException", botocore.xform_name(name))
