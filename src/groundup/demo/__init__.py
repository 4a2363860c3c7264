"""The embedded world: documents, chats, preferences and checks, all made from a seed."""

from groundup.demo.chats import chats
from groundup.demo.checks import Check, chance_level, checks
from groundup.demo.documents import documents
from groundup.demo.preferences import preferences
from groundup.demo.stories import is_happy_ending
from groundup.demo.world import DemoConfig

__all__ = [
    "Check",
    "DemoConfig",
    "chance_level",
    "chats",
    "checks",
    "documents",
    "is_happy_ending",
    "preferences",
]
