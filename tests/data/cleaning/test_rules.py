"""Limits and verdicts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from groundup.data.cleaning import (
    RULES,
    SCORE_SCHEMA,
    SCORES,
    C4Config,
    CleaningConfig,
    FineWebConfig,
    GopherQualityConfig,
    RepetitionConfig,
    judge,
)
from groundup.recipe import data_recipe
from groundup.runtime import to_dict

WEB = CleaningConfig(preset="web", languages=("en",), min_characters=10, max_characters=10_000)


def row(**scores: Any) -> dict[str, Any]:
    """Scores that break no rule, but for those given."""
    fine = dict.fromkeys(SCORES, 0.0) | {
        "language": "en",
        "language_score": 0.99,
        "n_characters": 1000.0,
        "n_words": 200.0,
        "gopher_words": 180.0,
        "gopher_mean_word_length": 5.0,
        "gopher_alphabetic_words": 0.9,
        "gopher_alphabetic_full_words": 0.95,
        "gopher_stop_words": 4.0,
        "c4_sentences": 12.0,
        "fineweb_end_mark_lines": 0.8,
        "listed_words": None,
        "quality": None,
    }
    return {"id": "x", **fine, **scores}


def verdict(config: CleaningConfig, **scores: Any) -> str | None:
    return judge(pa.Table.from_pylist([row(**scores)], schema=SCORE_SCHEMA), config)[0][0]


def test_what_breaks_no_rule_is_kept() -> None:
    table = pa.Table.from_pylist([row()], schema=SCORE_SCHEMA)
    reasons, values = judge(table, WEB)
    assert reasons == [None]
    assert math.isnan(values[0])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason)
def test_each_rule_keeps_what_is_at_its_limit_and_drops_what_is_beyond(rule: Any) -> None:
    config = CleaningConfig(
        preset="web",
        languages=("en",),
        min_characters=10,
        max_characters=10_000,
        word_list=Path("words.txt"),
        classifier=Path("classifier.json"),
    )
    if rule.field == "gopher_quality.min_alphabetic_words":  # the preset asks the other one
        config = replace(config, gopher_quality=GopherQualityConfig())
    limit = rule.limit(config)
    assert limit is not None
    beyond = limit - 1e-6 if rule.drops == "below" else limit + 1e-6
    assert verdict(config, **{rule.score: limit}) is None
    assert verdict(config, **{rule.score: beyond}) == rule.reason


def test_every_rule_has_a_score_a_source_and_a_reason_of_its_own() -> None:
    assert {rule.score for rule in RULES} <= set(SCORES)
    assert all(rule.source for rule in RULES)
    assert len({rule.reason for rule in RULES}) == len(RULES)


def test_the_first_rule_of_the_order_is_the_reason() -> None:
    bad = {"n_characters": 3.0, "repetition_lines": 1.0, "gopher_words": 1.0, "c4_sentences": 0.0}
    table = pa.Table.from_pylist([row(**bad)], schema=SCORE_SCHEMA)
    assert judge(table, WEB) == (["too_few_characters"], [3.0])
    order = ["repetition_lines", "gopher_words", "c4_sentences"]
    reasons = ["too_many_duplicate_lines", "too_few_words", "too_few_sentences"]
    for i, reason in enumerate(reasons):
        assert verdict(WEB, **{name: bad[name] for name in order[i:]}) == reason


def test_languages_are_kept_by_name_and_by_certainty() -> None:
    assert verdict(WEB, language="de") == "other_language"
    assert verdict(WEB, language_score=0.5) == "language_unsure"
    assert verdict(CleaningConfig(preset="web"), language="de", language_score=0.1) is None


def test_rules_of_english_are_not_asked_of_others() -> None:
    config = CleaningConfig(preset="web")
    assert verdict(config, gopher_stop_words=0.0) == "too_few_stop_words"
    assert verdict(config, gopher_stop_words=0.0, language=None) == "too_few_stop_words"
    assert verdict(config, gopher_stop_words=0.0, language="fi") is None
    assert verdict(config, gopher_mean_word_length=1.0) == "words_too_short"
    assert verdict(config, gopher_mean_word_length=1.0, unspaced_words=0.9) is None
    unknown = {"gopher_stop_words": 0.0, "language": None, "unspaced_words": 0.9}
    assert verdict(config, **unknown) is None


def test_presets_and_groups() -> None:
    listy = {"fineweb_newlines_per_word": 0.9}
    assert verdict(CleaningConfig(preset="web"), **listy) == "too_many_newlines"
    assert verdict(CleaningConfig(preset="light"), **listy) is None
    assert verdict(CleaningConfig(preset="web", fineweb=None), **listy) is None
    mine = FineWebConfig(max_newlines_per_word=0.95)
    assert verdict(CleaningConfig(preset="web", fineweb=mine), **listy) is None
    assert verdict(CleaningConfig(preset="none", fineweb=FineWebConfig()), **listy) is not None
    said_again = {"repetition_10_grams": 0.45}
    assert verdict(CleaningConfig(preset="light"), **said_again) == "too_many_repeated_10_grams"
    assert verdict(CleaningConfig(preset="none"), **said_again) is None
    a_play = {"repetition_lines": 0.45, "repetition_5_grams": 0.2, "repetition_top_4_gram": 0.9}
    assert verdict(CleaningConfig(preset="light"), **a_play) is None
    assert verdict(CleaningConfig(preset="web"), **a_play) == "too_many_duplicate_lines"


def test_a_mapping_says_what_differs_from_the_presets_group() -> None:
    web = CleaningConfig(preset="web").rules
    config = CleaningConfig(
        preset="web",
        fineweb={"max_short_lines": 0.9},
        gopher_quality={"min_words": 5},
        c4={"min_sentences": 1},
    )
    assert config.rules.fineweb == replace(web.fineweb, max_short_lines=0.9)
    assert config.rules.gopher_quality == replace(web.gopher_quality, min_words=5)
    assert config.rules.c4 == replace(web.c4, min_sentences=1)
    assert config.rules.repetition == web.repetition
    assert CleaningConfig(**to_dict(config)) == config
    light = CleaningConfig(preset="light", repetition={"max_top_2_gram": 0.1}).rules.repetition
    assert (light.max_top_2_gram, light.max_repeated_5_grams) == (0.1, None)
    bare = CleaningConfig(preset="none", gopher_quality={"min_words": 5}).rules.gopher_quality
    limits = {k: v for k, v in to_dict(bare).items() if v is not None}
    assert limits == {"min_words": 5}  # and no limit that nobody asked for
    one = CleaningConfig(preset="none", c4={"refuse_lorem_ipsum": True}).rules.c4
    assert (one.refuse_lorem_ipsum, one.refuse_curly_bracket, one.min_sentences) == (
        True,
        False,
        None,
    )
    assert CleaningConfig(preset="none", c4={}).rules.c4 == C4Config()
    assert CleaningConfig(languages="en").languages == ("en",)
    with pytest.raises(ValueError, match="languages=english is no code"):
        CleaningConfig(languages=("english",))
    whole = CleaningConfig(preset="web", c4=C4Config(min_sentences=1)).rules.c4
    assert whole.require_end_mark


def test_keys_on_the_command_line_start_from_the_preset_in_any_order() -> None:
    sets = ["cleaning.fineweb.max_short_lines=0.9", "cleaning.c4=null", "cleaning.preset=web"]
    rules = data_recipe(["x"], sets).data.cleaning.rules
    web = CleaningConfig(preset="web").rules
    assert rules == replace(web, c4=None, fineweb=replace(web.fineweb, max_short_lines=0.9))


def test_source_code_is_asked_no_rule_on_prose() -> None:
    bad = {"repetition_lines": 0.9, "gopher_words": 1.0, "c4_curly_bracket": 1.0, "language": "af"}
    assert verdict(WEB, **bad) == "other_language"
    assert verdict(WEB, **bad, code=1.0) is None
    assert verdict(WEB, **bad, code=0.9) == "other_language"
    assert verdict(WEB, **bad, code=1.0, n_characters=3.0) == "too_few_characters"
    assert verdict(WEB, code=1.0, language_score=0.1) is None


def test_ends_of_sentences_are_not_asked_for_where_a_script_has_no_mark_for_them() -> None:
    config = CleaningConfig(preset="web")
    bare = {"language": "th", "c4_sentences": 1.0, "fineweb_end_mark_lines": 0.0}
    assert verdict(config, **bare) == "too_few_sentences"
    assert verdict(config, **bare, unspaced_words=0.9, unmarked_words=0.9) is None
    assert verdict(config, **bare, unspaced_words=0.9) == "too_few_sentences"  # Chinese


def test_the_published_thresholds_stand() -> None:
    """Gopher's table A1 and section A.1.1, C4's section 2.2, FineWeb's section 3.6."""
    assert list(vars(RepetitionConfig()).values()) == [
        *(0.3, 0.3, 0.2, 0.2),
        *(0.2, 0.18, 0.16),
        *(0.15, 0.14, 0.13, 0.12, 0.11, 0.1),
    ]
    gopher = [50, 100_000, 3, 10, 0.1, 0.1, 0.9, 0.3, 0.8, None, 2]
    assert list(vars(GopherQualityConfig()).values()) == gopher
    assert (C4Config().min_line_words, C4Config().min_sentences) == (3, 5)
    assert list(vars(FineWebConfig()).values()) == [0.12, 0.67, 30, 0.1, 0.3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_characters": 9, "max_characters": 3}, "at most max_characters=3"),
        ({"languages": ()}, "keeps nothing"),
        ({"languages": ("en",), "identify_language": False}, "identify_language=true"),
        ({"min_quality": 2.0}, "min_quality=2.0 must be from 0 to 1"),
        ({"preset": "webb"}, "preset"),
        ({"pii": "drop"}, "pii"),
        ({"gopher_quality": {"min_wrods": 3}}, "min_wrods"),
    ],
)
def test_what_does_not_hold_together_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CleaningConfig(**settings)


def test_off_and_norwegian_are_what_they_say() -> None:
    """YAML reads both words as false."""
    cleaning = data_recipe(["x"], ["cleaning.pii=off", "cleaning.languages=[en, no]"]).data.cleaning
    assert (cleaning.pii, cleaning.languages) == ("off", ("en", "no"))
