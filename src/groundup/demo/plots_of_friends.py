"""Plots between two: a gift, sharing, a race, a mistake, a promise.

`groundup.demo.plots` says what the slots in the shapes stand for.
"""

from __future__ import annotations

from collections.abc import Mapping

from groundup.demo.plots import Plot, Question, object_question, other_question

GIFT = Plot(
    beats=(
        (
            "{he} wanted to give {on} to {his} friend {B}.",
            "It was the birthday of {his} friend {B}, so {he} got {on}.",
            "{his} friend {B} was ill, so {he} brought {on} as a gift.",
            "{he} had a gift for {his} friend {B}. It was {on}.",
            "{he} worked all week to get {on} for {his} friend {B}.",
        ),
        (
            "{A} carried {O} all the way to {P}.",
            "{A} hid {O} behind {his} back.",
            "{A} put {O} in a big bag and went to {P}.",
            "{A} cleaned {O} until it looked new.",
        ),
        (
            "The way was long, but {he} did not stop.",
            "The sun was hot, so {he} had to walk slowly.",
            "It was far, and {he} was tired when {he} came to {P}.",
            "{B} was waiting {at}.",
        ),
        (
            '"This is for you," said {A}. "I hope you like it."',
            '"What do you have there?" asked {B}. "It is {on}," said {A}.',
            '"I have something for you," said {A}.',
            '"Is this for me?" asked {B}. "Yes, {O} is for you," said {A}.',
        ),
        (
            "{B} looked at {O} for a long time.",
            "{B} held {O} up to the light.",
            "{B} took {O} and looked at it.",
            "{B} had never had {on} before.",
        ),
    ),
    optional=(1, 2, 4),
    happy=(
        "{B} loved {O} and danced {at}.",
        '"It is the best gift of all," said {B}.',
        "{B} said thank you and gave {A} a hug.",
        '"I love it," said {B}. "Thank you!"',
    ),
    sad=(
        "But {B} did not like {O}.",
        "But {O} was old and dirty, and {B} gave it back.",
        '"I do not want it," said {B}, and {bhe} walked away.',
        "But {B} left {O} on the ground and went away.",
    ),
    questions=(
        object_question("What was the gift?", "The gift was {on}."),
        other_question("Who got the gift?", "{B} got the gift."),
    ),
)

SHARING = Plot(
    beats=(
        (
            "{he} had {on} and played with it all day.",
            "{he} had a new {o} and showed it to everyone.",
            "{he} was very proud because {he} had {on}.",
            "{he} had {on}, and {he} loved it.",
        ),
        (
            "{bn} came to {P} and wanted to play with it too.",
            "{bn} saw {O} and wanted it too.",
            "Then {bn} came and took {O}.",
            "{bn} had nothing to play with, so {bhe} wanted {O} too.",
        ),
        (
            '"It is mine," said {A}. "But I want it too," said {B}.',
            '"Give it to me," said {B}. "No, {O} is mine," said {A}.',
            '"May I have {O} now?" asked {B}. "No," said {A}.',
            '"You have had {O} all day," said {B}.',
        ),
        (
            "They both pulled at {O}.",
            "They stood {at} and did not speak.",
            "{A} ran to the other side of {P} with {O}.",
            "They were so angry that everyone {at} heard them.",
        ),
        (
            "Then {A} stopped and thought about it.",
            "{A} looked at {B} for a while.",
            "{A} sat down {at} to think.",
            "Then it was quiet {at}.",
        ),
    ),
    optional=(3, 4),
    happy=(
        '"Let us share {O}," said {A}, and they played together.',
        "They took turns with {O} until the sun went down.",
        "{A} gave {O} to {B}, and later {B} gave it back.",
        '"I am sorry," said {A}. "We can both play with {O}."',
    ),
    sad=(
        "But {A} did not want to share {O}.",
        "But {B} was angry and left without a word.",
        "In the end, nobody could play with {O}.",
        "{A} took {O} away, and {B} did not come back.",
    ),
    questions=(
        object_question("What did they both want?", "They both wanted {O}."),
        other_question("Who wanted it too?", "{B} wanted it too."),
    ),
)

RACE = Plot(
    beats=(
        (
            "There was a race, and the prize was {on}.",
            "{he} heard about a race. The winner would get {on}.",
            "{he} wanted to win {on} in the big race.",
            "That day there was a race for {on}.",
        ),
        (
            "{bn} wanted to win it too.",
            "{bn} was in the race too.",
            "{bn} came to {P} for the race.",
            "{bn} was fast and wanted to win {O}.",
        ),
        (
            '"I am very fast," said {B}. "We will see," said {A}.',
            '"Good luck," said {B}. "Good luck to you too," said {A}.',
            '"I want {O} so much," said {A}.',
            '"I will win {O}," said {B}. "Let us run," said {A}.',
        ),
        (
            "They ran to {P} and back.",
            "They ran side by side {at}.",
            "They ran from {P} to the big tree.",
            "Everyone {at} called their names.",
        ),
        (
            "{A} thought of {O} and ran faster.",
            "{A} fell down, but {he} got up again.",
            "{B} was ahead, but {A} did not stop.",
            "{A} was tired because the race was long.",
        ),
    ),
    optional=(2, 4),
    happy=(
        "{A} was first and won {O}.",
        "At the end {A} was ahead and won {O}.",
        "{A} and {B} were both first, so they shared {O}.",
        '{A} won {O}, and {B} called out, "Good race!"',
    ),
    sad=(
        "But {A} was too slow, and {B} won {O}.",
        "But {A} fell at the end and lost the race.",
        "But {B} was first and took {O} home.",
        "{B} won {O}, and {A} was last.",
    ),
    questions=(
        object_question("What was the prize?", "The prize was {on}."),
        other_question("Who ran with {A}?", "{B} ran with {A}."),
    ),
)

MISTAKE = Plot(
    beats=(
        (
            "{he} had {on}, but one day it was not there.",
            "{he} looked for {his} {o}, but it was gone.",
            "{he} had left {on} there, and now it was gone.",
            "{he} could not find {his} {o}.",
        ),
        (
            "{A} thought that {bn} had taken it.",
            "{A} saw {bn} {at} and thought that {bhe} had it.",
            "{A} was angry because {bn} had been {at} too.",
            "{A} ran to {bn} and was very angry.",
        ),
        (
            '"You took my {o}," said {A}. "No, I did not," said {B}.',
            '"Give me my {o}!" said {A}. "I do not have it," said {B}.',
            '"Did you take {O}?" asked {A}. "No," said {B}.',
            '"Where is my {o}?" asked {A}. "I do not know," said {B}.',
        ),
        (
            "{B} looked down and did not say a word.",
            "{B} was hurt and walked away from {P}.",
            "{B} went to sit {at} alone.",
            "{A} did not speak to {B} all day.",
        ),
        (
            "Then {A} saw {O} {spot}.",
            "Later {A} found {O} {spot}.",
            "But {O} had been {spot} all the time.",
            "Then {A} looked {spot}, and there was {O}.",
        ),
    ),
    optional=(3,),
    happy=(
        '"I am sorry," said {A}, and {B} gave {him} a hug.',
        '{A} ran to {B} and said, "I was wrong."',
        "{A} said sorry, and {B} came back to {P}.",
        "They talked about it, and {B} was not angry any more.",
    ),
    sad=(
        '"I am sorry," said {A}, but {B} did not come back.',
        "But it was too late, and {B} had gone away.",
        "But {B} was still angry and left {P}.",
        "{A} said sorry, but {B} did not want to talk.",
    ),
    questions=(
        object_question("What was gone?", "{O} was gone."),
        other_question("Who had not taken it?", "{B} had not taken it."),
        Question("spot", ("Where was {O}?",), "{O} was {spot}.", "{spot_noun}"),
    ),
)

PROMISE = Plot(
    beats=(
        (
            "{he} needed {on} for one day.",
            "{he} wanted to play with {on}, but {he} had none.",
            "{he} did not have {on}, and {he} needed one.",
        ),
        (
            "{his} friend {B} had one.",
            "{his} friend {B} came to {P} with a new {o}.",
            "{A} knew that {bn} had one.",
        ),
        (
            '"May I have your {o} today?" asked {A}. "Yes, but bring it back," said {B}.',
            '"Take my {o}," said {B}. "But be back before night."',
            '"I need your {o} today," said {A}. "Take good care of it," said {B}.',
            '"I will bring {O} back," said {A}. "I hope so," said {B}.',
        ),
        (
            "{A} took {O} and played {at} all day.",
            "{A} took {O} and went back to {P}.",
            "{A} put {O} down {at} and played.",
            "{A} had {O} all day, and the day was long.",
        ),
        (
            "When the sun went down, {A} thought of {B}.",
            "Soon it was dark {at}, and {A} was tired.",
            "It was late, and {B} was waiting {at}.",
            "Then it was time to bring {O} back.",
        ),
    ),
    optional=(3, 4),
    happy=(
        "{A} brought {O} back, and {B} said thank you.",
        "{A} ran all the way to {B} and gave {O} back.",
        '"Here is your {o}," said {A}. "Well done," said {B}.',
        "{O} was clean and safe when {B} got it back.",
    ),
    sad=(
        "But {A} had lost {O}, and {B} was angry.",
        "But {A} forgot {O} {at}, and then it was gone.",
        "But {A} did not bring {O} back.",
        "{A} came too late, and {B} was angry.",
    ),
    questions=(
        object_question("What did {A} need?", "{A} needed {on}."),
        other_question("Who had one?", "{B} had one."),
    ),
)

PLOTS_OF_FRIENDS: Mapping[str, Plot] = {
    "gift": GIFT,
    "sharing": SHARING,
    "race": RACE,
    "mistake": MISTAKE,
    "promise": PROMISE,
}
