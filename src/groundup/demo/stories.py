"""Stories of 45 to 75 words: an animal, an object and a place, a plot, and a happy or sad end.

`tell` draws one story. The two endings of a story differ only in its last two shapes, and the last
sentence is always one of a fixed set, so `is_happy_ending` can tell the endings apart by program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from groundup.demo.plots import (
    ANY_STORY,
    HAPPY_CLOSINGS,
    OPENINGS,
    SAD_CLOSINGS,
    SPOTS,
    TRAPS,
    WEATHERS,
    Plot,
    Question,
)
from groundup.demo.plots_of_friends import PLOTS_OF_FRIENDS
from groundup.demo.plots_of_things import PLOTS_OF_THINGS
from groundup.demo.world import (
    ANIMALS,
    CHARACTERS,
    FOODS,
    MAKEABLE,
    NAMES,
    NOT_RUNNERS,
    OBJECTIVE,
    OBJECTS,
    PLACES,
    POSSESSIVE,
    Triple,
    at_place,
    is_held_out_pair,
    with_article,
)

PLOTS: Mapping[str, Plot] = {**PLOTS_OF_THINGS, **PLOTS_OF_FRIENDS}
# How often a story leaves out one of its plot's optional beats.
_SHORTER = 0.8
N_WORDS = range(45, 76)
FEELINGS = ("happy", "sad")

TITLES = (
    "A story about {0}, {1} and {2}.",
    "The story of {0}, {1} and {2}.",
    "This is a story about {0}, {1} and {2}.",
    "Here is a story with {0}, {1} and {2}.",
    "Story: {0}, {1}, {2}.",
)


@dataclass(frozen=True)
class Answered:
    """A question on a story with its answer.

    expected   the word that a right answer holds
    forbidden  the other words of its kind, of which a right answer holds none
    """

    kind: str
    question: str
    answer: str
    expected: str
    forbidden: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """A story with both of its endings."""

    triple: Triple
    plot: str
    slots: Mapping[str, str]
    body: str
    happy_end: str
    sad_end: str
    is_happy: bool

    @property
    def text(self) -> str:
        """The story with the ending that was drawn."""
        return self.with_ending(happy=self.is_happy)

    def with_ending(self, *, happy: bool) -> str:
        """The same story with the ending that is asked for."""
        return f"{self.body} {self.happy_end if happy else self.sad_end}"

    def questions(self, rng: Random) -> list[Answered]:
        """Every question that the story answers, in any order, each in one of its shapes."""
        slots = {**self.slots, "feeling": FEELINGS[0 if self.is_happy else 1]}
        answered = [
            self._answer(question, rng.choice(question.ask), slots)
            for question in (*ANY_STORY, *PLOTS[self.plot].questions)
            if self.is_happy or not question.only_happy
        ]
        rng.shuffle(answered)
        return answered

    def _answer(self, question: Question, shape: str, slots: Mapping[str, str]) -> Answered:
        asked = fill(shape, slots)
        expected = question.expected.format_map(slots)
        in_question = set(re.findall(r"\w+", asked))
        forbidden = tuple(
            word
            for word in _words_of_kind(question.kind)
            if word != expected and (word not in in_question or question.kind == "feeling")
        )
        return Answered(question.kind, asked, fill(question.answer, slots), expected, forbidden)


def tell(rng: Random, triple: Triple, *, happy: bool | None = None) -> Story:
    """Draw a story about `triple`; its ending is drawn too unless `happy` is given.

    A story about a seen triple holds no held-out pair at all, whoever else is in it.
    """
    is_happy = rng.random() < 0.5 if happy is None else happy
    name = rng.choice(_plots_for(triple))
    plot = PLOTS[name]
    slots = _draw_slots(rng, triple)
    while True:
        shapes = [rng.choice(OPENINGS), *_draw_beats(rng, plot)]
        if sum("{P}" in shape or "{at}" in shape for shape in shapes) < 2:
            continue  # the place would not come back
        body = " ".join(fill(shape, slots) for shape in shapes)
        ends = [
            f"{fill(rng.choice(outcomes), slots)} {fill(rng.choice(closings), slots)}"
            for outcomes, closings in ((plot.happy, HAPPY_CLOSINGS), (plot.sad, SAD_CLOSINGS))
        ]
        if _is_well_made(body, ends, triple):
            return Story(triple, name, slots, body, ends[0], ends[1], is_happy)


def title(rng: Random, triple: Triple) -> str:
    """A first line that says what a story is about."""
    return rng.choice(TITLES).format(*shuffled_nouns(rng, triple))


def shuffled_nouns(rng: Random, triple: Triple) -> list[str]:
    """The triple's words with their articles, in any order."""
    nouns = [with_article(word) for word in triple.words]
    rng.shuffle(nouns)
    return nouns


def is_happy_ending(story: str) -> bool | None:
    """Whether a story's last sentence is one of the happy or sad closings; None if neither.

    >>> is_happy_ending("Once there was a fox. The fox smiled and went home happy.")
    True
    >>> is_happy_ending("Once there was a fox. The fox sat down and cried until night.")
    False
    >>> is_happy_ending("Once there was a fox.") is None
    True
    """
    sentences = re.split(r'(?<=[.!?])"? +', story.strip())
    happy, sad = _closing_patterns()
    last = sentences[-1]
    if happy.fullmatch(last):
        return True
    return False if sad.fullmatch(last) else None


def fill(shape: str, slots: Mapping[str, str]) -> str:
    """A sentence shape with its slots filled and its sentences capitalised."""
    text = shape.format_map(slots)
    text = text[0].upper() + text[1:]
    if ". " not in text:
        return text
    return re.sub(r"(?<=[.] )[a-z]", lambda match: match.group().upper(), text)


@cache
def _plots_for(triple: Triple) -> tuple[str, ...]:
    return tuple(
        name
        for name in PLOTS
        if (name != "making" or triple.object in MAKEABLE)
        and (name != "race" or triple.animal not in NOT_RUNNERS)
    )


@cache
def _other_animals(triple: Triple) -> tuple[str, ...]:
    return tuple(
        animal
        for animal in ANIMALS
        if animal != triple.animal
        and (triple.is_unseen or not is_held_out_pair(animal, triple.object))
        and (triple.is_unseen or not is_held_out_pair(animal, triple.place))
    )


def _draw_beats(rng: Random, plot: Plot) -> list[str]:
    left_out = rng.choice(plot.optional) if rng.random() < _SHORTER else None
    return [rng.choice(beat) for index, beat in enumerate(plot.beats) if index != left_out]


def _draw_slots(rng: Random, triple: Triple) -> dict[str, str]:
    he = ANIMALS[triple.animal].pronoun
    spot, other_spot = rng.sample(list(SPOTS), 2)
    trap = rng.choice(list(TRAPS))
    weather = rng.choice(WEATHERS)
    slots = {
        "a": triple.animal, "an": with_article(triple.animal), "A": f"the {triple.animal}",
        "o": triple.object, "on": with_article(triple.object), "O": f"the {triple.object}",
        "p": triple.place, "P": f"the {triple.place}", "at": at_place(triple.place),
        "he": he, "him": OBJECTIVE[he], "his": POSSESSIVE[he],
        "w": weather, "W": f"the {weather}", "food": rng.choice(FOODS),
        "spot": SPOTS[spot], "spot_noun": spot, "other_spot": SPOTS[other_spot],
        "trap": TRAPS[trap], "trap_noun": trap,
    }  # fmt: skip
    if rng.random() < 0.6:
        person = rng.choice(CHARACTERS)
        other = {"b": person.name, "bn": person.name, "B": person.name, "bhe": person.pronoun}
    else:
        animal = rng.choice(_other_animals(triple))
        other = {"b": animal, "bn": with_article(animal), "B": f"the {animal}"}
        other["bhe"] = ANIMALS[animal].pronoun
    return {**slots, **other, "bhis": POSSESSIVE[other["bhe"]]}


def _is_well_made(body: str, ends: list[str], triple: Triple) -> bool:
    """Whether either ending gives the right length and every word comes back."""
    words = re.findall(r"\w+", body)
    return all(len(words) + len(end.split()) in N_WORDS for end in ends) and all(
        words.count(word) >= 2 for word in triple.words
    )


@cache
def _words_of_kind(kind: str) -> tuple[str, ...]:
    match kind:
        case "who":
            return (*ANIMALS, *NAMES)
        case "object":
            return tuple(OBJECTS)
        case "place":
            return tuple(PLACES)
        case "feeling":
            return FEELINGS
        case "weather":
            return WEATHERS
        case _:
            return tuple(dict.fromkeys((*SPOTS, *TRAPS)))


@cache
def _closing_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    someone = rf"(?:[Tt]he (?:{'|'.join(ANIMALS)})|{'|'.join(NAMES)})"
    slots = {"A": someone, "B": someone, "he": "(?:he|she)", "his": "(?:his|her)"}
    slots["food"] = "[a-z]+"
    happy, sad = (
        re.compile("|".join(shape.replace(".", r"\.").format_map(slots) for shape in closings))
        for closings in (HAPPY_CLOSINGS, SAD_CLOSINGS)
    )
    return happy, sad
