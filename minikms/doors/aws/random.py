"""Randomness: GenerateRandom."""

from typing import Final

from minikms.doors.aws.body import Body, Shape, Unsupported, base64, integer
from minikms.doors.aws.errors import ValidationException
from minikms.doors.aws.keys import AwsCall
from minikms.doors.aws.operation import Answer, operation


class GenerateRandomRequest(Shape):
    """Of GenerateRandom."""

    NumberOfBytes = integer(1, 1024)
    CustomKeyStoreId = Unsupported()
    Recipient = Unsupported()


@operation("GenerateRandom", "random", GenerateRandomRequest)
async def generate_random(call: AwsCall, body: Body) -> Answer:
    """So many random bytes."""
    if "NumberOfBytes" not in body:
        raise ValidationException("NumberOfBytes is required.")
    return {"Plaintext": base64(call.service.random(body["NumberOfBytes"]))}


OPERATIONS: Final = (generate_random,)
