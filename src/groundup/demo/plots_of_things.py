"""Plots in which a thing is lost, stuck, made, found or caught in bad weather.

`groundup.demo.plots` says what the slots in the shapes stand for.
"""

from __future__ import annotations

from collections.abc import Mapping

from groundup.demo.plots import ARRIVALS, Plot, Question, object_question, other_question

LOST = Plot(
    beats=(
        (
            "{he} had {on}, but now it was gone.",
            "{he} had lost {on} and looked for it.",
            "{he} had {on}, but it fell out of {his} bag.",
            "{he} put down {on}, and then {he} forgot where it was.",
            "{he} wanted to play with {his} {o}, but {he} could not find it.",
        ),
        (
            "{A} looked and looked, but {he} saw nothing.",
            "{A} looked {other_spot}, but {O} was not there.",
            "{A} was worried because {he} loved {O}.",
            "So {A} began to look all around {P}.",
            "{A} looked up and down, and {he} was very worried.",
        ),
        ARRIVALS,
        (
            '"I lost my {o}," said {A}. "Will you help me?"',
            '"What is wrong?" asked {B}. "I cannot find my {o}," said {A}.',
            '"Where is my {o}?" asked {A}. "Let us look for it," said {B}.',
            '"Do not cry," said {B}. "We can look for {O}."',
            '"I will help you look for {O}," said {B}.',
        ),
        (
            "They walked up and down {at}.",
            "They looked under leaves and behind stones.",
            "They looked {other_spot} and then all over {P}.",
            "They went back to {P} and looked again.",
        ),
    ),
    optional=(1, 4),
    happy=(
        "At last {B} found {O} {spot}.",
        "Then {A} saw {O} {spot}.",
        "{O} was {spot}, safe and dry.",
        "They looked one more time, and there was {O}, {spot}.",
    ),
    sad=(
        "But they did not find {O}.",
        "Night came, and {O} was still lost.",
        "But {O} was gone for good.",
        "They looked until dark, but {O} was not there.",
    ),
    questions=(
        object_question("What did {A} lose?", "{A} lost {O}."),
        other_question("Who helped {A}?", "{B} helped {A}."),
        Question("spot", ("Where was {O}?",), "{O} was {spot}.", "{spot_noun}", only_happy=True),
    ),
)

STUCK = Plot(
    beats=(
        (
            "{he} was playing with {on} when it got stuck {trap}.",
            "{he} dropped {on}, and it got stuck {trap}.",
            "{he} ran too fast with {on}, and it got stuck {trap}.",
            "{he} had {on}, but now it was stuck {trap}.",
        ),
        (
            "{A} pulled and pulled, but {O} did not move.",
            "{A} tried three times, but {he} could not get {O}.",
            "{A} sat down because {he} did not know what to do.",
            '"Oh no, my {o}!" cried {A}.',
            "{A} called for help as loud as {he} could.",
        ),
        ARRIVALS,
        (
            '"I can help you," said {B}. "We will pull together."',
            '"What is wrong?" asked {B}. "My {o} is stuck," said {A}.',
            '"Can you help me?" asked {A}. "Yes, I will try," said {B}.',
            '"We need a stick," said {B}. "Then we can get {O}."',
        ),
        (
            "{B} found a long stick near {P}.",
            "They pulled as hard as they could.",
            "{B} held {A}, and {A} held {O}.",
            "{B} went back to {P} to find a long stick.",
        ),
    ),
    optional=(1, 4),
    happy=(
        "With one big pull, {O} came out.",
        "Then {O} was free, and {A} held it close.",
        "Together they got {O} back.",
        "They did not give up, and soon {O} was free.",
    ),
    sad=(
        "But they could not get {O} back.",
        "They worked until night, but {O} did not come out.",
        "But {O} did not move, and {B} had to go home.",
        "But it was too hard, so they had to leave {O} there.",
    ),
    questions=(
        object_question("What was stuck?", "{O} was stuck."),
        other_question("Who helped {A}?", "{B} helped {A}."),
        Question("spot", ("Where was {O} stuck?",), "{O} was stuck {trap}.", "{trap_noun}"),
    ),
)

MAKING = Plot(
    beats=(
        (
            "{he} wanted to make {on}.",
            "{he} had no {o}, so {he} wanted to make one.",
            "{he} had an idea and began to make {on}.",
            "{he} needed {on}, so {he} began to make one.",
        ),
        (
            "{he} worked {at} from morning to night.",
            "{A} looked near {P} for all that {he} needed.",
            "It was hard because {A} had never made {on} before.",
            "{A} tried two times, but it was not easy.",
        ),
        ARRIVALS,
        (
            '"What are you making?" asked {B}. "I am making {on}," said {A}.',
            '"May I help you?" asked {B}. "Yes, please," said {A}.',
            '"I know how to make {on}," said {B}. "Let me show you."',
            '"This is too hard," said {A}. "We can do it together," said {B}.',
        ),
        (
            "They worked together {at}.",
            "{B} showed {A} how to do it.",
            "They did not stop until {O} was almost ready.",
            "{B} held one side of {O}, and {A} held the other.",
        ),
    ),
    optional=(1, 4),
    happy=(
        "When {O} was ready, it was the best one of all.",
        "{O} was ready at last, and it looked very good.",
        "They showed {O} to everyone {at}.",
        "Soon {O} was ready, and {A} was very proud.",
    ),
    sad=(
        "But {O} fell apart at once.",
        "But it was too hard, and {O} was never ready.",
        "But {A} made a mistake, and {O} fell apart.",
        "But {O} was not good, and {A} threw it away.",
    ),
    questions=(
        object_question("What did {A} want to make?", "{A} wanted to make {on}."),
        other_question("Who helped {A}?", "{B} helped {A}."),
    ),
)

FINDING = Plot(
    beats=(
        (
            "{he} saw {on} {spot}.",
            "There was {on} {spot}.",
            "{he} looked {spot} and found {on}.",
            "Something was {spot}. It was {on}.",
        ),
        (
            '"Who lost this {o}?" asked {A}.',
            "{A} had never seen such a good {o}.",
            "{A} did not know whose {o} it was.",
            '"What a good {o}!" said {A}.',
        ),
        (
            "{he} took {O} and walked up and down.",
            "{he} asked everyone {at}, but nobody knew.",
            "{he} played with {O} for a while.",
            "{he} held {O} close and looked around.",
        ),
        (
            "Then {bn} came to {P} and looked worried.",
            "{bn} was sitting {at} with tears in {bhis} eyes.",
            "After a while, {bn} came and looked all around.",
            "{bn} was looking for something {at}.",
        ),
        (
            '"Is this your {o}?" asked {A}. "Yes, it is mine," said {B}.',
            '"I lost my {o} here," said {B}. "Do you have it?"',
            '"That is my {o}," said {B}. "May I have it back?"',
            '"I have looked for {O} all day," said {B}.',
        ),
    ),
    optional=(1, 2),
    happy=(
        "So {A} gave {O} back, and {B} gave {him} a hug.",
        '"Here it is," said {A}. "Thank you!" said {B}.',
        "{A} gave {O} back, and they played with it together.",
        "{B} got {O} back and gave {A} some {food}.",
    ),
    sad=(
        "But {A} ran away with {O}, and then nobody played with {him}.",
        "But {A} said no, and {B} walked away in tears.",
        '"No, it is mine now," said {A}, and {B} did not come back.',
        "{A} gave {O} back, but {B} did not say thank you.",
    ),
    questions=(
        object_question("What did {A} find?", "{A} found {on}."),
        other_question("Who had lost it?", "{B} had lost it."),
        Question("spot", ("Where was {O}?",), "{O} was {spot}.", "{spot_noun}"),
    ),
)

WEATHER = Plot(
    beats=(
        (
            "{he} was taking {on} to {his} friend {B}.",
            "{he} had to bring {on} home to {his} friend {B}.",
            "{he} was on the way to {his} friend {B} with {on}.",
            "{he} wanted to show {on} to {his} friend {B}.",
        ),
        (
            "Then {W} came, and {A} had to stop.",
            "But {W} came over {P}, so {A} could not go on.",
            "Because of {W}, {A} had to stop {at}.",
            "{W} was so bad that {A} had to stop {at}.",
        ),
        (
            "{he} held {O} close and waited.",
            "{A} was cold, but {he} kept {O} safe.",
            "{A} sat down with {O} and was afraid.",
            "{A} hid {O} {spot} to keep it safe.",
        ),
        (
            '{B} came and called, "Come here, it is warm!"',
            '"I must bring you {O}," said {A} when {B} came.',
            '"Are you cold?" asked {B}. "Yes, I am," said {A}.',
            '"Stay with me," said {B}. "It is not safe out there."',
        ),
        (
            "They sat side by side {at}.",
            "They waited {at} and told stories.",
            "So they waited near {P} for a long time.",
            "They looked out at {P} and waited.",
        ),
    ),
    optional=(2, 4),
    happy=(
        "Then {W} stopped, and {O} was safe.",
        "Soon the sun came out over {P}, and {O} was safe.",
        "After {W}, {A} gave {O} to {B}.",
        "{W} went away, and they played with {O}.",
    ),
    sad=(
        "When {W} stopped, {O} was gone.",
        "But {O} was lost because of {W}.",
        "{W} did not stop, and {O} got lost on the way.",
        "But {W} was too strong, and they had to leave {O} there.",
    ),
    questions=(
        object_question("What did {A} have?", "{A} had {O}."),
        other_question("Who was the friend of {A}?", "The friend of {A} was {B}."),
        Question(
            "weather",
            ("Why did {A} stop?", "Why did {A} have to stop?"),
            "{A} had to stop because of {W}.",
            "{w}",
        ),
    ),
)

PLOTS_OF_THINGS: Mapping[str, Plot] = {
    "lost": LOST,
    "stuck": STUCK,
    "making": MAKING,
    "finding": FINDING,
    "weather": WEATHER,
}
