"""Imports the modules that agents import at startup, before they are forked."""

import gc
import importlib
from pathlib import Path

import acapy_agent

ROOT = Path(acapy_agent.__file__).parent

for path in sorted([*ROOT.rglob("routes.py"), *ROOT.glob("resolver/default/*.py")]):
    importlib.import_module(".".join(path.relative_to(ROOT.parent).with_suffix("").parts))
for name in ("acapy_agent.commands.start", "acapy_minikms", "agents", "pytest"):
    importlib.import_module(name)
gc.freeze()
