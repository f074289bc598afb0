"""Every loader on damaged files: one line that says what is wrong and where, never a traceback of its own."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from bbtheory.train import MissingDataError, load_data, load_volume

BYTES = np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8)
MNIST = {"x_train": BYTES, "y_train": BYTES[:, 0, 0], "x_test": BYTES, "y_test": BYTES[:, 0, 0]}
VOLUME = dict.fromkeys(("raw", "labels", "membrane", "synapse"), BYTES) | {"is_test": np.arange(6) > 3}
LOADERS = {
    "mnist": (lambda root: load_data("mnist", root), MNIST),
    "fashion_mnist": (lambda root: load_data("fashion_mnist", root), MNIST),
    "em_vnc_stack1": (lambda root: load_volume("em_vnc_stack1", root), VOLUME),
}
SHARES = (0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999)


@pytest.fixture(params=LOADERS)
def loader(request):
    return request.param, *LOADERS[request.param]


def refused(load, root, name):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is looked at below
        load(root)
    message = str(error.value)
    assert message.startswith(str(root / f"{name}.npz"))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", SHARES)
def test_truncated_packs(loader, tmp_path, save, share):
    name, load, arrays = loader
    path = tmp_path / f"{name}.npz"
    save(path, **arrays)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert f"must be an npz file of {next(iter(arrays))}, " in refused(load, tmp_path, name)


def test_other_data(loader, tmp_path):
    name, load, arrays = loader
    np.savez(tmp_path / f"{name}.npz", **arrays)
    # labels beyond the classes: of the volume by their codes, of the others because they are not the originals
    message = refused(load, tmp_path, name)
    assert "must be the original" in message or "labels must be one of" in message


@pytest.mark.parametrize("bad", [BYTES[0, 0, 0], BYTES[None], BYTES.astype(np.int64), BYTES.astype("U3")])
def test_arrays_of_another_kind(loader, tmp_path, bad):
    name, load, arrays = loader
    for part in arrays:
        np.savez(tmp_path / f"{name}.npz", **(arrays | {part: bad}))
        assert f"{part} must be" in refused(load, tmp_path, name)


def test_an_empty_folder(loader, tmp_path, monkeypatch):
    name, load, _ = loader
    with pytest.raises(MissingDataError, match=rf"holds no {name}: put {name}\.npz"):
        load(tmp_path)
    (tmp_path / f"{name}.npz").mkdir()  # a folder in its place is no file
    with pytest.raises(MissingDataError, match=rf"holds no {name}: put {name}\.npz"):
        load(tmp_path)
    monkeypatch.delenv("BBTHEORY_DATA", raising=False)
    with pytest.raises(MissingDataError, match="name the folder by BBTHEORY_DATA"):
        load(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(loader, tmp_path):
    name, load, arrays = loader
    np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / f"{name}.npz").chmod(0)
    with pytest.raises(PermissionError):
        load(tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("share", SHARES)
def test_truncated_originals(loader, tmp_path, share):
    name, load, _ = loader
    content = (Path(os.environ["BBTHEORY_DATA"]) / f"{name}.npz").read_bytes()
    (tmp_path / f"{name}.npz").write_bytes(content[: int(share * len(content))])
    refused(load, tmp_path, name)
