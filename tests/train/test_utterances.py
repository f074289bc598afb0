"""Connected digits, the filter bank against its formula, log-mel against numpy, batches."""

import importlib.util
import math

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import (
    LogMel,
    SpeechBatches,
    Utterances,
    connect_digits,
    features_of,
    load_spoken_digits,
    zipf,
)
from bbtheory.train.log_mel import mel_filter_bank, normalised
from bbtheory.train.utterances import padded

TONES = load_spoken_digits("tones")
TRAIN = np.flatnonzero(~TONES.is_test)
EVEN = np.ones(10)


def connected(n=50, pool=TRAIN, probabilities=EVEN, **settings):
    return connect_digits(TONES, n, pool=pool, probabilities=probabilities, **settings)


def test_zipf():
    p = zipf(10, 1.5)
    assert p.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(p[0] / p, np.arange(1, 11) ** 1.5)
    np.testing.assert_allclose(zipf(4, 0.0), 0.25)


def test_an_utterance_has_one_speaker_and_keeps_to_its_pool():
    plan = connected(200, n_digits=(2, 4))
    assert len(plan) == 200
    for chosen, digits, pauses in zip(plan.recordings, plan.digits, plan.pauses, strict=True):
        assert np.unique(TONES.speakers[chosen]).size == 1
        assert not TONES.is_test[chosen].any()
        assert 2 <= len(chosen) <= 4
        assert pauses.size == len(chosen) - 1
        assert digits == tuple(TONES.labels[chosen])
        assert (pauses >= 0).all()
        assert (pauses <= 800).all()
    assert {len(chosen) for chosen in plan.recordings} == {2, 3, 4}
    assert {int(TONES.speakers[chosen[0]]) for chosen in plan.recordings} == {0, 1}
    test = connected(200, np.flatnonzero(TONES.is_test))
    assert all(TONES.is_test[chosen].all() for chosen in test.recordings)


def test_the_sound_is_that_of_the_recordings():
    plan = connected(5, pause=0.05)
    for i in range(5):
        sound, at = plan.waveform(i), 0
        for recording, pause in zip(plan.recordings[i], [*plan.pauses[i], 0], strict=True):
            part = TONES.waveform(recording)
            np.testing.assert_array_equal(sound[at : at + part.size], part)
            at += part.size
            assert (sound[at : at + pause] == 0).all()
            at += pause
        assert at == sound.size


def test_digits_have_their_probabilities():
    p = zipf(10, 1.5)
    drawn = np.concatenate([np.array(d) for d in connected(2000, probabilities=p).digits])
    counts = np.bincount(drawn, minlength=10)
    # chi-squared with 9 degrees of freedom: above 33 once in 10,000 times
    assert (np.square(counts - drawn.size * p) / (drawn.size * p)).sum() < 33
    uniform = drawn.size / 10
    assert (np.square(counts - uniform) / uniform).sum() > 33  # the control


def test_plans_follow_from_the_seed():
    one, again, other = connected(20, seed=3), connected(20, seed=3), connected(20, seed=4)
    assert one.digits == again.digits
    np.testing.assert_array_equal(one.waveform(7), again.waveform(7))
    assert one.digits != other.digits


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels"), [(8000, 256, 32), (8000, 256, 40), (16000, 512, 80), (8000, 64, 4)]
)
def test_filters_follow_the_formula(rate, n_fft, n_mels):
    bank = mel_filter_bank(rate, n_fft, n_mels)
    assert bank.shape == (n_fft // 2 + 1, n_mels)

    def mel(f):
        return 2595 * math.log10(1 + f / 700)

    def hertz(m):
        return 700 * (10 ** (m / 2595) - 1)

    edges = [hertz(j * mel(rate / 2) / (n_mels + 1)) for j in range(n_mels + 2)]
    for k in range(n_fft // 2 + 1):
        for j in range(n_mels):
            f, (low, peak, high) = k * rate / n_fft, edges[j : j + 3]
            expected = 0.0
            if low < f <= peak:
                expected = (f - low) / (peak - low)
            elif peak < f < high:
                expected = (high - f) / (high - peak)
            assert float(bank[k, j]) == pytest.approx(expected, abs=1e-6)


def test_log_mel_against_numpy():
    features = LogMel(8000, 32, hop=0.0125)
    assert (features.window, features.hop, features.n_fft) == (200, 100, 256)
    x = np.random.default_rng(0).normal(0, 0.1, 1234).astype(np.float32)
    found = features(x)
    assert found.shape == (1 + 1234 // 100, 32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    window = np.zeros(256)
    window[28:228] = hann  # in the middle of the transform
    silence = np.zeros(128)
    signal = np.concatenate([silence, x, silence])
    for i, row in enumerate(found):
        power = np.abs(np.fft.rfft(signal[100 * i : 100 * i + 256] * window)) ** 2
        expected = np.log(power @ features.bank.numpy().astype(float) + 1e-6)
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-3)  # float32 sums of 256 terms


def test_a_tone_shows_in_its_band():
    features = LogMel(8000, 32)
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    edges = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 4000 / 700), 34) / 2595) - 1)
    assert int(features(tone)[20].argmax()) == np.abs(edges[1:-1] - 1000).argmin()


def test_normalised_bands():
    x = 5 + 3 * torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    x[:, 2] = 7.0  # a band that never changes
    y = normalised(x)
    changing = [0, 1, 3, 4, 5]
    torch.testing.assert_close(y.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[:, changing].square().mean(0), torch.ones(5))
    assert (y[:, 2] == 0).all()
    torch.testing.assert_close(normalised(10 * x)[:, changing], y[:, changing])


def utterances(lengths, n_mels=3):
    features = tuple(torch.full((n, n_mels), float(i + 1)) for i, n in enumerate(lengths))
    targets = tuple(torch.arange(1, 2 + i % 3) for i in range(len(lengths)))
    return Utterances(features, targets, tuple(("w",) for _ in lengths))


def test_padding_is_zero_behind_the_end():
    features, n_frames, targets, n_targets = padded(utterances([4, 2, 7]), [0, 1, 2])
    assert features.shape == (3, 7, 3)
    assert n_frames.tolist() == [4, 2, 7]
    assert n_targets.tolist() == [1, 2, 3]
    assert targets.tolist() == [[1, 0, 0], [1, 2, 0], [1, 2, 3]]
    for i, n in enumerate([4, 2, 7]):
        assert (features[i, :n] == i + 1).all()
        assert (features[i, n:] == 0).all()


def test_batches_hold_every_utterance_once_and_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 100, 330)
    batches = SpeechBatches(utterances(lengths), 16, seed=1)
    orders = []
    for epoch in (0, 1):
        seen, spread = [], []
        for features, n_frames, *_ in batches(epoch):
            seen += features[:, 0, 0].int().tolist()
            spread.append(int(n_frames.max() - n_frames.min()))
        assert len(spread) == len(batches) == 21
        assert sorted(seen) == list(range(1, 331))
        assert np.median(spread) < 25  # shuffled ones spread over about 90
        orders.append(seen)
    assert orders[0] != orders[1]
    again = [i for features, *_ in batches(1) for i in features[:, 0, 0].int().tolist()]
    assert again == orders[1]


def test_features_of_a_source():
    plan = connected(3)
    targets = [[d + 1 for d in digits] for digits in plan.digits]
    found = features_of(plan, LogMel(8000, 16), [["x"]] * 3, targets, torch.float16)
    assert len(found) == 3
    assert found.features[1].dtype == torch.float16
    assert found.features[1].shape == (1 + plan.waveform(1).size // 80, 16)
    assert found.targets[2].tolist() == targets[2]
    assert padded(found, [0])[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: zipf(0, 1.0), "n must be"),
        (lambda: zipf(3, -1.0), "exponent must be"),
        (lambda: connected(0), "n must be"),
        (lambda: connected(n_digits=(0, 2)), "n_digits must be"),
        (lambda: connected(n_digits=(3, 2)), "n_digits must be"),
        (lambda: connected(n_digits=(3,)), "n_digits must be the fewest and the most"),
        (lambda: connected(pause=1e300), "pause must need arrays of at most"),
        (lambda: zipf(10**12, 1.0), "n must need arrays of at most"),
        (lambda: LogMel(8000, 16, window=1e9), "window must need arrays of at most"),
        (lambda: LogMel(8000, 16)(np.zeros((2, 99))), "waveform must have one axis"),
        (lambda: connected(pause=-1.0), "pause must be"),
        (lambda: connected(probabilities=np.ones(9)), "probabilities must"),
        (lambda: connected(probabilities=-np.ones(10)), "probabilities must"),
        (lambda: connected(probabilities=np.zeros(10)), "probabilities must have a value above 0"),
        (lambda: connected(pool=[]), "pool must name recordings from 0 to 399, got 0"),
        (lambda: connected(pool=[400]), "pool must name recordings from 0"),
        (
            lambda: connected(pool=np.flatnonzero(TONES.labels > 0)),
            "pool must hold digit 0 of high, got none",
        ),
        (lambda: mel_filter_bank(8000, 64, 40), "n_mels must leave a bin of 64 to each filter"),
        (lambda: mel_filter_bank(0, 64, 4), "rate must be"),
        (lambda: mel_filter_bank(8000, 1, 4), "n_fft must be"),
        (lambda: LogMel(8000, 16, window=0.0), "window must be"),
        (lambda: LogMel(8000, 16, hop=1e-5), "window and hop must span samples"),
        (lambda: SpeechBatches(utterances([]), 4), "utterances must hold one"),
        (lambda: SpeechBatches(utterances([3]), 0), "batch must be"),
        (lambda: features_of(connected(2), LogMel(8000, 16), [], []), "words and targets must be as many"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
