"""What counts as a duplicate. Each config is the parameter of one kind of deduplication."""

from __future__ import annotations

from groundup.runtime import config

_MOST_HASHES = 4096
_MOST_BYTES = 1 << 20


@config
class NearConfig:
    """Near duplicates by MinHash signatures cut into bands.

    shingle_words: words that follow one another in one shingle
    bands, rows: a signature is bands * rows numbers; two texts are candidates where all `rows`
        numbers of one band agree
    threshold: candidates whose shingle sets have at least this Jaccard similarity are duplicates
    seed: of the hash functions

    Broder 1997; Leskovec, Rajaraman, Ullman 2014, section 3.4. A number of two signatures agrees
    with probability s, the Jaccard similarity of the sets. So the texts become candidates with
    probability

        P(s) = 1 - (1 - s^rows)^bands

    an S-curve that rises most steeply near (1/bands)^(1/rows). With 20 bands of 6 rows that is at
    0.61, well below the threshold of 0.8, where P = 0.998: little is missed, and what is found too
    much is thrown out by the true similarity. (FineWeb, Penedo et al. 2024, has 14 bands of 8 and
    no verification: P(0.8) = 0.92.)

    >>> near = NearConfig()
    >>> [round(near.candidate_probability(s), 3) for s in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    [0.079, 0.27, 0.615, 0.918, 0.998, 1.0]
    >>> round(near.steepest, 2)
    0.61
    """

    shingle_words: int = 5
    bands: int = 20
    rows: int = 6
    threshold: float = 0.8
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("shingle_words", "bands", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.n_hashes > _MOST_HASHES:
            raise ValueError(f"bands * rows={self.n_hashes} must be at most {_MOST_HASHES}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold={self.threshold} must lie above 0 and at most at 1")

    @property
    def n_hashes(self) -> int:
        """Numbers in a signature."""
        return self.bands * self.rows

    @property
    def steepest(self) -> float:
        """About the similarity at which the S-curve rises most steeply."""
        return float((1 / self.bands) ** (1 / self.rows))

    def candidate_probability(self, similarity: float) -> float:
        """How likely two texts of that similarity become candidates."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


@config
class LinesConfig:
    """Lines that stand in several documents, such as menus and notices.

    min_bytes: shorter lines are let be, since headings and lines of code come again by right; so
        are lines without a letter or number, such as the rules under headings
    min_documents: a line in fewer documents is let be
    keep_one: leave it in one of the documents (the one whose text has the smallest hash); else
        it goes from all
    """

    min_bytes: int = 40
    min_documents: int = 6
    keep_one: bool = True

    def __post_init__(self) -> None:
        _check_bytes("min_bytes", self.min_bytes)
        for name, least in (("min_bytes", 1), ("min_documents", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")


@config
class SubstringsConfig:
    """Long stretches of bytes that stand in several documents (after Lee et al. 2022).

    min_bytes: nothing shorter is looked up, and a document of which less is left goes. What is cut
        begins and ends between words, if there are some, so it may be a little shorter
    sample_bytes: of this many windows of `min_bytes` that follow one another at least one is looked
        up. So every repeat of `sure_bytes` or more is found, and at each of its ends fewer than
        `sample_bytes` and a part of a word are left; the share of places looked up is about
        2 / (sample_bytes + 1).

    >>> SubstringsConfig(min_bytes=200, sample_bytes=25).sure_bytes
    224
    """

    min_bytes: int = 200
    sample_bytes: int = 25

    def __post_init__(self) -> None:
        for name in ("min_bytes", "sample_bytes"):
            _check_bytes(name, getattr(self, name))
        for name, least in (("min_bytes", 8), ("sample_bytes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")

    @property
    def sure_bytes(self) -> int:
        """Every repeat of at least so many bytes is found."""
        return self.min_bytes + self.sample_bytes - 1


def _check_bytes(name: str, value: int) -> None:
    if value > _MOST_BYTES:
        raise ValueError(f"{name}={value} must be at most {_MOST_BYTES}")
