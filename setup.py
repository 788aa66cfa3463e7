"""The packages of the wheel, which are in two folders; everything else is in setup.cfg."""

from setuptools import find_packages, setup

DOORS = find_packages("doors")

setup(
    packages=[*find_packages(include=["minikms", "minikms.*"]), *DOORS],
    package_dir={name: f"doors/{name}" for name in DOORS},
)
