"""Who calls, as far as the connection itself tells."""

from aiohttp import web
from cryptography import x509


def certificate_subject(request: web.BaseRequest) -> str | None:
    """The subject of the caller's certificate (RFC 4514); None where none was asked for.

    It is to be had while the connection is there: at the beginning of a request, not at its end.
    """
    tls = request.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls else None
    if certificate is None:
        return None
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
