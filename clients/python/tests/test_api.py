"""The client has all of the API: a method for each operation, a parameter for each field."""

import dataclasses
import inspect
import keyword

import pytest
from api_document import operations, resolve, snake

import minikms_client
from minikms.web.responses import error_classes
from minikms_client import AsyncClient, Client, ProblemError, models
from minikms_client.errors import problem

# Parameters that belong to the client, not to a call.
OF_THE_CLIENT = {"X-Profile", "profile"}
# Members of answers that the client's classes leave out.
NOT_KEPT = {"message", "success"}
# Methods for the second body of an operation.
OTHERS = {"signJws": "sign_signing_input", "signCose": "sign_sig_structure"}
# Parameters that a method gives itself, to follow the pages of a listing.
OF_PAGES = {"listProfiles": {"after", "include", "limit"}}


def properties(document, schema):
    """The names of all fields that a body may have."""
    schema = resolve(document, schema)
    found = set(schema.get("properties", ()))
    for part in [*schema.get("oneOf", ()), *schema.get("allOf", ()), *schema.get("anyOf", ())]:
        found |= properties(document, part)
    return found


def fields(document, operation, parameters):
    names = {one["name"] for one in parameters} - OF_THE_CLIENT
    for content in operation.get("requestBody", {}).get("content", {}).values():
        names |= properties(document, content["schema"])
    return {f"{name}_" if keyword.iskeyword(name) else snake(name) for name in names}


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_operation_has_a_method_with_its_fields(document, client):
    for operation, parameters in operations(document):
        name = operation["operationId"]
        methods = [snake(name), *([OTHERS[name]] if name in OTHERS else [])]
        taken = {
            parameter
            for method in methods
            for parameter in inspect.signature(getattr(client, method)).parameters
        }
        expected = fields(document, operation, parameters) - OF_PAGES.get(name, set())
        assert taken - {"self"} == expected, methods


def test_both_clients_have_the_same_methods():
    def methods(client):
        return {
            name: [str(one) for one in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    renamed = {"aclose": "close"}
    of_async = {renamed.get(name, name): taken for name, taken in methods(AsyncClient).items()}
    assert methods(Client) == of_async


def test_the_client_that_blocks_is_made_of_the_other(make_sync):
    assert make_sync.differing() == []


def test_answers_have_all_of_their_fields(document):
    schemas = {**document["components"]["schemas"]}
    schemas["Ciphertext"] = schemas["EncryptedData"]
    classes = {
        name: value
        for name, value in vars(models).items()
        if dataclasses.is_dataclass(value) and name in schemas
    }
    assert classes.keys() >= {"Key", "Signature", "Ciphertext", "Token", "Algorithm", "Profile"}
    for name, value in classes.items():
        kept = {field.name for field in dataclasses.fields(value)}
        shown = {snake(each).replace("#", "_") for each in properties(document, schemas[name])}
        assert kept >= shown - NOT_KEPT, name


def test_every_slug_has_a_class():
    assert ProblemError.by_slug.keys() == {error.slug for error in error_classes()}
    for error in error_classes():
        body = {"type": f"urn:minikms:problem:{error.slug}", "status": error.status}
        found = problem({**body, "title": error.title, "detail": "Text."})
        assert (type(found).__name__, found.slug) == (error.__name__, error.slug)
        shared = ProblemError.by_status.get(error.status, ProblemError)
        assert isinstance(found, shared)
        assert getattr(minikms_client, error.__name__) is type(found)


def test_a_slug_of_a_later_service_has_the_class_of_its_status():
    body = {"type": "urn:minikms:problem:new-one", "status": 404, "title": "T", "detail": "D."}
    found = problem(body)
    assert type(found) is minikms_client.NotFound
    assert found.slug == "new-one"
    assert type(problem({**body, "status": 418})) is ProblemError
