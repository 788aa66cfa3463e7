"""The files of deploy/, and the names that they may use."""

import re
import shutil
from pathlib import Path

import pytest

from minikms.config import ENV_PREFIX, OPTIONS
from minikms.doors.registry import installed_doors

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

UNIT = (DEPLOY / "systemd/minikms.service").read_text("utf-8")


def tool(name, package):
    """Skip a test without this program of a Debian package."""
    return pytest.mark.skipif(
        shutil.which(name) is None, reason=f"{name} is missing: apt-get install {package}"
    )


def settings(name):
    """The values of a setting of the unit, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def variables():
    """Every variable that `minikms serve` reads."""
    doors = (f"{name}_{option}" for name in installed_doors() for option in ("port", "host"))
    return {
        f"{ENV_PREFIX}{name.upper()}" for name in (*(option.name for option in OPTIONS), *doors)
    }


def named_variables(text):
    """The variables of the service that a file names."""
    return set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]+\b", text))
