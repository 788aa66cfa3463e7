"""A service that asks for tokens has the usual document, with additions for the token."""

import json

from minikms.config import Config
from minikms.http.problems import CONTENT_TYPE
from minikms.serve.assembly import create_service
from minikms.web.state import DOCUMENT


async def test_documents_with_and_without_tokens_differ_in_nothing_else(start, admin):
    """So what schemathesis finds of a service that asks for a token holds of any other, too."""
    guarded = Config(auth="token", admin_token_file=admin[1])
    documents = [
        json.loads(await (await start(create_service(config))).app[DOCUMENT].content())
        for config in (Config(), guarded)
    ]
    assert [*map(secured, documents)] == [False, True]
    for document in documents:
        leave_out_what_a_token_adds(document)
    assert documents[0] == documents[1]


def secured(document):
    return "securitySchemes" in document["components"]


def leave_out_what_a_token_adds(document):
    """Leave out the place of the token, and the names of problems; their responses stay."""
    document["components"].pop("securitySchemes", None)
    del document["components"]["examples"], document["info"]["description"]
    for item in document["paths"].values():
        for operation in (one for one in item.values() if "responses" in one):
            operation.pop("security", None)
            for response in operation["responses"].values():
                if CONTENT_TYPE in response["content"]:
                    del response["description"], response["content"][CONTENT_TYPE]["examples"]
