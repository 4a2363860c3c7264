"""metrics.jsonl: one JSON object a line, appended as the run goes, cut back when it resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from groundup.runtime import storage_errors, write_text


class MetricsFile:
    """Appends lines to a file; every line holds at least a `step`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, step: int, figures: Mapping[str, float]) -> None:
        """Write one line. Numbers that are not finite become null: JSON has no word for them."""
        values = {
            key: value if math.isfinite(value) else None
            for key, value in {"step": step, **figures}.items()
        }
        with storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines after `step`, and a last line that was cut short."""
        if self.path.exists():
            kept = [line for line in self if line["step"] <= step]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def __iter__(self) -> Iterator[dict[str, float]]:
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:
                    return
