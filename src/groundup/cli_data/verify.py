"""`groundup data verify`: is every byte of prepared data as it was written?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from groundup.cli_tokenizer.options import Json, console
from groundup.runtime import DataError

_SHOWN = 10


def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of prepared data, or a run.")
    ],
    as_json: Json = False,
) -> None:
    """Check every hash of prepared data; exit code 2 if anything is not as it was written."""
    from groundup.data.manifest import DATASET, find_manifest, read_manifest
    from groundup.data.manifest import verify as faults_of

    faults = faults_of(folder)
    manifest = read_manifest(folder)
    if as_json:
        found = {"fingerprint": manifest["fingerprint"], "files": len(manifest["files"])}
        print(json.dumps({**found, "faults": faults}, ensure_ascii=False))
    elif not faults:
        console.print(
            f"{len(manifest['files'])} files are as they were written; "
            f"fingerprint {manifest['fingerprint']}"
        )
    if faults:
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        path = find_manifest(folder)
        assert path is not None
        mend = (
            f"delete {path.parent} and build again: a stage that ended is not looked into"
            if path.name == DATASET
            else "the same groundup data prepare makes anew what is damaged, and nothing else"
        )
        raise DataError(f"{'; '.join(faults[:_SHOWN])}{more}; {mend}")
