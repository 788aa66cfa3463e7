"""The bodies of requests and answers, described once: for marshmallow and for OpenAPI."""
