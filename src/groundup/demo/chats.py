"""Conversations for fine-tuning: stories, questions on them, sums, facts, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from groundup.demo import sentences
from groundup.demo.stories import Story, shuffled_nouns, tell
from groundup.demo.world import CHARACTERS, DemoConfig, Triple, facts, sums, triples
from groundup.runtime import derive_seed

Chat = list[dict[str, str]]
Turn = tuple[str, str]

STORY_REQUESTS = (
    "Write a story about {0}, {1} and {2}.",
    "Tell me a story about {0}, {1} and {2}.",
    "Can you write a short story with {0}, {1} and {2}?",
    "Please tell me a story with {0}, {1} and {2}.",
    "I want to hear a story about {0}, {1} and {2}.",
    "Make up a story about {0}, {1} and {2}.",
    "Please write something about {0}, {1} and {2}.",
    "Do you know a story about {0}, {1} and {2}?",
    "Can you tell me a story about {0}, {1} and {2}?",
    "I would like a story with {0}, {1} and {2}.",
    "Write a short story about {0}, {1} and {2}, please.",
    "A story about {0}, {1} and {2}, please.",
)
READ_REQUESTS = (
    "Read this story. {story} {question}",
    "Here is a story. {story} {question}",
    "{story} {question}",
    "Read this story and answer. {story} {question}",
)
SYSTEM_MESSAGES = (
    "You are groundup, a small language model.",
    "You are a helpful language model.",
    "Answer in simple words.",
    "Be kind and short.",
)
# Shares of the chats by skill; they sum to one.
_SHARES = {
    "story": 0.30,
    "story_question": 0.23,
    "sum": 0.15,
    "fact": 0.12,
    "unknown": 0.12,
    "identity": 0.06,
    "small_talk": 0.02,
}
_SHORT_SKILLS = ("sum", "fact", "unknown", "identity")
# The share of chats on short answers that go on to another one.
_GO_ON = 0.4
_SYSTEM = 0.1


def chats(seed: int, config: DemoConfig) -> Iterator[Chat]:
    """Draw conversations; none holds anything that is held out."""
    rng = Random(derive_seed(seed, "demo", "chats"))
    for _ in range(config.n_chats):
        turns = _draw_turns(rng)
        chat = [message for asked, reply in turns for message in _exchange(asked, reply)]
        if rng.random() < _SYSTEM:
            system = {"role": "system", "content": rng.choice(SYSTEM_MESSAGES)}
            chat.insert(0, system)
        yield chat


def request_story(rng: Random, triple: Triple) -> str:
    """A request for a story about `triple`."""
    return rng.choice(STORY_REQUESTS).format(*shuffled_nouns(rng, triple))


def sum_turn(rng: Random, pair: tuple[int, int]) -> Turn:
    """A sum, plain or as a little problem, and its answer."""
    if min(pair) > 0 and rng.random() < 0.35:
        setting, question, answer = sentences.word_problem(rng, *pair)
        return f"{setting} {question}", answer
    question = rng.choice(sentences.SUM_QUESTIONS).format(a=pair[0], b=pair[1])
    return question, sentences.answer_sum(*pair)


def unknown_question(rng: Random, *, unseen: bool) -> str:
    """A question whose answer the world does not hold."""
    if rng.random() < 0.25:
        return rng.choice(sentences.outside_questions(unseen=unseen))
    name = rng.choice(sentences.UNSEEN_NAMES if unseen else sentences.UNKNOWN_NAMES)
    shapes = rng.choice((*sentences.QUESTIONS.values(), sentences.WHO_IS))
    return rng.choice(shapes).format(n=name)


def who_turn(rng: Random) -> Turn:
    """A question on who somebody in the world is, and its answer."""
    person = rng.choice(CHARACTERS)
    return rng.choice(sentences.WHO_IS).format(n=person.name), sentences.introduce(person)


def _exchange(asked: str, reply: str) -> Chat:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]


def _draw_turns(rng: Random) -> list[Turn]:
    skill = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    if skill in ("story", "story_question"):
        story = tell(rng, rng.choice(triples(unseen=False)))
        return _story_turns(rng, story, with_questions=skill == "story_question")
    if skill == "small_talk":
        greeting, thanks = rng.choice(sentences.GREETINGS), rng.choice(sentences.THANKS)
        return [greeting, _short_turn(rng, rng.choice(_SHORT_SKILLS)), thanks]
    turns = [_short_turn(rng, skill)]
    while len(turns) < 4 and rng.random() < _GO_ON:
        turns.append(_short_turn(rng, rng.choice(_SHORT_SKILLS)))
    return turns


def _story_turns(rng: Random, story: Story, *, with_questions: bool) -> list[Turn]:
    if not with_questions:
        turns = [(request_story(rng, story.triple), story.text)]
        return [*turns, rng.choice(sentences.THANKS)] if rng.random() < 0.05 else turns
    first, second, *_ = story.questions(rng)
    if rng.random() < 0.5:
        given = rng.choice(READ_REQUESTS).format(story=story.text, question=first.question)
        turns = [(given, first.answer)]
    else:
        turns = [(request_story(rng, story.triple), story.text), (first.question, first.answer)]
    return [*turns, (second.question, second.answer)] if rng.random() < 0.5 else turns


def _short_turn(rng: Random, skill: str) -> Turn:
    match skill:
        case "sum":
            return sum_turn(rng, rng.choice(sums(unseen=False)))
        case "fact":
            if rng.random() < 0.15:
                return who_turn(rng)
            person, attribute = rng.choice(facts(unseen=False))
            question = rng.choice(sentences.QUESTIONS[attribute]).format(n=person.name)
            return question, sentences.state_fact(person, attribute)
        case "unknown":
            return unknown_question(rng, unseen=False), rng.choice(sentences.REFUSALS)
        case _:
            question = rng.choice(sentences.IDENTITY_QUESTIONS)
            return question, sentences.answer_identity(rng, question)
