"""Mask what identifies a person or opens a door: addresses, phone, card and account numbers, keys.

Each kind is a pattern that finds candidates and a check that refuses what only looks so: version
numbers, ISBNs, code, the addresses that documents use as examples. It misses what is written in
words or without any mark of its own, such as a national phone number with nothing before it that
says phone. Called by `stage.py`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

Span = tuple[int, int]
Find = Callable[[re.Match[str]], Span | None]


@dataclass(frozen=True)
class Kind:
    """One kind of thing that is masked.

    name: by which it is counted; placeholder: what stands in its place
    pattern: finds candidates; it begins with a character that few places of a text have, and looks
        behind from there, so that most of the text is passed over
    find: where the thing begins and ends, or None if the candidate is none
    hints: some of these strings is in every text with one; none where there are none
    """

    name: str
    placeholder: str
    pattern: re.Pattern[str]
    find: Find
    hints: tuple[str, ...] = ()


def mask_pii(text: str) -> tuple[str, Counter[str]]:
    """The text with placeholders, and how many of each kind were put in.

    >>> mask_pii("Write to ann@firm.de or call +49 30 1234567; pip 24.3.1 is fine.")
    ('Write to <EMAIL> or call <PHONE>; pip 24.3.1 is fine.', Counter({'email': 1, 'phone': 1}))
    """
    masked: Counter[str] = Counter()
    for kind in KINDS:
        if kind.hints and not any(hint in text for hint in kind.hints):
            continue
        text, n = _masked(text, kind)
        if n:
            masked[kind.name] += n
    return text, masked


def _masked(text: str, kind: Kind) -> tuple[str, int]:
    pieces: list[str] = []
    done = n = 0
    for match in kind.pattern.finditer(text):
        span = kind.find(match)
        if span is None or span[0] < done:
            continue
        pieces += [text[done : span[0]], kind.placeholder]
        done, n = span[1], n + 1
    return ("".join([*pieces, text[done:]]), n) if n else (text, 0)


# --- what is one, and what only looks so ----------------------------------------------------------

# RFC 2606 and 6761: names that are nobody's; and what stands behind @2x in names of pictures
_NOBODYS = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|example|test|invalid|localhost)$")
_FILE_ENDINGS = ("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "py", "html")
_LOCAL_PART = re.compile(r"(?<![\w.+%@/-])[A-Za-z0-9][\w.+%-]{0,63}\Z", re.ASCII)
# Words before four numbers with points that say these are no address.
_VERSION = re.compile(
    r"(?:\bv|\bver|versions?|releases?|section|sec|chapter|§|figure|fig|table|clause|build|"
    r"[=<>~^]=?)[.:-]?\s*\Z",
    re.IGNORECASE,
)
# Words and signs around four small numbers that say these are an address all the same.
_IS_ADDRESS = re.compile(
    r"(?:\b(?:ip|ipv4|addr|address|host|server|ping)\b(?:\s+(?:is|was|at))?[\s:=]*|//|@)\Z", re.I
)
_PORT = re.compile(r":[0-9]{2,5}(?![.\w])|,? port\b", re.I)
_CALLED = re.compile(
    r"(?:\b(?:tel|telephone|phone|mobile|cell|fax|call|whatsapp|telefon|téléphone|tél|portable|"
    r"teléfono|móvil|telefono|cellulare|telefone|телефон|тел)\b|电话|電話|手机|手機|携帯)"
    r"\.?(?: (?:me|us|no|number|nr))?(?: (?:at|on|is))? ?[.:：]? {0,3}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"[12][0-9]{3}([-/.])[01]?[0-9]\1[0-3]?[0-9]\b|[0-3]?[0-9]([-/.])[01]?[0-9]\2[12][0-9]{3}\Z"
)
_KEY_NAME = re.compile(
    r"(?:api[_-]?key|secret|access[_-]?key|token|passwo?r?d)[\"']?\s{0,3}\Z", re.IGNORECASE
)
_CONTEXT = 40  # characters before a candidate that are looked at
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")  # RFC 4291: what is routed on the internet


def _follows(match: re.Match[str], words: re.Pattern[str]) -> re.Match[str] | None:
    """What stands before a candidate, if a pattern finds it there."""
    begin = match.start()
    return words.search(match.string, max(begin - _CONTEXT, 0), begin)


def find_email(match: re.Match[str]) -> Span | None:
    """Somebody's address: not a login of git, not a name kept for examples or a picture."""
    begin = match.start()
    local = _LOCAL_PART.search(match.string, max(begin - 65, 0), begin)
    domain = match[0][1:].lower()
    if local is None or local[0] == "git" or domain.rpartition(".")[2] in _FILE_ENDINGS:
        return None
    return None if _NOBODYS.search(domain) else (local.start(), match.end())


def find_ipv4(match: re.Match[str]) -> Span | None:
    """A public address: no version, section or netmask.

    Of all public addresses 2% have no number of three digits; of versions nearly all. So four small
    numbers are one only where the words around them say so.
    """
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return None
    if not address.is_global or address.is_multicast or _follows(match, _VERSION):
        return None
    if max(address.packed) < 100 and not _follows(match, _IS_ADDRESS):
        return match.span() if _PORT.match(match.string, match.end()) else None
    return match.span()


def find_ipv6(match: re.Match[str]) -> Span | None:
    """A public address with three groups at least: a year before two colons has one."""
    try:
        address = ipaddress.IPv6Address(match[0])
    except ValueError:
        return None
    if len(re.findall(r"[0-9A-Fa-f]+", match[0])) < 3:
        return None
    return match.span() if address in _GLOBAL_IPV6 and address.is_global else None


def find_country_phone(match: re.Match[str]) -> Span | None:
    """As many digits as a number has with its country, 8 to 15 (ITU E.164), 11 in North America."""
    groups = re.findall("[0-9]+", match[0])
    digits = "".join(groups)
    if not _COUNTRY.match(digits) or sum(len(group) == 1 for group in groups) > 2:
        return None
    is_long_enough = len(digits) == 11 if digits[0] == "1" else 8 <= len(digits) <= 15
    return match.span() if is_long_enough else None


# Country codes that are assigned (ITU E.164, list of 2016)
_COUNTRY = re.compile(
    r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|"
    r"(?:2[1-69]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])[0-9]"
)


def find_called_phone(match: re.Match[str]) -> Span | None:
    """A number with a word before it that says it is a telephone's."""
    digits = re.sub(r"\D", "", match[0])
    if not 7 <= len(digits) <= 15 or len(set(digits)) < 3 or _DATE.match(match[0]):
        return None
    return match.span() if _follows(match, _CALLED) else None


def luhn(digits: str) -> bool:
    """Whether digits end in their Luhn check digit (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def find_card(match: re.Match[str]) -> Span | None:
    """Digits with a network's prefix and length and a right check digit."""
    digits = re.sub(r"\D", "", match[0])
    lengths = next((lengths for prefix, lengths in _CARDS if prefix.match(digits)), ())
    is_one = len(digits) in lengths and len(set(digits)) > 1 and luhn(digits)
    return match.span() if is_one and not _follows(match, _DIGITS) else None


_DIGITS = re.compile(r"[0-9]{8} \Z")  # what stands in a table of digits


# The networks' prefixes (ISO/IEC 7812 issuer identification) and how many digits their numbers have
_CARDS = (
    (re.compile("4"), (13, 16, 19)),  # Visa
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile("3[47]"), (15,)),  # American Express
    (re.compile("6011|65|64[4-9]"), (16, 19)),  # Discover
    (re.compile("352[89]|35[3-8]"), (16, 17, 18, 19)),  # JCB
    (re.compile("30[0-5]|36|3[89]"), (14,)),  # Diners Club
    (re.compile("62"), (16, 17, 18, 19)),  # UnionPay
)


def find_iban(match: re.Match[str]) -> Span | None:
    """An account number: as long as its country's are, with a right check number (ISO 13616)."""
    length = _IBAN_LENGTHS.get(match[0][:2])
    if length is None:
        return None
    text, end, found = match[0], 0, ""
    while end < len(text) and len(found) < length:
        found += text[end].strip(" -")
        end += 1
    if len(found) < length or text[end : end + 1].isalnum():
        return None
    number = int("".join(str(int(character, 36)) for character in found[4:] + found[:4]))
    return (match.start(), match.start() + end) if number % 97 == 1 else None


# Countries by the characters of their IBAN (SWIFT, IBAN registry, release 99)
_IBAN_COUNTRIES = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC",
    32: "LC", 33: "RU",
}  # fmt: skip
_IBAN_LENGTHS = {
    country: length
    for length, countries in _IBAN_COUNTRIES.items()
    for country in countries.split()
}


def entropy(text: str) -> float:
    """Shannon's entropy of a string's characters, in bits each.

    >>> entropy("aaaa"), entropy("abcd")
    (0.0, 2.0)
    """
    counts = Counter(text).values()
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts) + 0.0


_MIN_ENTROPY = 3.2  # bits a character; 20 random hexadecimal digits have about 3.4, words 2.5 to 3
_PLACEHOLDER = re.compile(
    r"example|your|placeholder|changeme|dummy|xxxx|<|\$\{|\{\{", re.IGNORECASE
)


def find_known_key(match: re.Match[str]) -> Span | None:
    """What begins as a provider's keys do and is no example."""
    key = match[0]
    if _PLACEHOLDER.search(key) or len(set(key)) <= 8:
        return None
    if key.startswith("sk-") and not re.search(r"\d", key):  # a name made of words
        return None
    return match.span()


def find_named_key(match: re.Match[str]) -> Span | None:
    """What is called a key or a password, with digits and letters, hard to guess."""
    value = match["it"]
    if not _follows(match, _KEY_NAME) or _PLACEHOLDER.search(value):
        return None
    if not re.search(r"\d", value) or not re.search(r"[A-Za-z]", value):
        return None
    return match.span("it") if entropy(value) >= _MIN_ENTROPY else None


def find_all(match: re.Match[str]) -> Span | None:
    """Whatever the pattern finds."""
    return match.span()


# --- kinds ----------------------------------------------------------------------------------------

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<name>[A-Z ]*PRIVATE KEY(?: BLOCK)?)-----"
    r"[A-Za-z0-9+/=\s:,.()\\-]{40,20000}?-----END (?P=name)-----"
)
_KNOWN_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon Web Services
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}"  # GitHub
    r"|glpat-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|[sr]k_live_[A-Za-z0-9]{16,247}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|sk-[A-Za-z0-9_-]{20,200}"  # OpenAI, Anthropic
    r"|hf_[A-Za-z0-9]{30,40}"  # Hugging Face
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,250}"  # package registries
    r"|GOCSPX-[A-Za-z0-9_-]{28}|gsk_[A-Za-z0-9]{52}"  # Google's OAuth, Groq
    r"|dop_v1_[a-f0-9]{64}|shpat_[a-f0-9]{32}"  # DigitalOcean, Shopify
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"  # SendGrid
    r"|eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{16,1000}"  # web token
    r")(?![A-Za-z0-9_-])"
)
_KNOWN_HINTS = (
    *("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox"),
    *("k_live_", "AIza", "sk-", "hf_", "npm_", "pypi-", "SG.", "eyJ"),
    *("GOCSPX-", "gsk_", "dop_v1_", "shpat_"),
)
_NAMED_KEY = re.compile(
    r"[:=]\s{0,3}(?P<quote>[\"']?)(?P<it>[A-Za-z0-9+/_.~!@#$%^&*-]{12,200}={0,2})(?P=quote)"
    r"(?![\w(\[.])"
)
_EMAIL = re.compile(
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w@-])", re.ASCII
)
_IPV4 = re.compile(
    r"[0-9](?<![\w.][0-9])[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?!\.?\w)(?!/[0-9])"
)
_IPV6 = re.compile(r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,34}(?![\w:]|\.[0-9])")
_CARD = re.compile(
    r"[0-9](?<![\w.,+-][0-9])(?:[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}"
    r"|[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{12,18})(?![\w-]|[.,][0-9])"
)
_COUNTRY_PHONE = re.compile(
    r"\+(?<![\w.+)\]]\+)[0-9]{1,3}(?:[ .-]?\([0-9]{1,4}\))?(?:[ ./-]?[0-9]){5,17}+(?!\w|[.-][0-9])"
)
_IBAN = re.compile(r"[A-Z](?<![A-Za-z0-9_][A-Z])[A-Z][0-9]{2}[A-Z0-9 -]{11,46}")
# The North American plan: an area and an exchange code of 2 to 9 and two digits each
_NORTH_AMERICAN_PHONE = re.compile(
    r"[(1-9](?<![\w.+-][(1-9])(?:(?<=1)[ .-]\(?[2-9][0-9]{2}\)?|(?<=\()[2-9][0-9]{2}\)"
    r"|(?<=[2-9])[0-9]{2})(?:(?<=\)) ?|[ .-])[2-9][0-9]{2}[ .-][0-9]{4}(?!\w|[.-][0-9])"
)
_CALLED_PHONE = re.compile(r"[(0-9](?<![\w.][(0-9])(?:[ ./()-]{0,2}[0-9]){6,15}+(?!\w|[.-][0-9])")

# Keys go first, since digits within them could be taken for something else.
KINDS: tuple[Kind, ...] = (
    Kind("key", "<KEY>", _PRIVATE_KEY, find_all, ("-----BEGIN",)),
    Kind("key", "<KEY>", _KNOWN_KEY, find_known_key, _KNOWN_HINTS),
    Kind("key", "<KEY>", _NAMED_KEY, find_named_key),
    Kind("email", "<EMAIL>", _EMAIL, find_email, ("@",)),
    Kind("ip_address", "<IP_ADDRESS>", _IPV4, find_ipv4),
    Kind("ip_address", "<IP_ADDRESS>", _IPV6, find_ipv6),
    Kind("iban", "<IBAN>", _IBAN, find_iban),
    Kind("card", "<CARD>", _CARD, find_card),
    Kind("phone", "<PHONE>", _COUNTRY_PHONE, find_country_phone, ("+",)),
    Kind("phone", "<PHONE>", _NORTH_AMERICAN_PHONE, find_all),
    Kind("phone", "<PHONE>", _CALLED_PHONE, find_called_phone),
)
