"""What decides a corpus, wherever it lies: settings without places, hashes of what they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundup.data.cleaning import CleaningConfig
from groundup.data.config import DataConfig
from groundup.data.decontaminate import benchmark_hashes
from groundup.runtime import DataError, hash_file

# Where something lies, and what decides only whether there will be a corpus at all
FILES = ("word_list", "classifier")  # settings of cleaning that name one
_PLACES = ("path", "strict", *FILES)


def without_places(value: Any) -> Any:
    """Settings, as plain values, without where sources and the other files that they name lie.

    >>> without_places({"sources": [{"path": "/a/b", "weight": 2.0}], "reading": {"strict": True}})
    {'sources': [{'weight': 2.0}], 'reading': {}}
    """
    if isinstance(value, Mapping):
        return {key: without_places(v) for key, v in value.items() if key not in _PLACES}
    return [without_places(one) for one in value] if isinstance(value, list | tuple) else value


def files_used(config: DataConfig) -> dict[str, Any]:
    """The hash of the word list, of the classifier and of each evaluation set, where there are any.

    Raises DataError for one that cannot be read.
    """
    used: dict[str, Any] = dict(cleaning_files(config.cleaning))
    if hashes := benchmark_hashes(config.decontamination):
        used["benchmarks"] = hashes
    return used


def cleaning_files(config: CleaningConfig) -> dict[str, str]:
    """The hashes of the word list and of the classifier, those of them that are set.

    Raises DataError for one that cannot be read.
    """
    used: dict[str, str] = {}
    for name in FILES:
        path = getattr(config, name)
        if path is None:
            continue
        try:
            used[name] = hash_file(path)
        except OSError as error:
            raise DataError(
                f"cleaning.{name}={path} cannot be read ({error.strerror or error}); "
                "give another file, or leave it out"
            ) from error
    return used
