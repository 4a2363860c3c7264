"""The embedded world: who lives in it, what is true in it, and what is held out of training.

The world is fixed; a seed only draws texts about it. Everything here is synthetic. The held-out
rules at the end decide, by hash, which combinations no training text may contain, so that checks
on them show what a model learned and not what it memorised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

from groundup.runtime import config, derive_seed


@config
class DemoConfig:
    """How much text to make from the embedded world.

    n_documents    pretraining documents (about 85 tokens each)
    n_chats        conversations for fine-tuning
    n_preferences  preference pairs
    n_checks       checks for each skill and split; fewer where the world holds fewer cases
    """

    n_documents: int = 30_000
    n_chats: int = 6_000
    n_preferences: int = 600
    n_checks: int = 100

    def __post_init__(self) -> None:
        for name in ("n_documents", "n_chats", "n_preferences", "n_checks"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative; try {name}=0")


# --- characters -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Character:
    """A named person and the six facts about them."""

    name: str
    pronoun: str
    kind: str
    colour: str
    home: str
    food: str
    pet: str
    hobby: str
    friend: str


ATTRIBUTES = ("colour", "home", "food", "pet", "hobby", "friend")

CHARACTERS: tuple[Character, ...] = (
    Character("Mia", "she", "girl", "red", "river", "soup", "dog", "painting", "Tom"),
    Character("Tom", "he", "boy", "blue", "hill", "bread", "cat", "singing", "Nora"),
    Character("Lily", "she", "girl", "green", "forest", "cheese", "pony", "reading", "Max"),
    Character("Ben", "he", "boy", "yellow", "bridge", "cake", "parrot", "fishing", "Mia"),
    Character("Anna", "she", "woman", "white", "mill", "rice", "hamster", "baking", "Paul"),
    Character("Max", "he", "boy", "brown", "beach", "honey", "puppy", "swimming", "Leo"),
    Character("Rosa", "she", "woman", "pink", "market", "pie", "kitten", "dancing", "Anna"),
    Character("Sam", "he", "boy", "black", "farm", "corn", "lamb", "running", "Lily"),
    Character("Nora", "she", "girl", "blue", "pond", "jam", "donkey", "sewing", "Emma"),
    Character("Leo", "he", "boy", "red", "tower", "pasta", "dog", "drawing", "Ben"),
    Character("Emma", "she", "girl", "yellow", "school", "toast", "snail", "skating", "Sam"),
    Character("Jack", "he", "man", "green", "lake", "fish", "goldfish", "cooking", "Rosa"),
    Character("Clara", "she", "woman", "brown", "meadow", "salad", "cat", "writing", "Jack"),
    Character("Paul", "he", "man", "white", "cave", "porridge", "pony", "climbing", "Clara"),
)
NAMES = tuple(character.name for character in CHARACTERS)
FOODS = tuple(character.food for character in CHARACTERS)
OBJECTIVE: Mapping[str, str] = {"he": "him", "she": "her"}
POSSESSIVE: Mapping[str, str] = {"he": "his", "she": "her"}


def attribute_values(attribute: str) -> tuple[str, ...]:
    """Every value that some character has for `attribute`, in order of first use."""
    return tuple(dict.fromkeys(str(getattr(person, attribute)) for person in CHARACTERS))


# --- things stories are about ---------------------------------------------------------------------


@dataclass(frozen=True)
class Animal:
    """An animal that stories can be about, its pronoun and what is true of it."""

    pronoun: str
    traits: tuple[str, str, str]


ANIMALS: Mapping[str, Animal] = {
    "fox": Animal("she", ("has red fur", "is clever", "has a long tail")),
    "bear": Animal("he", ("is big and strong", "has brown fur", "sleeps all winter")),
    "rabbit": Animal("he", ("has long ears", "is soft", "hops very fast")),
    "mouse": Animal("she", ("is very small", "has a thin tail", "is quiet")),
    "owl": Animal("he", ("has big eyes", "flies at night", "is wise")),
    "frog": Animal("he", ("is green", "can jump far", "likes the rain")),
    "duck": Animal("she", ("can swim", "has two wings", "is loud")),
    "hedgehog": Animal("he", ("is small and round", "walks at night", "is shy")),
    "squirrel": Animal("she", ("climbs trees", "eats nuts", "has a soft tail")),
    "deer": Animal("she", ("has long legs", "is shy", "runs fast")),
    "wolf": Animal("he", ("has grey fur", "is strong", "sings at night")),
    "goat": Animal("she", ("eats grass", "climbs over rocks", "is loud")),
    "pig": Animal("he", ("is pink and round", "likes mud", "eats a lot")),
    "otter": Animal("she", ("can swim", "has brown fur", "likes to play")),
    "mole": Animal("he", ("digs deep holes", "has small eyes", "is soft and black")),
    "beaver": Animal("he", ("has strong teeth", "can swim", "likes to build")),
    "badger": Animal("she", ("is black and white", "digs deep holes", "is strong")),
    "turtle": Animal("she", ("is slow", "is old and wise", "has short legs")),
    "crow": Animal("he", ("is black", "has two wings", "is clever")),
    "swan": Animal("she", ("is white", "has two wings", "has a long neck")),
}

OBJECTS: Mapping[str, tuple[str, str]] = {
    "lantern": ("gives light", "is made of glass"),
    "kite": ("flies in the wind", "is made of paper"),
    "ball": ("is round", "is good for games"),
    "basket": ("can hold many things", "is made of straw"),
    "umbrella": ("keeps the rain away", "can open and close"),
    "bell": ("rings", "is made of metal"),
    "drum": ("is loud", "is made of wood"),
    "rope": ("is long and strong", "is good for pulling"),
    "key": ("opens a door", "is made of metal"),
    "hat": ("keeps a head warm", "is made of straw"),
    "scarf": ("is long and warm", "is made of wool"),
    "blanket": ("keeps a bed warm", "is made of wool"),
    "cup": ("can hold milk", "is good for drinking"),
    "spoon": ("is good for eating", "is made of wood"),
    "map": ("shows the way", "is made of paper"),
    "coin": ("is small and round", "is made of metal"),
    "shell": ("comes from the sea", "is hard and white"),
    "feather": ("is light", "comes from a bird"),
    "book": ("is full of stories", "is made of paper"),
    "candle": ("gives light", "is made of wax"),
    "mirror": ("shows a face", "is made of glass"),
    "ribbon": ("is long and thin", "looks good in hair"),
    "flute": ("makes music", "is made of wood"),
    "whistle": ("makes a loud sound", "is made of metal"),
}
MAKEABLE = frozenset(
    (
        *("kite", "basket", "drum", "hat", "scarf", "blanket", "lantern"),
        *("flute", "map", "cup", "spoon", "book", "whistle", "rope"),
    )
)
NOT_RUNNERS = frozenset(["owl", "crow", "swan", "turtle", "frog", "duck", "mole"])

PLACES: Mapping[str, tuple[str, str, str]] = {
    "bridge": ("near", "is made of stone", "is old"),
    "river": ("by", "is long", "has cold water"),
    "hill": ("on", "is high", "is green in spring"),
    "forest": ("in", "is full of trees", "is dark at night"),
    "garden": ("in", "is full of flowers", "smells good"),
    "barn": ("near", "is full of straw", "has a big door"),
    "mill": ("by", "makes flour", "has a big wheel"),
    "market": ("at", "is full of people", "is busy in the morning"),
    "cave": ("near", "is dark", "is cold inside"),
    "beach": ("on", "is full of sand", "is by the sea"),
    "school": ("near", "is full of children", "has many rooms"),
    "farm": ("on", "has many fields", "is busy in summer"),
    "pond": ("by", "is small", "has clear water"),
    "tower": ("near", "is very tall", "is made of stone"),
    "meadow": ("in", "is full of grass", "is warm in summer"),
    "lake": ("by", "is wide", "has clear water"),
}


def with_article(noun: str) -> str:
    """`noun` after its indefinite article.

    >>> with_article("owl"), with_article("fox")
    ('an owl', 'a fox')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def at_place(place: str) -> str:
    """Where something at `place` is.

    >>> at_place("river"), at_place("hill")
    ('by the river', 'on the hill')
    """
    return f"{PLACES[place][0]} the {place}"


# --- what is held out of training -----------------------------------------------------------------

# Belongs to the world, not to a run: the same combinations are held out everywhere. Chosen because
# it holds out no word and no number much more often than others.
_WORLD_SEED = 174
HELD_OUT_PAIRS_PERCENT = 11
HELD_OUT_SUMS_PERCENT = 15
LARGEST_OPERAND = 10


@cache
def is_held_out_pair(first: str, second: str) -> bool:
    """Whether no training text may hold both words (two of: an animal, an object, a place)."""
    names = sorted((first, second))
    return derive_seed(_WORLD_SEED, "pair", *names) % 100 < HELD_OUT_PAIRS_PERCENT


@dataclass(frozen=True)
class Triple:
    """What a story is about: an animal, an object and a place."""

    animal: str
    object: str
    place: str

    @property
    def words(self) -> tuple[str, str, str]:
        """The three words."""
        return self.animal, self.object, self.place

    @property
    def is_unseen(self) -> bool:
        """Whether some pair of the three words is held out of training."""
        animal, thing, place = self.words
        return (
            is_held_out_pair(animal, thing)
            or is_held_out_pair(thing, place)
            or is_held_out_pair(animal, place)
        )


@cache
def triples(*, unseen: bool) -> tuple[Triple, ...]:
    """Every triple of the world that is seen in training, or every one that is not."""
    every = (Triple(*words) for words in product(ANIMALS, OBJECTS, PLACES))
    return tuple(triple for triple in every if triple.is_unseen == unseen)


def find_held_out_pairs(text: str) -> list[tuple[str, str]]:
    """The held-out pairs whose two words both occur in `text`; empty for training text."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    groups = [sorted(words & set(kind)) for kind in (ANIMALS, OBJECTS, PLACES)]
    return [
        (first, second)
        for left, right in ((0, 1), (1, 2), (0, 2))
        for first, second in product(groups[left], groups[right])
        if is_held_out_pair(first, second)
    ]


@cache
def is_held_out_sum(first: int, second: int) -> bool:
    """Whether no training text may add these two numbers, in either order."""
    low, high = sorted((first, second))
    return derive_seed(_WORLD_SEED, "sum", low, high) % 100 < HELD_OUT_SUMS_PERCENT


@cache
def sums(*, unseen: bool) -> tuple[tuple[int, int], ...]:
    """Every ordered pair of operands that training adds, or every one that it does not."""
    numbers = range(LARGEST_OPERAND + 1)
    return tuple(pair for pair in product(numbers, numbers) if is_held_out_sum(*pair) == unseen)


@cache
def facts(*, unseen: bool) -> tuple[tuple[Character, str], ...]:
    """The (character, attribute) pairs that are asked in training, or those only ever stated.

    A quarter of the characters is held out for each attribute, by rank of hash.
    """
    return tuple(_facts(unseen))


def _facts(unseen: bool) -> Iterator[tuple[Character, str]]:
    for index, attribute in enumerate(ATTRIBUTES):
        ranked = sorted(
            CHARACTERS,
            key=lambda person: derive_seed(_WORLD_SEED, "fact", attribute, person.name),
        )
        n_held_out = (len(CHARACTERS) + 2 * (index % 2)) // 4
        for person in ranked[:n_held_out] if unseen else ranked[n_held_out:]:
            yield person, attribute
