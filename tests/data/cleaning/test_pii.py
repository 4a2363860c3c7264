"""Masking: what is found, what only looks so, and that masked text stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.cleaning import mask_pii
from groundup.data.cleaning.pii import entropy, luhn
from tests.data.cleaning.conftest import read_books, read_peps

# Put together here, so that no scanner takes them for keys that were lost.
AWS = "AKIA" + "QX7ZV2LM9T4RB6WC"
GITHUB = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"
OPENAI = "sk-" + "proj-4fJ9sQ2mX7vB1nK6tR3wZ8yL5cD0hG"
GOOGLE = "AIza" + "SyD4x9Kq2Vb7Nm1Tz6Rw3Lp8Hc5Jf0Gd-_Q"
SLACK = "xoxb-" + "2489173650-8Kq2Vb7Nm1Tz6Rw3Lp"
TOKEN = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "masked", "kind"),
    [
        ("mail ann.lee+tag@mail.firm.co.uk now", "mail <EMAIL> now", "email"),
        ("<bob_99@uni-koeln.de>", "<<EMAIL>>", "email"),
        ("From 8.8.8.8, port 53", "From <IP_ADDRESS>, port 53", "ip_address"),
        ("http://93.184.216.34:8080/", "http://<IP_ADDRESS>:8080/", "ip_address"),
        ("My server is 84.23.11.9, yours", "My server is <IP_ADDRESS>, yours", "ip_address"),
        ("to 2606:2800:220:1:248:1893:25c8:1946.", "to <IP_ADDRESS>.", "ip_address"),
        ("at 2a00:1450:4001::200e now", "at <IP_ADDRESS> now", "ip_address"),
        ("call +49 30 12345678 today", "call <PHONE> today", "phone"),
        ("+44 (20) 7946 0958", "<PHONE>", "phone"),
        ("(415) 555-2671 or", "<PHONE> or", "phone"),
        ("fax 415.555.2671", "fax <PHONE>", "phone"),
        ("1-800-555-2671!", "<PHONE>!", "phone"),
        ("Tel.: 030/1234567", "Tel.: <PHONE>", "phone"),
        ("phone 01 23 45 67 89", "phone <PHONE>", "phone"),
        ("+33 1 23 45 67 89", "<PHONE>", "phone"),
        ("+81-3-1234-5678", "<PHONE>", "phone"),
        ("+86 138 0013 8000", "<PHONE>", "phone"),
        ("+7 (495) 123-45-67", "<PHONE>", "phone"),
        ("+55 (11) 91234-5678", "<PHONE>", "phone"),
        ("Téléphone : 01 23 45 67 89", "Téléphone : <PHONE>", "phone"),
        ("电话：010-62781234", "电话：<PHONE>", "phone"),
        ("to DE89 3704 0044 0532 0130 00 BIC X", "to <IBAN> BIC X", "iban"),
        ("GB82WEST12345698765432.", "<IBAN>.", "iban"),
        ("NO93-8601-1117-947", "<IBAN>", "iban"),
        ("card 4111 1111 1111 1111 ok", "card <CARD> ok", "card"),
        ("3782-822463-10005", "<CARD>", "card"),
        ("5555555555554444,", "<CARD>,", "card"),
        (f"id = '{AWS}'", "id = '<KEY>'", "key"),
        (f"git clone https://{GITHUB}@host/x", "git clone https://<KEY>@host/x", "key"),
        (f"key {OPENAI}", "key <KEY>", "key"),
        (f"?key={GOOGLE}", "?key=<KEY>", "key"),
        (f"{SLACK}", "<KEY>", "key"),
        (f"Bearer {TOKEN}", "Bearer <KEY>", "key"),
        ('"api_key": "9f8Qz2Lk7Xv4Bn1Mt6"', '"api_key": "<KEY>"', "key"),
        ("DB_PASSWORD=q7!Rz9#Lm2$Xv5", "DB_PASSWORD=<KEY>", "key"),
    ],
)
def test_it_is_masked(text: str, masked: str, kind: str) -> None:
    assert mask_pii(text) == (masked, {kind: 1})


@pytest.mark.parametrize("name", ["RSA PRIVATE KEY", "PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_a_private_key_is_masked_in_json_too(name: str) -> None:
    body = "\\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"] * 4)
    text = f'{{"key": "-----BEGIN {name}-----\\n{body}\\n-----END {name}-----\\n"}}'
    assert mask_pii(text) == ('{"key": "<KEY>\\n"}', {"key": 1})


def test_a_private_key_is_masked_whole() -> None:
    body = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" + "Zm9v" * 8] * 4)
    text = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n"
    assert mask_pii(text) == ("<KEY>\n", {"key": 1})


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:owner/project.git",
        "user@example.com, me@sub.example.org, a@host.test",
        "logo@2x.png beside actions/checkout@v4 and @decorator.name",
        "pip 24.3.1, version 1.2.3.4, v10.20.30.40, Django==4.2.11.1",
        "Chrome/91.0.4472.124 Safari/537.36, see section 4.3.2.1",
        "127.0.0.1, 10.0.0.7, 192.168.1.1, 255.255.255.0, 203.0.113.9, 8.8.8.0/24",
        "1.2.3.4.5 and 256.1.1.1 and 1.2.3",
        "std::vector, ::1, fe80::1, 2001:db8::7, dead::beef, at 12:34:56 and 20:15",
        "NSS 3.15.3.1, zstd (1.5.0.3), | 3.36.10.0 | and 7540#section-8.1.2.4",
        "On November 5, 2006:: and Python 3000::",
        "s*(31&t[s])+1099511627776*t[s+1]+4294967296, +123456789, +83 12345678",
        "We call at 2018-08-10 12:30, phone 01.02.2018",
        "DE88 3704 0044 0532 0130 00, ZZ89 3704 0044 0532 0130 00, AB12 ROAD AND MORE",
        "33333333 4455555555556666",
        "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, 9783161484100",
        "4111 1111 1111 1112",  # a wrong check digit
        "1234567812345670",  # a right one, but nobody's prefix
        "0000 0000 0000 0000 and 4444444444444444444444",
        "On 2024-11-05 12:30:45 we had 1,234,567 visits and 3.1415926535",
        "id 550e8400-e29b-41d4-a716-446655440000, order 4539-1488",
        "x = 10 + 1234567 - 2*(415)",
        "1e+1000000000, 100-200-3000, 2 + 3",
        "We call 10 20 functions; phone 12",
        "def token(self): return self._token\npassword = get_password(user)",
        "token = os.environ['API_TOKEN']  # secret: none of your business",
        "api_key = 'your-api-key-123456'  password: xxxxxxxxxxxx1",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "a risk-averse-and-otherwise-cautious task-oriented desk-bound clerk",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "class=sk-spinner-of-many-colours",
        "E=mc^2; a=b; key: value; secret = open('/dev/null')",
    ],
)
def test_it_only_looks_so(text: str) -> None:
    assert mask_pii(text) == (text, {})


@given(
    st.lists(
        st.sampled_from(
            ["ann@firm.de", "8.8.8.8", "+49 30 12345678", "4111 1111 1111 1111", AWS, "key=", " "]
        )
        | st.text("a1.@:+-( ", max_size=6),
        max_size=8,
    )
)
@settings(max_examples=80, deadline=None)
def test_masked_text_stays_as_it_is(pieces: list[str]) -> None:
    masked, _ = mask_pii(" ".join(pieces))
    assert mask_pii(masked) == (masked, {})


@given(st.integers(0, 10**15 - 1))
def test_one_check_digit_of_ten_is_right(number: int) -> None:
    digits = f"{number:015d}"
    assert sum(luhn(digits + str(check)) for check in range(10)) == 1


def test_random_strings_are_harder_to_guess_than_words() -> None:
    assert entropy("q7Rz9Lm2Xv5Kb1Tn") > 3.9 > 3.2 > entropy("aaaabbbbccccdddd")


@pytest.mark.slow
def test_books_of_a_century_ago_have_none() -> None:
    """They had no e-mail; every hit is false."""
    found = [mask_pii(text.text)[1] for text in read_books(1_000)]
    assert sum(sum(counts.values()) for counts in found) == 0


@pytest.mark.slow
def test_proposals_have_their_authors_addresses_masked() -> None:
    n_addresses = n_proposals = 0
    for text in read_peps():
        _, counts = mask_pii(text.text)
        n_addresses += counts["email"]
        n_proposals += counts["email"] > 0
        assert counts["card"] == counts["key"] == 0, text.name
    assert n_addresses > n_proposals > 300
