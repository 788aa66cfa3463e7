"""What a listing's query may say beyond its schema."""

from aiohttp import web

from minikms.errors import ValidationFailed


def strict_limit(request: web.Request) -> None:
    """Raise ValidationFailed for the forms of a number that Python's int() alone would take."""
    text = request.query.get("limit", "0")
    if not (text.isascii() and text.isdigit()):
        raise ValidationFailed(errors=[("#/limit", "Must be a number of decimal digits.")])
