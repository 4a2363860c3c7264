"""What the page and the commands of prepared data call things: reasons, stages, languages."""

from __future__ import annotations

import re

from groundup.data.cleaning.rules import OTHER_LANGUAGE, RULES, Rule
from groundup.data.cleaning.scores import SCORES
from groundup.data.reading.reasons import REASONS

STAGES = {
    "read": "read",
    "clean": "clean",
    "dedup_exact": "drop exact copies",
    "dedup_near": "drop near copies",
    "dedup_lines": "cut repeated lines",
    "dedup_substrings": "cut repeated stretches",
    "decontaminate": "drop evaluation items",
    "divide": "divide and cut to size",
    "tokenize": "turn into tokens",
}
OTHERS = {
    OTHER_LANGUAGE: "in a language that is not asked for",
    "empty": "nothing but white space, as it was read or when repaired",
    "exact_duplicate": "the same text as another document, byte for byte",
    "near_duplicate": "nearly the same text as another document",
    "repeated_lines": "lines that stand in other documents too were cut out",
    "only_repeated_lines": "nothing but lines that stand in other documents too",
    "repeated_substrings": "stretches that stand in other documents too were cut out",
    "only_repeated_substrings": "nothing but stretches that stand in other documents too",
    "contaminated_document": "it holds words of an evaluation set",
    "contaminated_span": "words of an evaluation set were cut out",
}
# ISO 639-1 and 639-3 codes of the languages that are met most
LANGUAGES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "ary": "Moroccan Arabic",
    "arz": "Egyptian Arabic", "az": "Azerbaijani", "be": "Belarusian", "bg": "Bulgarian",
    "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto",
    "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "ga": "Irish", "gl": "Galician", "gu": "Gujarati", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh",
    "km": "Khmer", "kn": "Kannada", "ko": "Korean", "la": "Latin", "lt": "Lithuanian",
    "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam", "mr": "Marathi", "ms": "Malay",
    "mt": "Maltese", "ne": "Nepali", "nl": "Dutch", "nb": "Norwegian (Bokmål)",
    "nn": "Norwegian (Nynorsk)", "no": "Norwegian", "pa": "Punjabi", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese", "wuu": "Wu Chinese", "yue": "Cantonese",
    "zh": "Chinese", "zxx": "no language", "und": "no letters",
    "ace": "Acehnese", "an": "Aragonese", "as": "Assamese", "ba": "Bashkir",
    "bcl": "Central Bikol", "br": "Breton", "crh": "Crimean Tatar", "dz": "Dzongkha",
    "ext": "Extremaduran", "fo": "Faroese", "fuv": "Nigerian Fulfulde", "fy": "West Frisian",
    "gcf": "Guadeloupean Creole", "gcr": "Guianese Creole", "gd": "Scottish Gaelic",
    "gom": "Konkani", "grc": "Ancient Greek", "gug": "Guarani", "guw": "Gun", "ha": "Hausa",
    "hbo": "Biblical Hebrew", "ht": "Haitian Creole", "ig": "Igbo", "jv": "Javanese",
    "kab": "Kabyle", "kik": "Kikuyu", "ku": "Kurdish", "ky": "Kyrgyz", "lb": "Luxembourgish",
    "lg": "Ganda", "lij": "Ligurian", "ln": "Lingala", "lo": "Lao", "ltg": "Latgalian",
    "mg": "Malagasy", "mn": "Mongolian", "my": "Burmese", "nso": "Northern Sotho",
    "oc": "Occitan", "om": "Oromo", "or": "Odia", "pcm": "Nigerian Pidgin", "ps": "Pashto",
    "qu": "Quechua", "rw": "Kinyarwanda", "sa": "Sanskrit", "sdh": "Southern Kurdish",
    "se": "Northern Sami", "si": "Sinhala", "sn": "Shona", "so": "Somali", "st": "Southern Sotho",
    "tg": "Tajik", "tk": "Turkmen", "tt": "Tatar", "ug": "Uyghur", "uzs": "Southern Uzbek",
    "vec": "Venetian", "vo": "Volapük", "wa": "Walloon", "xh": "Xhosa", "yo": "Yoruba",
    "zu": "Zulu",
}  # fmt: skip
MASKED = {
    "email": ("e-mail address", "e-mail addresses"),
    "ip_address": ("IP address", "IP addresses"),
    "phone": ("telephone number", "telephone numbers"),
    "card": ("card number", "card numbers"),
    "iban": ("account number", "account numbers"),
    "key": ("key or password", "keys and passwords"),
}

RULE_OF = {rule.reason: rule for rule in RULES}


_SWITCH = "1 where "  # what the words of a score of 0 or 1 begin with
_MEASURED = {
    "gopher_mean_word_length": "mean length of the words with a letter or number",
    "gopher_alphabetic_full_words": "share with a letter, of the words with a letter or number",
}
_TOP = re.compile(r"repetition_top_(\d+)_gram")
_AGAIN = re.compile(r"repetition_(\d+)_grams")


def measured(score: str) -> str:
    """What a score is, in words that need no glossary.

    >>> measured("repetition_top_4_gram"), measured("repetition_7_grams")
    ('share of the text in its most frequent run of 4 words', 'share of the text in runs of 7 \
words that came before')
    """
    if match := _TOP.fullmatch(score):
        return f"share of the text in its most frequent run of {match[1]} words"
    if match := _AGAIN.fullmatch(score):
        return f"share of the text in runs of {match[1]} words that came before"
    return _MEASURED.get(score) or SCORES[score].removeprefix(_SWITCH)


def limit_words(rule: Rule, limit: float | None) -> str:
    """Which scores a rule drops, in words; empty where it drops all that have what it names.

    >>> limit_words(RULES[1], 100000)
    'above 100,000'
    """
    if SCORES[rule.score].startswith(_SWITCH):
        return ""
    return rule.drops if limit is None else f"{rule.drops} {limit:,g}"


def plain(reason: str) -> str:
    """A reason's slug as words.

    >>> plain("too_many_repeated_5_grams")
    'too many repeated 5-grams'
    """
    words = reason.replace("_", " ")
    for n in range(2, 11):
        words = words.replace(f"{n} gram", f"{n}-gram")
    return words


def meaning(reason: str, limit: float | None = None) -> str:
    """What a reason means, with the limit where there is one; empty where it says all itself.

    >>> meaning("too_many_duplicate_lines", 0.3)
    'share of non-empty lines that came before: above 0.3'
    """
    rule = RULE_OF.get(reason)
    if rule is not None:
        bound = limit_words(rule, limit)
        return f"{measured(rule.score)}{f': {bound}' if bound else ''}"
    return OTHERS.get(reason) or REASONS.get(reason, "")


def language_name(code: str | None) -> str:
    """
    >>> language_name("ru"), language_name("xyz"), language_name(None)
    ('Russian', 'xyz', 'not identified')
    """
    return "not identified" if code is None else LANGUAGES.get(code, code)


def share(part: float) -> str:
    """A share in percents, as exactly as a reader needs it.

    >>> [share(x) for x in (0, 0.00004, 0.0123, 0.776, 0.9996, 1)]
    ['0%', '<0.1%', '1.2%', '78%', '>99.9%', '100%']
    """
    percent = 100 * part
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    if percent < 9.95 or 99 < percent < 100:
        return f"{percent:.1f}".removesuffix(".0") + "%"
    return f"{percent:.0f}%"


def masked_words(kind: str, n: int) -> str:
    """
    >>> masked_words("email", 2)
    '2 e-mail addresses'
    """
    one, many = MASKED.get(kind, (plain(kind), plain(kind)))
    return plural(n, one, many)


def plural(n: int, one: str, many: str | None = None) -> str:
    """
    >>> plural(1, "copy", "copies"), plural(1200, "document")
    ('1 copy', '1,200 documents')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
