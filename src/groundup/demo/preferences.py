"""Preference pairs: the same story twice, a happy ending chosen over a sad one."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from groundup.demo.chats import request_story
from groundup.demo.stories import tell
from groundup.demo.world import DemoConfig, triples
from groundup.runtime import derive_seed


def preferences(seed: int, config: DemoConfig) -> Iterator[dict[str, Any]]:
    """Draw pairs `{"prompt": messages, "chosen": reply, "rejected": reply}`.

    Both replies tell the same beats; only what happens last differs. None holds anything that is
    held out.
    """
    rng = Random(derive_seed(seed, "demo", "preferences"))
    for _ in range(config.n_preferences):
        story = tell(rng, rng.choice(triples(unseen=False)))
        yield {
            "prompt": [{"role": "user", "content": request_story(rng, story.triple)}],
            "chosen": story.with_ending(happy=True),
            "rejected": story.with_ending(happy=False),
        }
