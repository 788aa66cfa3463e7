"""deploy/health.py, the HEALTHCHECK of the image, beside a service of the same variables."""

import subprocess
import sys

import pytest
from deploy.deployment import DEPLOY, ROOT
from minikms_processes import environment
from tls_certificates import Authority


@pytest.mark.process
@pytest.mark.parametrize(
    "tls", [(), ("tls_cert", "tls_key"), ("tls_cert", "tls_key", "tls_client_ca")]
)
def test_a_service_is_healthy_with_and_without_tls(serve, tmp_path, tls):
    one = Authority(tmp_path, "one")
    certificate = dict(zip(("tls_cert", "tls_key"), one.issue("kms"), strict=True))
    variables = {name: (certificate | {"tls_client_ca": one.file})[name] for name in tls}
    service = serve("--port", "0", **variables)

    def health(**given):
        command = (sys.executable, DEPLOY / "health.py")
        given = environment(port=str(service.port), **given)
        return subprocess.run(command, env=given, capture_output=True, timeout=30).returncode

    assert health(**variables) == 0
    assert health(**({} if tls else certificate)) == 1


def test_the_image_has_it():
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "COPY deploy/health.py /health.py\n" in dockerfile
    assert 'CMD ["python", "/health.py"]\n' in dockerfile
    assert "!deploy/health.py\n" in (ROOT / ".dockerignore").read_text("utf-8")
