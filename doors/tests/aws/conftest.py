"""boto3 against a service whose AWS door is open, in the test's own process."""

import asyncio
import json
import uuid
from functools import cache, partial
from typing import Any

import boto3
import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer, open_doors
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from minikms.config import Config, DoorConfig
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

# boto3 neither checks parameters nor repeats calls, so that tests see the door itself.
BOTO_CONFIG = BotoConfig(parameter_validation=False, retries={"total_max_attempts": 1})


@cache
def session() -> boto3.Session:
    """Make a session, which reads boto3's models, once in a process."""
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")


def check_answer(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    """Fail if a success does not have the shape in AWS's own model of the operation."""
    if http_response.status_code == 200 and model.output_shape is not None:
        check_members(json.loads(http_response.content or b"{}"), model.output_shape)
        members = {name: parsed[name] for name in parsed if name != "ResponseMetadata"}
        report = ParamValidator().validate(members, model.output_shape)
        assert not report.has_errors(), report.generate_report()


def check_members(value: Any, shape: Any) -> None:
    """Fail if a structure has members that its model lacks."""
    if shape.type_name == "list":
        for each in value:
            check_members(each, shape.member)
    elif shape.type_name == "structure":
        assert value.keys() <= shape.members.keys()
        for name, each in value.items():
            check_members(each, shape.members[name])
    elif shape.name != "CustomerMasterKeySpec":  # deprecated: KeySpec, without the newer ones
        assert value in shape.metadata.get("enum", (value,))


class Aws:
    """A boto3 client of a door, whose methods run in threads: `await aws.sign(KeyId=…)`.

    `rest` is the client of the service's own API, on the same keys.
    """

    def __init__(self, url: str, rest: Any = None, **credentials: Any) -> None:
        self.url = url
        self.rest = rest
        options = {"region_name": "us-east-1", **credentials}
        self.boto = session().client("kms", endpoint_url=url, config=BOTO_CONFIG, **options)
        self.boto.meta.events.register("after-call.kms", check_answer)

    def __getattr__(self, name: str) -> Any:
        return partial(asyncio.to_thread, getattr(self.boto, name))

    @staticmethod
    def arn(key_id: str) -> str:
        """The ARN of a key of the default profile."""
        return f"arn:aws:kms:us-east-1:000000000000:key/{key_id}"

    def of(self, profile: str = "", **options: Any) -> "Aws":
        """A client of a profile, of other credentials or of another region."""
        key_id = f"profile-{profile}" if profile else "test"
        credentials = {"aws_access_key_id": key_id, "aws_secret_access_key": "test"}
        return Aws(self.url, self.rest, **{**credentials, **options})

    async def new_profile(self, profile: str) -> "Aws":
        """A client of a new profile."""
        answer = await self.rest.post("/profile", json={"name": profile})
        assert answer.status == 200, await answer.text()
        return self.of(profile)

    async def make(
        self, alg: str, *operations: str, profile: str = DEFAULT_PROFILE, key_id: str = ""
    ) -> str:
        """The UUID of a new key with these operations, or all of its algorithm."""
        key_id = key_id or str(uuid.uuid4())
        policy = KeyPolicy(aliases=(f"aws:{key_id}",), operations=operations or None)
        await self.rest.app[SERVICE].owning(["aws:"]).creation.generate(profile, alg, policy)
        return key_id

    async def kid(self, key_id: str) -> str:
        """The kid of a key with a UUID."""
        answer = await self.rest.get("/key", params={"alias": f"aws:{key_id}"})
        kid: str = (await answer.json())["kid"]
        return kid

    async def change(self, key_id: str, **members: Any) -> None:
        """Change a key by the service's own API."""
        answer = await self.rest.patch(f"/key/{await self.kid(key_id)}", json=members)
        assert answer.status == 200, await answer.text()

    async def schedule_deletion_of(self, key_id: str) -> None:
        """Schedule the deletion of a key, by the service's own API."""
        kid = await self.kid(key_id)
        answer = await self.rest.delete(f"/key/{kid}", params={"after": "7d"})
        assert answer.status == 200, await answer.text()

    async def rotate(self, key_id: str) -> None:
        """Replace a key by a new one, by the service's own API."""
        answer = await self.rest.post(f"/key/{await self.kid(key_id)}/rotate")
        assert answer.status == 200, await answer.text()

    async def refused(self, code: str, operation: str, **members: Any) -> str:
        """The message of a call that is refused with this code."""
        with pytest.raises(ClientError) as error:
            await getattr(self, operation)(**members)
        assert error.value.response["Error"]["Code"] == code, error.value
        status = {"KMSInternalException": 500, "DependencyTimeoutException": 503}.get(code, 400)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        return error.value.response["Error"].get("Message", "")


@pytest.fixture
def start_aws(start_with_doors):
    """Start a service with these options and its AWS door."""

    async def run(**options: Any) -> Aws:
        client, urls = await start_with_doors("aws", **options)
        return Aws(urls["aws"], client)

    return run


@pytest.fixture(scope="session")
async def shared_aws():
    """A client of an AWS door; tests of this process share its service, in memory."""
    app = create_service(Config(doors=(DoorConfig("aws", "127.0.0.1", 0, {}),)))
    async with TestClient(KmsTestServer(app)) as rest, open_doors(app) as urls:
        yield Aws(urls["aws"], rest)


@pytest.fixture
async def aws(shared_aws):
    """The client of the shared service, which has no key and no profile of other tests."""
    yield shared_aws
    service = shared_aws.rest.app[SERVICE]
    for name in set(await service.profiles.names()) - {DEFAULT_PROFILE}:
        await service.operations.store.remove_profile(name)
    keys, more = await service.descriptions.list_keys(DEFAULT_PROFILE, limit=1000)
    await asyncio.gather(
        *(
            service.changes.delete(DEFAULT_PROFILE, KeyRef(key.kid))
            for key in keys
            if key.follows is None  # otherwise its key takes it along
        )
    )
    assert not more
