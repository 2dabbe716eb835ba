import numpy as np
import pytest

from octconvert.calibration.data.synthetic import dead_leaves, power_noise


def amplitude_slope(images) -> float:
    """Exponent of the fall of the radially averaged amplitude with the frequency."""
    grey = images.mean(axis=-1)
    size = grey.shape[1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = (abs(np.fft.fft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * window)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))) * size
    rings = np.arange(2, size // 2)
    averaged = [power[(radius >= ring - 0.5) & (radius < ring + 0.5)].mean() for ring in rings]
    return -np.polyfit(np.log(rings), np.log(averaged), 1)[0] / 2


@pytest.fixture(scope="module")
def small():
    return dead_leaves(256, 32, 32)


def test_leaves_have_the_pixel_statistics_of_photographs(small):
    assert small.shape == (256, 32, 32, 3) and small.dtype == "float32"
    assert small.min() >= 0 and small.max() <= 1
    assert np.allclose(small.mean(axis=(0, 1, 2)), 0.45, atol=0.05)
    assert np.allclose(small.std(axis=(0, 1, 2)), 0.25, atol=0.03)
    assert 0.08 < small.mean(axis=(1, 2, 3)).std() < 0.18
    assert 0.03 < small.std(axis=(1, 2, 3)).std() < 0.12


def test_channels_of_leaves_go_together_but_are_not_the_same(small):
    together = np.corrcoef(small.reshape(-1, 3).T)
    assert 0.75 < together[0, 2] < together[0, 1] < 0.98
    assert 0.75 < together[0, 2] < together[1, 2] < 0.98


@pytest.mark.parametrize("count, size", [(128, 32), (16, 128)])
def test_spectrum_of_leaves_falls_as_in_photographs(count, size):
    assert 0.9 < amplitude_slope(dead_leaves(count, size, size)) < 1.5


def test_leaves_follow_the_seed():
    first, again, other = (dead_leaves(3, 16, 20, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert abs(first - other).mean() > 0.05


@pytest.mark.parametrize(
    "shape", [(2, 24, 60, 1), (3, 61, 33, 5), (1, 1, 1, 3), (2, 1, 9, 2), (1, 3, 2, 12), (0, 8, 8, 3)]
)
def test_leaves_come_in_any_shape(shape):
    images = dead_leaves(*shape)
    assert images.shape == shape
    assert np.isfinite(images).all()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_noise_has_the_spectrum_asked_for(exponent):
    noise = power_noise(64, 48, 48, 1, exponent)
    power = (abs(np.fft.fft2(noise[..., 0])) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(48)))
    inside = (radius > 0) & (radius < 0.5)
    slope = np.polyfit(np.log(radius[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-2 * exponent, abs=0.05)


@pytest.mark.parametrize("shape", [(3, 16, 16, 3), (2, 9, 30, 1), (2, 31, 8, 7), (2, 1, 1, 2)])
def test_noise_is_standardised_in_every_channel(shape):
    noise = power_noise(*shape, exponent=1.2, seed=3)
    assert noise.shape == shape and noise.dtype == "float32"
    assert np.allclose(noise.mean(axis=(1, 2)), 0, atol=1e-5)
    assert np.allclose(noise.std(axis=(1, 2)), 1 if shape[1] > 1 else 0, atol=1e-4)
    assert (noise == power_noise(*shape, exponent=1.2, seed=3)).all()
