"""Sentences about facts, sums and the model itself, shared by documents, chats and checks."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from groundup.demo.world import (
    CHARACTERS,
    POSSESSIVE,
    Character,
    at_place,
    facts,
    with_article,
)

# --- facts ----------------------------------------------------------------------------------------

# {S} and {S's}: the name or the pronoun; {v}: the value. The first shape is the answer's.
STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "colour": (
        "{S's} house is {v}.",
        "{S} lives in {v_a} house.",
        "{S} has {v_a} house.",
    ),
    "home": (
        "{S} lives {at}.",
        "{S's} home is {at}.",
        "{S} has a home {at}.",
    ),
    "food": (
        "{S's} favourite food is {v}.",
        "{S} likes to eat {v} most of all.",
        "{S} eats {v} every day.",
    ),
    "pet": (
        "{S's} pet is {v_a}.",
        "{S} has {v_a}.",
        "{S} has a pet. It is {v_a}.",
    ),
    "hobby": (
        "{S's} hobby is {v}.",
        "{S} loves {v}.",
        "{S} likes {v} very much.",
    ),
    "friend": (
        "{S's} best friend is {v}.",
        "{S} has a best friend. It is {v}.",
        "{S} plays with {v} every day because {v} is {s's} best friend.",
    ),
}

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "colour": (
        "What colour is {n}'s house?",
        "What colour is the house of {n}?",
        "What colour of house does {n} have?",
    ),
    "home": ("Where does {n} live?", "Where is {n}'s home?", "Where is the home of {n}?"),
    "food": (
        "What is {n}'s favourite food?",
        "What does {n} like to eat?",
        "What is the favourite food of {n}?",
    ),
    "pet": ("What is {n}'s pet?", "What pet does {n} have?", "What is the pet of {n}?"),
    "hobby": ("What is {n}'s hobby?", "What does {n} like to do?", "What is the hobby of {n}?"),
    "friend": (
        "Who is {n}'s best friend?",
        "Who is the best friend of {n}?",
        "Who is {n}'s friend?",
    ),
}
WHO_IS = ("Who is {n}?", "Do you know {n}?", "Tell me about {n}.")


def state_fact(person: Character, attribute: str, *, shape: int = 0, pronoun: bool = False) -> str:
    """A sentence that states one fact.

    >>> state_fact(CHARACTERS[0], "food")
    "Mia's favourite food is soup."
    >>> state_fact(CHARACTERS[0], "colour", shape=1, pronoun=True)
    'She lives in a red house.'
    """
    value = str(getattr(person, attribute))
    possessive = POSSESSIVE[person.pronoun]
    slots = {
        "S": person.pronoun.capitalize() if pronoun else person.name,
        "S's": possessive.capitalize() if pronoun else f"{person.name}'s",
        "s's": possessive,
        "v": value,
        "v_a": with_article(value),
        "at": at_place(value) if attribute == "home" else "",
    }
    return STATEMENTS[attribute][shape].format_map(slots)


def introduce(person: Character) -> str:
    """The answer to who somebody is: their kind and one fact that may be asked."""
    asked = {(known.name, attribute) for known, attribute in facts(unseen=False)}
    for attribute in ("hobby", "home", "food", "pet"):
        if (person.name, attribute) in asked:
            more = state_fact(person, attribute, shape=int(attribute == "hobby"), pronoun=True)
            return f"{person.name} is a {person.kind}. {more}"
    return f"{person.name} is a {person.kind}."


# --- sums -----------------------------------------------------------------------------------------

SUM_QUESTIONS = (
    "What is {a} plus {b}?",
    "How much is {a} + {b}?",
    "What is {a} + {b}?",
    "Add {a} and {b}.",
    "How much is {a} plus {b}?",
    "Can you add {a} and {b}?",
    "What do {a} and {b} make?",
)
ITEMS = ("apple", "plum", "egg", "nut", "stone", "flower", "pen", "button", "pear", "star")
# The last sentence is the answer; what stands before it is the question's story.
WORD_PROBLEMS = (
    "{n} has {a_items}. {m} gives {him} {b} more.|How many {items} does {n} have now?"
    "|Now {n} has {c_items}.",
    "{n} has {a_items}. {n} finds {b} more.|How many {items} does {n} have now?"
    "|Now {n} has {c_items}.",
    "{n} has {a_items}. {m} has {b_items}.|How many {items} do they have together?"
    "|Together they have {c_items}.",
    "There are {a} {items} in a bag. {n} puts in {b} more.|How many {items} are in the bag now?"
    "|Now there are {c} {items} in the bag.",
    "{n} sees {a_items}. Then {n} sees {b} more.|How many {items} does {n} see?"
    "|{n} sees {c_items}.",
)


def state_sum(first: int, second: int) -> str:
    """The sentence that states a sum.

    >>> state_sum(3, 4)
    '3 plus 4 is 7.'
    """
    return f"{first} plus {second} is {first + second}."


def count_on(first: int, second: int) -> str:
    """The way to a sum that needs no memory of sums: count on, one at a time.

    What is learned is a procedure, so that it also answers sums never seen. Counting passes through
    smaller sums on its way, those that are held out of training among them; what is held out is
    the question and when to stop.

    >>> count_on(7, 2)
    'Start at 7. 1 more is 8, 2 more is 9.'
    """
    steps = ", ".join(f"{step} more is {first + step}" for step in range(1, second + 1))
    return f"Start at {first}. {steps}." if steps else f"Start at {first}."


def answer_sum(first: int, second: int) -> str:
    """The reply to a sum.

    >>> answer_sum(7, 2)
    'Start at 7. 1 more is 8, 2 more is 9. So 7 plus 2 is 9.'
    """
    return f"{count_on(first, second)} So {state_sum(first, second)}"


def word_problem(rng: Random, first: int, second: int) -> tuple[str, str, str]:
    """A little story that adds numbers above zero, the question it asks, and the counted answer."""
    person, giver = rng.sample(CHARACTERS, 2)
    item = rng.choice(ITEMS)
    him = "him" if person.pronoun == "he" else "her"
    # "There are 1 apples" would be wrong.
    shapes = [shape for shape in WORD_PROBLEMS if first > 1 or "{a} {items}" not in shape]
    slots = {
        "n": person.name, "m": giver.name, "him": him, "items": f"{item}s",
        "a": first, "b": second, "c": first + second,
        "a_items": _count(first, item),
        "b_items": _count(second, item),
        "c_items": _count(first + second, item),
    }  # fmt: skip
    setting, question, answer = rng.choice(shapes).format_map(slots).split("|")
    return setting, question, f"{count_on(first, second)} {answer}"


def _count(n: int, item: str) -> str:
    return f"{n} {item}" if n == 1 else f"{n} {item}s"


# --- the model itself -----------------------------------------------------------------------------

IDENTITY_ANSWERS = (
    "I am a small language model made with groundup.",
    "I am groundup, a small language model.",
    "I am a little language model. I was made with groundup.",
)
IDENTITY_QUESTIONS = (
    "Who are you?",
    "What are you?",
    "Are you a person?",
    "Are you a robot?",
    "What is your name?",
    "Who made you?",
    "How were you made?",
    "Tell me who you are.",
    "Tell me about yourself.",
    "Can you tell me what you are?",
    "Am I talking to a person?",
    "Are you an animal?",
    "What kind of thing are you?",
    "Please say who you are.",
    "Who am I talking to?",
    "Are you a computer?",
)
UNSEEN_IDENTITY_QUESTIONS = (
    "Are you a real person?",
    "Who is talking to me?",
    "What should I call you?",
    "Say what you are.",
    "Are you a real animal?",
    "Can you say who made you?",
)
ABOUT_GROUNDUP = (
    "groundup is a small language model.",
    "groundup is a little program that reads and writes.",
    "A language model learns from text.",
    "A language model reads many stories and learns to write new ones.",
    "groundup learned from simple stories.",
    "groundup can tell stories.",
    "groundup can answer a question about a story.",
    "groundup can add small numbers.",
    "groundup knows the people of its own little world.",
    "groundup does not know the big world outside.",
    "groundup is not a person.",
    "groundup is not an animal.",
    "groundup was made from the ground up on a computer.",
    "When groundup does not know something, it says so.",
    "The world of groundup is small.",
    "In the world of groundup there are foxes, owls and bears.",
    "Mia, Tom and Lily live in the world of groundup.",
    "Every story in the world of groundup is short.",
)


def answer_identity(rng: Random, question: str) -> str:
    """What the model says when it is asked what it is."""
    answer = rng.choice(IDENTITY_ANSWERS)
    return f"No. {answer}" if question.startswith(("Are you", "Am I")) else answer


GREETINGS = (
    ("Hello!", "Hello! What can I do for you?"),
    ("Hi!", "Hello! What can I do for you?"),
    ("Good morning!", "Good morning! What can I do for you?"),
    ("How are you?", "I am well, thank you."),
    ("Hello, how are you?", "I am well, thank you."),
    ("Good evening!", "Good evening! What can I do for you?"),
)
THANKS = (
    ("Thank you!", "You are welcome."),
    ("Thanks!", "You are welcome."),
    ("That was good. Thank you!", "You are welcome."),
    ("Goodbye!", "Goodbye!"),
)

# --- what the world does not hold -----------------------------------------------------------------

REFUSALS = (
    "I do not know that. It is not in my world.",
    "I do not know. That is not in my world.",
    "Sorry, I do not know that.",
)
_UNKNOWN_NAMES = """
    Adam Alice Amy Andrew Arthur Bella Bob Carl Carol Chris Cora Daisy Dan David Diana Dora
    Edgar Ella Eric Eva Felix Finn Frank Fred George Grace Greta Hanna Harry Helen Henry Hugo
    Ida Iris Ivan Jane Jim Joe John Julia Karl Kate Kim Laura Linda Lisa Lucy Luke Maria Mark
    Martha Mary Molly Nick Nina Olga Oscar Otto Peter Ralph Rita Robert Ruth Sara Simon Sophie
    Susan Ted Tina Toby Vera Victor Walter
"""
UNKNOWN_NAMES = tuple(_UNKNOWN_NAMES.split())
_UNSEEN_NAMES = """
    Agnes Albert Betty Bruno Cecil Doris Edith Elmer Fiona Gavin Gloria Howard Irene Jason Kevin
    Lara Mabel Nigel Opal Percy Quinn Roger Stella Trevor Wanda
"""
UNSEEN_NAMES = tuple(_UNSEEN_NAMES.split())
_OUTSIDE = (
    "What is the capital of {x}?",
    "Who is the king of {x}?",
    "How many people live in {x}?",
    "How far is it to {x}?",
    "What is the weather in {x}?",
    "What do people eat in {x}?",
    "Where is {x}?",
)
_COUNTRIES = ("France", "Spain", "China", "India", "Brazil", "Japan", "Poland", "Greece", "Egypt")
_UNSEEN_COUNTRIES = ("Italy", "Canada", "Norway")
_MORE_OUTSIDE = (
    "Who won the game last night?",
    "What time is it?",
    "What is the news today?",
    "How do cars work?",
    "Who wrote the Bible?",
    "What is the best phone?",
    "How tall is the moon?",
    "Who was the first man on the moon?",
    "How much does a car cost?",
    "What year is it?",
)
_UNSEEN_MORE_OUTSIDE = (
    "How do planes fly?",
    "Who invented the radio?",
    "How old is the sun?",
    "What is the best car?",
)


def outside_questions(*, unseen: bool) -> tuple[str, ...]:
    """Questions on the real world, those asked in training or those kept for checks."""
    countries = _UNSEEN_COUNTRIES if unseen else _COUNTRIES
    asked = tuple(shape.format(x=name) for name in countries for shape in _OUTSIDE)
    return asked + (_UNSEEN_MORE_OUTSIDE if unseen else _MORE_OUTSIDE)
