"""Packages with entry points, as pip leaves them in a folder of the path."""

from pathlib import Path


def leave_package(folder: Path, name: str, group: str, **entries: str) -> None:
    """Leave the metadata of a package that has these entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items()), ""]
    info.joinpath("entry_points.txt").write_text("\n".join(lines))
