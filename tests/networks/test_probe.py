"""A linear probe: its map is its layer at each pixel, its layer is scikit-learn's, and its encoder does not move."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sparse_seg.errors import UserError
from sparse_seg.networks.build import create
from sparse_seg.networks.probe import STRENGTHS, Probe, choose_strength, encoder_of, held_out, read_at, solve


@pytest.fixture
def probe() -> Probe:
    torch.manual_seed(0)
    made = Probe(smp.encoders.get_encoder("resnet18", weights=None), classes=4)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.normal_()
    return made


def test_a_map_is_the_layer_at_each_pixel(probe: Probe) -> None:
    image = torch.rand(1, 3, 64, 96)
    levels = [level[0] for level in probe.levels(image)]
    rows, cols = torch.tensor([0, 5, 63, 31]), torch.tensor([0, 95, 7, 48])
    features = read_at(levels, rows, cols)
    assert features.shape == (4, sum(probe.widths))
    torch.testing.assert_close(features @ probe.weight.T + probe.bias, probe(image)[0, :, rows, cols].T)


def test_the_first_features_are_the_pixel_and_what_lies_around_it(probe: Probe) -> None:
    image = torch.rand(1, 3, 64, 64)
    found = read_at([level[0] for level in probe.levels(image)], torch.tensor([20]), torch.tensor([30]))[0]
    around = image[0, :, 16:25, 26:35].reshape(3, -1)
    torch.testing.assert_close(found[:3], image[0, :, 20, 30])
    torch.testing.assert_close(found[3:6], around.mean(1))
    torch.testing.assert_close(found[6:9], around.std(1, unbiased=False))


def test_a_map_is_that_of_32_bits_whatever_surrounds_it(probe: Probe) -> None:
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        plain = probe(image)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(probe(image), plain)


def test_the_encoder_stays_as_it_is(probe: Probe) -> None:
    before = {k: v.clone() for k, v in probe.encoder.state_dict().items()}
    probe.train()
    probe(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in probe.encoder.state_dict().items())
    assert {name for name, p in probe.named_parameters() if p.grad is not None} == {"weight", "bias"}


def points(count: int = 300, width: int = 12, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=count)
    features = rng.normal(size=(count, width)) * np.linspace(0.1, 9, width) + rng.normal(size=(classes, width))[labels]
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


def test_the_layer_is_that_of_scikit_learn() -> None:
    features, labels = points()
    weight, bias = solve(features, labels, 3, strength=0.02)
    scaled = StandardScaler().fit_transform(features.numpy())
    other = LogisticRegression(C=1 / (0.02 * len(labels)), max_iter=5_000, tol=1e-9).fit(scaled, labels)
    said = (features @ weight.T + bias).softmax(1).numpy()
    np.testing.assert_allclose(said, other.predict_proba(scaled), atol=2e-3)


def test_the_layer_does_not_depend_on_the_number_of_threads() -> None:
    features, labels = points(5_000, 200)
    threads = torch.get_num_threads()
    try:
        layers = []
        for count in (1, 2):
            torch.set_num_threads(count)
            layers.append(solve(features, labels, 3, 0.02))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*layers, rtol=1e-5, atol=1e-6)


def test_offsets_are_what_the_layer_need_not_learn() -> None:
    features, labels = points()
    offset = torch.tensor([0.7, -0.4, 0.0])
    weight, bias = solve(features, labels, 3, 0.02)
    moved, other = solve(features, labels, 3, 0.02, offset.expand(len(labels), 3))
    plain = (features @ weight.T + bias).log_softmax(1)
    torch.testing.assert_close((features @ moved.T + other + offset).log_softmax(1), plain, atol=2e-3, rtol=0)


def test_beginning_elsewhere_leads_to_the_same_layer() -> None:
    features, labels = points()
    once = solve(features, labels, 3, 0.02)
    again = solve(features, labels, 3, 0.02, start=(torch.ones(3, 12), torch.ones(3)))
    torch.testing.assert_close(*[(features @ w.T + b).log_softmax(1) for w, b in (once, again)], atol=2e-3, rtol=0)


def test_a_fifth_of_each_group_is_held_out() -> None:
    groups = [(image, label) for image in range(3) for label in range(2) for _ in range(10)] + [(9, 0)] * 4
    held = held_out(groups)
    assert [int(held[k : k + 10].sum()) for k in range(0, 60, 10)] == [2] * 6
    assert not held[60:].any()


def test_noise_asks_for_a_strong_term_and_signal_for_a_weak_one() -> None:
    labels = points(600)[1]
    held = held_out([(0, c) for c in labels.tolist()])
    clear = torch.nn.functional.one_hot(labels, 3).float() * 9 + torch.randn(600, 3, generator=torch.Generator()) * 0.1
    noise = torch.randn(600, 40, generator=torch.Generator().manual_seed(0))
    assert choose_strength(noise, labels, 3, held) == max(STRENGTHS)
    assert choose_strength(clear, labels, 3, held) == min(STRENGTHS)


def test_a_probe_is_built_by_its_name_and_takes_any_bands() -> None:
    network = create("probe", "resnet18", None, classes=5, in_channels=4)
    assert network(torch.rand(1, 4, 64, 64)).shape == (1, 5, 64, 64)
    assert network.size_multiple == 32
    with pytest.raises(UserError, match=r"model\.encoder=nonsense gives a probe no levels"):
        encoder_of("nonsense", 3)
