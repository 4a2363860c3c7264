"""What plots are made of: beats in order, each with its sentence shapes, and what all share.

The plots themselves stand in `plots_of_things` and `plots_of_friends`.

Slots in the shapes: `{A}` the animal, `{an}` with its indefinite article, `{he} {him} {his}` its
pronouns; `{O}` `{on}` `{o}` the object with the, with a, bare; `{P}` the place, `{at}` at the
place; `{B}` the other one in the story, `{bn}` at first mention, `{bhe} {bhis}` the pronouns;
`{W}` the weather, `{spot}` where something lies, `{other_spot}` where it does not, `{trap}` where
it is stuck, `{food}` something to eat. Sentences are capitalised when a story is put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Shapes = tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question on a story: its shapes, the answer's shape, and the word that must be in it."""

    kind: str
    ask: Shapes
    answer: str
    expected: str
    only_happy: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot: beats that fit either ending, then what happens in a happy or a sad one.

    `optional` names the beats, counted from zero, of which one may be left out.
    """

    beats: tuple[Shapes, ...]
    optional: tuple[int, ...]
    happy: Shapes
    sad: Shapes
    questions: tuple[Question, ...]


SPOTS: Mapping[str, str] = {
    "leaf": "under a leaf",
    "rock": "behind a rock",
    "grass": "in the tall grass",
    "bush": "under a bush",
    "log": "inside a log",
    "tree": "behind a tree",
    "nest": "in a nest",
}
TRAPS: Mapping[str, str] = {
    "hole": "in a deep hole",
    "tree": "in a tall tree",
    "mud": "in the mud",
    "log": "under a log",
    "rock": "under a rock",
}
WEATHERS = ("rain", "snow", "wind", "fog", "storm")

OPENINGS: Shapes = (
    "One day {an} was {at}.",
    "Once there was {an} who lived {at}.",
    "There was once {an} {at}.",
    "One morning {an} went for a walk {at}.",
    "One fine morning, {an} came to {P}.",
    "{an} lived {at} and liked to play there.",
    "Long ago, {an} had a small home {at}.",
    "On a quiet day, {an} walked to {P}.",
    "Early one day, {an} woke up {at}.",
    "One evening {an} sat {at}.",
    "A long time ago, {an} lived {at}.",
    "One warm day, {an} was playing {at}.",
)

ARRIVALS: Shapes = (
    "Then {bn} came to {P}.",
    "{bn} saw {him} and stopped.",
    "Soon {bn} walked by.",
    "{bn} heard {him} and came to help.",
    "Just then {bn} came along.",
    "After a while, {bn} came to {P}.",
)

# The last sentence of every story is one of these, so a program can tell the endings apart.
HAPPY_CLOSINGS: Shapes = (
    "{A} smiled and went home happy.",
    "{A} and {B} were happy all day.",
    "From then on, {A} and {B} were good friends.",
    "They laughed and danced until night.",
    "It was the best day of all for {A}.",
    "{A} was so happy that {he} sang a song.",
    "{A} laughed, and {B} laughed too.",
    "That night {A} went to sleep with a smile.",
    "They ate {food} together and were glad.",
    "{A} felt warm and glad inside.",
)
SAD_CLOSINGS: Shapes = (
    "{A} cried and went home alone.",
    "{A} and {B} were sad all day.",
    "From then on, {A} was often sad.",
    "{A} sat down and cried until night.",
    "It was a sad day for {A}.",
    "{A} was so sad that {he} did not eat.",
    "{A} cried, and nobody smiled.",
    "That night {A} went to bed with tears in {his} eyes.",
    "There was no song that day, only tears.",
    "{A} felt cold and sad inside.",
)

ANY_STORY: tuple[Question, ...] = (
    Question("who", ("Who is the story about?",), "The story is about {an}.", "{a}"),
    Question(
        "place",
        ("Where was {A}?", "Where did the story happen?"),
        "{A} was {at}.",
        "{p}",
    ),
    Question(
        "feeling",
        ("How did {A} feel at the end?", "Was {A} happy or sad at the end?"),
        "{A} was {feeling} at the end.",
        "{feeling}",
    ),
)


def object_question(ask: str, answer: str) -> Question:
    """A question whose answer is the story's object."""
    return Question("object", (ask,), answer, "{o}")


def other_question(ask: str, answer: str) -> Question:
    """A question whose answer is the other one in the story."""
    return Question("who", (ask,), answer, "{b}")
