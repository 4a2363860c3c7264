"""A file under a second name, without a second copy where the disk can do that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from groundup.runtime import storage_errors


def link_or_copy(file: Path, to: Path) -> None:
    """Give a file one more name; copy it where the file system has no hard links.

    Neither may be written to afterwards: both names are one file.
    """
    with storage_errors(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, to)
        except OSError:
            shutil.copyfile(file, to)
