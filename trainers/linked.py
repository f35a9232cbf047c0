"""A file of a copied tree, reached over symbolic links: what is written there must not reach the original's target."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def make_own(name: Path, copy: Path, source: Path) -> None:
    """Give `copy`, made of `source` with its links as they are, a file `name` of its own.

    A link that leads to another place of the copy stays. One that leads out of it becomes what it points to: a file, or
    a folder of links to all that is there; the other files of such a folder are still the user's.
    Raises OSError where the source's file cannot be reached.
    """
    (source / name).resolve(strict=True)  # so the links below do not go round in circles
    left = list(name.parts)
    at = copy
    while left:
        at /= left.pop(0)
        if not at.is_symlink():
            continue
        target = Path(os.path.normpath(at.parent / at.readlink()))
        if target.is_relative_to(copy):
            at, left = copy, [*target.relative_to(copy).parts, *left]
        else:
            _replace(at, (source / at.relative_to(copy)).resolve(strict=True))


def _replace(link: Path, real: Path) -> None:
    link.unlink()
    if not real.is_dir():
        shutil.copyfile(real, link)
        return
    link.mkdir()
    for entry in real.iterdir():
        (link / entry.name).symlink_to(entry)
