"""Pixels to tensors, crop and flip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from fvm_core.errors import DataError, SettingsError
from fvm_core.models.inputs import black, random_crop_flip, to_input
from fvm_core.models.spec import NORMALISATIONS, ModelSpec


def _pixels(b: int = 5, size: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (b, size, size, channels), dtype=np.uint8)


def test_to_input_equals_torchvision() -> None:
    mean, std = NORMALISATIONS["cifar10"]
    pixels = _pixels()
    before = pixels.copy()
    reference = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    expected = torch.stack([reference(image) for image in pixels])
    x = to_input(pixels, ModelSpec("cifar_resnet18", 10, mean=mean, std=std))
    torch.testing.assert_close(x, expected)
    assert x.is_contiguous()
    assert np.array_equal(pixels, before)


def test_to_input_takes_one_value_for_all_channels_and_read_only_pixels() -> None:
    pixels = _pixels(channels=1)
    pixels.setflags(write=False)
    x = to_input(pixels, ModelSpec("digits_cnn", 10, in_channels=1, mean=(0.5,), std=(0.5,)))
    torch.testing.assert_close(x[:, 0], torch.from_numpy(pixels[..., 0] / 127.5 - 1).float())


@pytest.mark.parametrize("bad", [_pixels(channels=1), _pixels()[0], _pixels().astype(np.float32)])
def test_to_input_refuses_other_arrays(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"`pixels` must be uint8 of shape \(b, h, w, 3\)"):
        to_input(bad, ModelSpec("cifar_resnet18", 10))


def test_to_input_refuses_bad_normalisation() -> None:
    with pytest.raises(SettingsError, match="`mean` must hold 1 or 3 values"):
        to_input(_pixels(), ModelSpec("cifar_resnet18", 10, mean=(0.1, 0.2)))
    with pytest.raises(SettingsError, match="`std` must be > 0"):
        to_input(_pixels(), ModelSpec("cifar_resnet18", 10, std=(0.0,)))


def test_crop_flip_is_the_usual_recipe_on_raw_pixels_to_the_last_bit() -> None:
    """The expected side is torchvision's: pad the uint8 image with black, crop, mirror, and only then normalise."""
    mean, std = NORMALISATIONS["cifar10"]
    spec = ModelSpec("cifar_resnet18", 10, mean=mean, std=std)
    pixels = _pixels(b=1, size=5)
    normalise = v1.Compose([v1.ToTensor(), v1.Normalize(mean, std)])
    padded = v1.Pad(1, fill=0)(Image.fromarray(pixels[0]))
    possible = []
    for top in range(3):
        for left in range(3):
            crop = v1.functional.crop(padded, top, left, 5, 5)
            possible += [normalise(crop), normalise(v1.functional.hflip(crop))]
    x = to_input(pixels, spec).expand(400, -1, -1, -1)
    out = random_crop_flip(x, torch.Generator().manual_seed(3), fill=black(spec), padding=1)
    found = {next(i for i, crop in enumerate(possible) if torch.equal(sample, crop)) for sample in out}
    assert found == set(range(18))


@pytest.mark.parametrize("name", NORMALISATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_black_is_what_to_input_makes_of_zeros(name: str, channels: int) -> None:
    mean, std = NORMALISATIONS[name]
    if len(mean) > channels:
        mean, std = mean[:1], std[:1]
    spec = ModelSpec("cifar_resnet18", 10, in_channels=channels, mean=mean, std=std)
    expected = v2.functional.normalize(torch.zeros(channels, 1, 1), mean * (channels // len(mean)), std)
    assert torch.equal(black(spec), expected[:, 0, 0])


def test_crop_flip_depends_on_the_generator_only() -> None:
    x, fill = torch.randn(8, 3, 32, 32), torch.zeros(3)
    first = random_crop_flip(x, torch.Generator().manual_seed(1), fill=fill)
    torch.manual_seed(99)
    assert torch.equal(first, random_crop_flip(x, torch.Generator().manual_seed(1), fill=fill))
    assert not torch.equal(first, random_crop_flip(x, torch.Generator().manual_seed(2), fill=fill))
    assert first.shape == x.shape and first.is_contiguous()
