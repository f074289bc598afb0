import hashlib
import importlib.util
import itertools
import math
import re

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import (
    BytePairs,
    Characters,
    MissingDataError,
    TextBatches,
    TextData,
    count_models,
    load_text,
    next_token_loss,
    perplexities,
    surprise,
    word_buckets,
)
from bbtheory.train import data_text as module

TEXT = "".join(f"the {word} sat on the mat, don't you see?\n" for word in ["cat"] * 30 + ["ünïcode", "dog"])


# -- files


@pytest.mark.parametrize("place", ["tinyshakespeare.txt", "shakespeare_char/input.txt"])
def test_a_named_text_is_read_verified_and_cut(tmp_path, monkeypatch, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(ValueError, match=r"txt must be the original tinyshakespeare: sha256"):
        load_text("tinyshakespeare", tmp_path)
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    monkeypatch.setitem(module.CHECKSUMS, "tinyshakespeare", digest)
    monkeypatch.setenv("BBTHEORY_DATA", str(tmp_path))
    text = load_text("tinyshakespeare")
    assert text.train + text.test == TEXT
    assert len(text.train) == int(0.9 * len(TEXT))
    assert text.checksum == digest
    tuning = text.for_tuning()
    assert tuning.train + tuning.test == text.train
    assert len(tuning.train) == int(0.9 * len(text.train))


def test_published_parts_stay_as_they_are(tmp_path):
    folder = tmp_path / "wikitext-2"
    folder.mkdir()
    (folder / "wiki.train.tokens").write_text(TEXT)
    with pytest.raises(MissingDataError, match=r"holds no wikitext2: put .*wiki.test.tokens there"):
        load_text("wikitext2", tmp_path)
    (folder / "wiki.test.tokens").write_text(TEXT[:50])
    text = load_text("wikitext2", tmp_path)
    assert (text.train, text.test) == (TEXT, TEXT[:50])


def test_any_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    text = load_text(path)
    assert (text.name, text.train + text.test, text.checksum) == ("mine", TEXT, "")


def test_bundled_text_needs_no_files():
    text = load_text("descriptions")
    assert len(text.train) > 10_000
    assert "iris" in text.train.casefold()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xff\xfe" + b"a" * 200, "must be UTF-8 text: byte 0 is none"),
        (b"a" * 99, "must hold at least 100 characters, got 99"),
        (b"", "must hold at least 100 characters, got 0"),
    ],
)
def test_damaged_files(tmp_path, content, match):
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        load_text(path)


def test_missing_files(tmp_path, monkeypatch):
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"war_and_peace needs a data folder: put war_and_peace.txt"):
        load_text("war_and_peace")
    with pytest.raises(MissingDataError, match=r"holds no war_and_peace: put war_and_peace.txt there"):
        load_text("war_and_peace", tmp_path)
    with pytest.raises(MissingDataError, match="there is no text file"):
        load_text(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="name_or_path must be one of descriptions"):
        load_text("shakespeare")
    monkeypatch.setattr(module, "_LARGEST", 10)
    (tmp_path / "war_and_peace.txt").write_text(TEXT)
    with pytest.raises(ValueError, match="must hold at most 10 bytes"):
        load_text("war_and_peace", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("name", "n"), [("tinyshakespeare", 1_115_394), ("war_and_peace", 3_207_384)])
def test_the_packs(name, n):
    text = load_text(name)
    assert len(text.train) + len(text.test) == n


# -- words


def test_words_by_frequency():
    train = "a " * 50 + "b " * 5 + "c " * 5 + "It's " * 2 + "e f g h i j k"
    data = TextData("x", train, "a, b it's e! zz 7", "")
    got = word_buckets(data)
    named = {c: int(got[data.test.index(c)]) for c in "a,bie!z7 "}
    assert named == {"a": 0, ",": -1, "b": 1, "i": 1, "e": 2, "!": -1, "z": 2, "7": -1, " ": -1}
    assert (got[5:9] == 1).all(), "an apostrophe within a word belongs to it"


# -- vocabularies


def test_characters():
    vocabulary = Characters("abracadabra")
    assert vocabulary.size == 6
    assert vocabulary.encode("abz").tolist() == [1, 2, 0]
    assert vocabulary.decode([1, 2, 0]) == "ab\ufffd"
    assert vocabulary.lengths(np.zeros(3, int)).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="train must hold a character"):
        Characters("")


def test_byte_pairs_by_hand():
    # "ab" 4 times, then "abc" 3 times within pieces; nothing else occurs twice but " abc"
    vocabulary = BytePairs("abc abc abc ab", 300)
    a, b, c, blank = b"abc "
    assert vocabulary.merges == {(a, b): 256, (blank, 256): 257, (257, c): 258}
    assert vocabulary.encode("abc abc").tolist() == [256, c, 258]
    assert vocabulary.size == 259


def test_byte_pairs_are_the_most_frequent_at_every_merge():
    # two roads: counted anew from all pieces after every merge
    vocabulary = BytePairs(TEXT, 290)
    pieces = [list(p.encode()) for p in re.findall(r" ?\w+| ?[^\w\s]+|\s+", TEXT)]
    for pair, code in vocabulary.merges.items():
        counts: dict = {}
        for piece in pieces:
            for found in itertools.pairwise(piece):
                counts[found] = counts.get(found, 0) + 1
        assert pair == min(counts, key=lambda p: (-counts[p], p))
        for i, piece in enumerate(pieces):
            text = ",".join(map(str, piece))
            joined = f",{text},".replace(f",{pair[0]},{pair[1]},", f",{code},").strip(",")
            pieces[i] = [int(n) for n in joined.split(",")]


@pytest.mark.parametrize("text", [TEXT, "", "new wörds, 日本語 and 🙂\n\n  blanks"])
def test_byte_pairs_code_any_text(text):
    vocabulary = BytePairs(TEXT, 300)
    codes = vocabulary.encode(text)
    assert vocabulary.decode(codes) == text
    assert vocabulary.lengths(codes).sum() == len(text)
    assert len(codes) <= len(text.encode())
    again = BytePairs(TEXT, 300)
    assert again.merges == vocabulary.merges
    with pytest.raises(ValueError, match=r"size must be .*\[257"):
        BytePairs(TEXT, 256)


# -- windows and perplexities


def test_windows_follow_from_seed_and_epoch():
    batches = TextBatches(np.arange(50), 8, 3, 4, seed=1)
    first = list(batches(2))
    assert len(batches) == len(first) == 4
    for x, y in first:
        assert x.shape == y.shape == (3, 8)
        assert torch.equal(y, x + 1)
    again = list(TextBatches(np.arange(50), 8, 3, 4, seed=1)(2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], next(iter(batches(3)))[0])
    starts = {
        int(x[i, 0]) for e in range(40) for x, _ in TextBatches(np.arange(50), 8, 3, 4)(e) for i in range(3)
    }
    assert starts == set(range(42)), "every window is drawn"


class Counts(torch.nn.Module):
    """Logits that follow from the token alone: the surprise does not depend on windows."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, tokens):
        return self.logits[tokens]


@pytest.mark.parametrize("n", [2, 9, 10, 11, 57])
@pytest.mark.parametrize("context", [1, 2, 8, 10])
def test_every_token_is_judged_once(n, context):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(5, 5)))
    codes = rng.integers(0, 5, n)
    got = surprise(Counts(logits), codes, context, batch=3)
    want = -torch.log_softmax(logits, 1)[codes[:-1], codes[1:]].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-6)  # logits are float32 within


def test_tokens_are_seen_with_enough_before_them():
    seen = []

    def model(tokens):
        seen.append(tokens.clone())
        return torch.zeros(*tokens.shape, 100)

    surprise(model, np.arange(60), 8)
    windows = torch.cat(seen)
    assert windows[0].tolist() == list(range(8))
    assert windows[1, 0] == 6, "a quarter is seen twice"
    assert windows[-1, -1] == 58


def test_perplexities_by_hand():
    nats = np.log([2.0, 4.0, 8.0])
    got = perplexities(nats, np.array([1, 1, 2]), np.array([0, -1, 1]), ("head", "middle", "tail"))
    assert got["perplexity"] == pytest.approx(64 ** (1 / 4))
    assert got["bits_per_character"] == pytest.approx(6 / 4)
    assert got["perplexity_head"] == pytest.approx(2.0)
    assert got["perplexity_middle"] == pytest.approx(8**0.5)
    assert math.isnan(got["perplexity_tail"])


def test_perplexities_without_end_or_without_characters():
    found = perplexities(np.array([1e4, 1.0]), np.array([1, 1]), np.array([0, 1]), ("a", "b", "c"))
    assert found["perplexity"] == found["perplexity_a"] == math.inf
    assert found["perplexity_b"] == pytest.approx(math.e)
    assert math.isnan(found["perplexity_c"])
    assert math.isnan(perplexities(np.zeros(0), np.zeros(0, int), np.zeros(0, int), ())["perplexity"])


def test_trivial_models_are_probabilities():
    train, size = np.array([0, 1, 0, 1, 0, 2]), 4
    p = np.array([4, 3, 2, 1]) / 10
    for before in range(3):
        both = [count_models(train, np.array([before, after]), size) for after in range(size)]
        assert np.exp([-float(m["unigram"][0]) for m in both]).tolist() == pytest.approx(p.tolist())
        assert sum(math.exp(-float(m["bigram"][0])) for m in both) == pytest.approx(1.0)
    after_0 = math.exp(-float(count_models(train, np.array([0, 1]), size)["bigram"][0]))
    assert after_0 == pytest.approx((2 + 0.3) / (3 + 1))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: TextBatches(np.arange(8), 8, 1, 1), "codes must have one axis and more than 8 tokens"),
        (lambda: TextBatches(np.zeros((4, 4), int), 2, 1, 1), "codes must have one axis"),
        (lambda: TextBatches(np.arange(8), 0, 1, 1), "context must be"),
        (lambda: TextBatches([1.5] * 9, 2, 1, 1), "codes must be integers, got float64"),
        (lambda: TextBatches("abcdef", 2, 1, 1), "codes must be integers"),
        (lambda: surprise(lambda x: x, [0.5] * 9, 2), "codes must be integers"),
        (
            lambda: count_models(np.array([0, 2]), np.array([0, 1]), 2),
            r"train must be 1 or more codes in \[0, 2\)",
        ),
        (lambda: count_models(np.array([0]), np.array([0]), 2), "test must be 2 or more codes"),
        (lambda: Characters("abc").decode([-1]), r"codes must be an integer in \[0, 4\), got -1"),
        (lambda: BytePairs("abab", 300).decode([999]), "codes must be an integer in"),
        (lambda: BytePairs("abab", 300).encode("\ud800"), "text must be one that UTF-8 can hold"),
        (lambda: Characters("abc").encode(3), "text must be a str"),
        (lambda: TextBatches(np.arange(8), 2, 0, 1), "batch must be"),
        (lambda: TextBatches(np.arange(8), 2, 1, 0), "n_batches must be"),
        (lambda: TextBatches(np.arange(8), 2, 1, 1, seed=-1), "seed must be"),
        (lambda: surprise(lambda x: x, np.arange(1), 2), "at least 2 tokens"),
        (lambda: surprise(lambda x: x, np.arange(4), 0), "context must be"),
        (lambda: surprise(lambda x: x, np.arange(4), 2, batch=0), "batch must be"),
        (lambda: word_buckets("text"), "data must be"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_loss_is_the_mean_surprise():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    codes = np.array([0, 3, 5, 2, 2, 1])
    batch = torch.tensor(codes[:-1])[None], torch.tensor(codes[1:])[None]
    want = surprise(Counts(logits), codes, 16).mean()
    assert next_token_loss(Counts(logits), batch).item() == pytest.approx(want, rel=1e-6)
