import numpy as np
import pytest

from bbtheory import validate


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.25), np.int64(1), np.array(0.5)])
def test_real_accepts_numbers(value):
    assert validate.real("x", value, "[0, 1]") == float(value)


@pytest.mark.parametrize("value", [-1e-9, 1.0, np.nan, np.inf, "0.5", None, True, [0.5], 10**400])
def test_real_refuses_everything_else(value):
    with pytest.raises(ValueError, match=r"^x must be a number in \[0, 1\), got "):
        validate.real("x", value, "[0, 1)")


@pytest.mark.parametrize("value", [1.0, "1", None, True, 0, np.array([1])])
def test_integer_refuses(value):
    with pytest.raises(ValueError, match=r"^n must be an integer in \[1, inf\), got "):
        validate.integer("n", value, "[1, inf)")


def test_integer_accepts_numpy_integers():
    assert validate.integer("n", np.int32(3)) == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "x must not be empty"),
        ([[1.0]], "x must have 1 axis, got shape (1, 1)"),
        ([1.0, np.nan], "x must be finite numbers in [0, inf), got nan at index 1"),
        ([1.0, np.inf], "x must be finite numbers in [0, inf), got inf at index 1"),
        ([1.0, -2.0], "x must be finite numbers in [0, inf), got -2.0 at index 1"),
        (["a"], "x must be an array of real numbers, got dtype <U1"),
        ([True], "x must be an array of real numbers, got dtype bool"),
        ([1j], "x must be an array of real numbers, got dtype complex128"),
        ([[1.0], [1.0, 2.0]], "x must be a rectangular array of numbers, got ragged rows"),
        (None, "x must be an array of real numbers, got dtype object"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "x must have no masked elements, got 1"),
    ],
)
def test_array_refuses(value, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        validate.array("x", value, "[0, inf)")
    assert str(error.value) == message


def test_room():
    validate.room("n", 3, 10**9)
    with pytest.raises(ValueError, match=r"^n must need arrays of at most 1e\+09 values, got 7 for 1e\+10$"):
        validate.room("n", 7, 10**10)


def test_array_keeps_integers_only_when_asked():
    assert validate.array("x", [1, 2]).dtype == np.float64
    assert validate.array("x", np.array([1, 2], dtype=np.uint8), keep_integers=True).dtype == np.int64


def test_array_names_the_first_offender_of_many_axes():
    with pytest.raises(ValueError, match=r"got 2.0 at index \(1, 0\)"):
        validate.array("x", [[0.0, 1.0], [2.0, 3.0]], "[0, 1]", ndim=2)


def test_array_does_not_change_its_input():
    given = np.array([1.0, 2.0])
    validate.array("x", given)
    assert given.flags.writeable


def test_choice_and_exactly_one():
    assert validate.choice("rule", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="rule must be one of a, b, got 'c'"):
        validate.choice("rule", "c", ("a", "b"))
    assert validate.exactly_one(beta=None, budget=1) == "budget"
    with pytest.raises(ValueError, match="exactly one of beta or budget must be given, got none"):
        validate.exactly_one(beta=None, budget=None)
    with pytest.raises(ValueError, match="got beta and budget"):
        validate.exactly_one(beta=1, budget=1)


def test_integers_beyond_64_bits_do_not_wrap():
    large = np.array([2**64 - 1, 1], dtype=np.uint64)
    assert validate.array("x", large, "[0, inf)", keep_integers=True).tolist() == [2.0**64, 1.0]


def test_instance():
    assert validate.instance("x", 3, int) == 3
    with pytest.raises(ValueError, match="x must be a str, got NoneType"):
        validate.instance("x", None, str)
