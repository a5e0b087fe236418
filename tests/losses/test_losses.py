"""Losses: every claim of the contract against an independent formula or a limit."""

import doctest
import functools
from pathlib import Path

import hydra
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor, nn

from sparse_seg.losses import (
    PartialCrossEntropy,
    PartialDice,
    PartialFocal,
    WeightedSum,
    as_module,
    functional,
    partial_cross_entropy,
    partial_dice,
    partial_focal,
)

CONF = Path(__file__).parents[2] / "conf" / "loss"
IGNORE = 255
LOSSES = {
    "ce": partial_cross_entropy,
    "ce_weighted": functools.partial(partial_cross_entropy, class_weights=[0.5, 1.0, 2.0]),
    "focal": partial_focal,
    "focal_half": functools.partial(partial_focal, gamma=0.5, alpha=[0.2, 0.3, 0.5]),
    "dice": partial_dice,
    "dice_smooth": functools.partial(partial_dice, smooth=1.0, class_weights=[0.5, 1.0, 2.0]),
    "ce_dice": WeightedSum([PartialCrossEntropy(), PartialDice()], [1.0, 0.5]),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
# Gathered, dense with holes, dense: the three ways through the code. 5 rows: not a multiple of 8 pixels.
every_share = pytest.mark.parametrize("share", [0.1, 0.6, 1.0])
both_layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
batches = st.tuples(st.integers(0, 2**31), st.floats(0, 1), st.sampled_from([(2, 3, 5, 7), (1, 3, 8, 8), (3, 3, 1, 1)]))


def batch(seed: int = 0, share: float = 0.1, shape: tuple[int, int, int, int] = (2, 3, 8, 8)) -> tuple[Tensor, Tensor]:
    """float64 logits and a target in which about `share` of the pixels is labelled."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    target[torch.rand(target.shape, generator=generator) >= share] = IGNORE
    return logits, target


def gradient(loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(logits, target)
    (grad,) = torch.autograd.grad(value, logits)
    return value.detach(), grad


def dense_focal(logits: Tensor, target: Tensor, gamma: float, factor: Tensor) -> Tensor:
    """The formula of the paper with one-hot maps, summed over labelled pixels and divided by their number."""
    labelled = (target != IGNORE).double()
    one_hot = torch.stack([(target == c).double() for c in range(logits.shape[1])], dim=1)
    p_t = (logits.exp() / logits.exp().sum(1, keepdim=True) * one_hot).sum(1)
    p_t = torch.where(labelled > 0, p_t, torch.ones_like(p_t))
    alpha_t = (one_hot * factor.view(1, -1, 1, 1)).sum(1)
    return (-alpha_t * (1 - p_t) ** gamma * p_t.log()).sum() / labelled.sum()


@both_layouts
@every_share
def test_focal_with_gamma_zero_is_cross_entropy(share, layout):
    logits, target = batch(share=share)
    logits = logits.contiguous(memory_format=layout)
    expected = gradient(lambda x, y: F.cross_entropy(x, y, ignore_index=IGNORE), logits, target)
    for loss in (partial_cross_entropy, functools.partial(partial_focal, gamma=0.0)):
        torch.testing.assert_close(gradient(loss, logits, target), expected)


@settings(deadline=None)
@given(batches.filter(lambda b: b[1] > 0.3), st.floats(0, 5))
def test_focal_is_the_formula_of_the_paper(drawn, gamma):
    logits, target = batch(*drawn)
    if not (target != IGNORE).any():
        return
    alpha, weights = torch.tensor([0.2, 0.3, 0.5]).double(), torch.tensor([3.0, 1.0, 0.5]).double()
    torch.testing.assert_close(
        partial_focal(logits, target, gamma=gamma, alpha=alpha, class_weights=weights),
        dense_focal(logits, target, gamma, alpha * weights),
    )


@every_share
def test_class_weights_are_divided_by_the_number_of_labels(share):
    logits, target = batch(share=share)
    weights = [0.5, 1.0, 4.0]
    terms = [
        weights[c] * -logits[b, :, h, w].log_softmax(0)[c]
        for b, h, w in (target != IGNORE).nonzero().tolist()
        for c in [int(target[b, h, w])]
    ]
    value = partial_cross_entropy(logits, target, class_weights=weights)
    torch.testing.assert_close(value, torch.stack(terms).sum() / len(terms))
    doubled = partial_cross_entropy(logits, target, class_weights=[2 * w for w in weights])
    torch.testing.assert_close(doubled, 2 * value)


@both_layouts
@every_share
@every_loss
def test_unlabelled_pixels_get_zero_gradient_and_labelled_ones_do_not(loss, share, layout):
    logits, target = batch(share=share)
    _, grad = gradient(loss, logits.contiguous(memory_format=layout), target)
    labelled = target != IGNORE
    assert (grad.abs().sum(1)[~labelled] == 0).all()
    assert (grad.abs().sum(1)[labelled] > 0).all()


@pytest.mark.parametrize("fill", [0.0, -1e30, float("inf"), float("nan")])
@every_share
@every_loss
def test_logits_of_unlabelled_pixels_change_nothing(loss, share, fill):
    logits, target = batch(share=share)
    filled = logits.masked_fill((target == IGNORE).unsqueeze(1), fill)
    torch.testing.assert_close(gradient(loss, filled, target), gradient(loss, logits, target), rtol=0, atol=0)


@both_layouts
@every_loss
def test_gradient_at_few_labels_has_the_layout_of_the_logits(loss, layout):
    logits, target = batch(share=0.1)
    _, grad = gradient(loss, logits.contiguous(memory_format=layout), target)
    assert grad.is_contiguous(memory_format=layout)


@settings(deadline=None)
@given(batches)
def test_losses_are_finite_and_not_negative(drawn):
    for loss in LOSSES.values():
        value, grad = gradient(loss, *batch(*drawn))
        assert value >= -1e-12
        assert value.isfinite()
        assert grad.isfinite().all()


@settings(deadline=None)
@given(batches, st.integers(0, 1000))
def test_losses_do_not_depend_on_the_order_of_images(drawn, seed):
    logits, target = batch(*drawn)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    for loss in LOSSES.values():
        torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_loss
def test_without_labels_the_loss_is_zero_with_a_zero_gradient(loss, dtype):
    value, grad = gradient(loss, batch()[0].to(dtype), torch.full((2, 8, 8), IGNORE))
    assert value == 0
    assert grad.shape == (2, 3, 8, 8)
    assert (grad == 0).all()


@every_share
@every_loss
def test_gradient_is_the_derivative(loss, share):
    logits, target = batch(share=share, shape=(1, 3, 3, 4))
    target[0, 0, 0] = 1
    if isinstance(loss, nn.Module):
        loss = loss.double()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_focal_is_finite_at_certainty(gamma):
    logits = torch.tensor([1e4, 0.0]).view(1, 2, 1, 1)
    for true_class, expected in ((0, 0.0), (1, 1e4)):
        target = torch.full((1, 1, 1), true_class)
        value, grad = gradient(functools.partial(partial_focal, gamma=gamma), logits, target)
        assert value == expected
        assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_share
@every_loss
def test_half_precision_logits_are_computed_in_float32(loss, share, dtype):
    logits, target = batch(share=share)
    half = logits.to(dtype)
    value, grad = gradient(loss, half, target)
    expected, _ = gradient(loss, half.float(), target)
    assert value.dtype == torch.float32
    assert grad.dtype == dtype
    assert value == expected


def test_dice_is_zero_when_right_and_one_when_wrong():
    _, target = batch(share=1.0)
    right = 1e3 * F.one_hot(target, 3).movedim(-1, 1).float()
    assert partial_dice(right, target) == 0
    assert partial_dice(right.roll(1, dims=1), target) == 1


@every_share
def test_dice_is_the_mean_over_classes_with_a_label(share):
    logits, target = batch(share=share)
    target[target == 2] = IGNORE
    rows, labels = logits.movedim(1, -1)[target != IGNORE].softmax(1), target[target != IGNORE]
    dice = [2 * rows[labels == c, c].sum() / (rows[:, c].sum() + (labels == c).sum()) for c in (0, 1)]
    torch.testing.assert_close(partial_dice(logits, target), 1 - sum(dice) / 2)
    torch.testing.assert_close(
        partial_dice(logits, target, class_weights=[2.0, 4.0, 100.0]), 2 * (1 - dice[0]) / 2 + 4 * (1 - dice[1]) / 2
    )


def test_weighted_sum_is_the_sum_of_its_terms():
    logits, target = batch()
    loss = WeightedSum([PartialCrossEntropy(), PartialDice(), plain], [1.0, 0.5, 2.0])
    expected = partial_cross_entropy(logits, target) + 0.5 * partial_dice(logits, target) + 2 * plain(logits, target)
    torch.testing.assert_close(loss(logits, target, None), expected)
    for weights in ([1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="one weight per term"):
            WeightedSum([PartialCrossEntropy(), PartialDice()], weights)


def test_class_weights_move_with_the_module_and_stay_out_of_its_state():
    loss = PartialFocal(gamma=1.0, alpha=[0.2, 0.3, 0.5], class_weights=[1.0, 2.0, 3.0])
    assert loss.state_dict() == {}
    assert {name for name, _ in loss.to("meta").named_buffers()} == {"alpha", "class_weights"}
    assert all(buffer.is_meta for buffer in loss.buffers())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PartialFocal(gamma=-1.0), "gamma"),
        (lambda: PartialFocal(gamma=float("nan")), "gamma"),
        (lambda: PartialFocal(alpha=0.25), "alpha"),
        (lambda: PartialCrossEntropy(class_weights="balanced"), "run.py"),
        (lambda: PartialCrossEntropy(class_weights=[1.0, -1.0]), "class_weights"),
        (lambda: PartialDice(smooth=-1.0), "smooth"),
        (lambda: partial_focal(*batch(), gamma=-0.5), "gamma"),
        (lambda: partial_focal(*batch(), alpha=[1.0]), "alpha must have one number per class"),
        (lambda: partial_cross_entropy(*batch(), class_weights=[1.0, 2.0]), "class_weights must have one number"),
        (lambda: partial_cross_entropy(batch()[0], batch()[1][:, :4]), r"\(B, C, H, W\)"),
        (lambda: partial_cross_entropy(batch()[0], batch()[1].byte()), "int64"),
        (lambda: partial_dice(batch()[0][:, :2], batch()[1]), "outside 0..1"),
    ],
)
def test_bad_values_are_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def plain(logits: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
    return scale * F.cross_entropy(logits, target, ignore_index=IGNORE)


def with_image(logits: Tensor, target: Tensor, *, image: Tensor) -> Tensor:
    return logits.sum() * 0 + image.sum()


class Plain(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return plain(logits, target) * self.scale


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (plain, 1.0),
        (functools.partial(plain, scale=2.0), 2.0),
        (Plain(3.0), 3.0),
        (functools.partial(Plain, scale=4.0), 4.0),
        (functools.partial(F.cross_entropy, ignore_index=IGNORE), 1.0),
        (functools.partial(PartialFocal, gamma=0.0), 1.0),
        (partial_cross_entropy, 1.0),
    ],
)
def test_a_users_loss_is_called_with_or_without_the_image(loss, scale):
    logits, target = batch()
    module = as_module(loss)
    assert isinstance(module, nn.Module)
    for args in ((logits, target), (logits, target, torch.zeros(2, 3, 8, 8))):
        torch.testing.assert_close(module(*args).double(), scale * plain(logits, target))


def test_a_users_loss_with_an_image_gets_it():
    assert as_module(with_image)(*batch(), torch.ones(2, 3, 8, 8)) == 384


def test_a_users_module_keeps_its_parameters():
    assert [name for name, _ in as_module(functools.partial(Plain)).named_parameters()] == ["loss.scale"]
    own = PartialFocal()
    assert as_module(own) is own


@pytest.mark.parametrize("loss", [None, "focal", 1.0, Plain, dict, functools.partial(dict), {"_target_": "x"}])
def test_what_is_no_loss_is_refused(loss):
    with pytest.raises(ValueError, match="a loss must be"):
        as_module(loss)


def test_a_misspelt_parameter_of_a_loss_is_named():
    with pytest.raises(ValueError, match=r"the loss PartialFocal cannot be built: .*'gama'"):
        as_module(functools.partial(PartialFocal, gama=1.0))  # type: ignore[call-arg]


def test_a_loss_that_needs_more_arguments_is_refused_at_construction():
    with pytest.raises(ValueError, match="margin"):
        as_module(lambda logits, target, margin: logits.sum())


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "custom"))
def test_every_loss_yaml_builds_and_computes(name):
    loss = as_module(hydra.utils.instantiate(OmegaConf.load(CONF / f"{name}.yaml")))
    value, grad = gradient(loss, *batch())
    assert value > 0
    assert grad.isfinite().all()


def test_custom_yaml_takes_a_function_by_its_path():
    cfg = OmegaConf.merge(OmegaConf.load(CONF / "custom.yaml"), {"_target_": f"{__name__}.plain", "scale": 2.0})
    logits, target = batch()
    torch.testing.assert_close(as_module(hydra.utils.instantiate(cfg))(logits, target), 2 * plain(logits, target))


def test_class_weights_from_yaml_are_a_list():
    cfg = OmegaConf.merge(OmegaConf.load(CONF / "ce.yaml"), {"class_weights": [0.5, 1.0, 2.0]})
    logits, target = batch()
    torch.testing.assert_close(hydra.utils.instantiate(cfg)(logits, target), LOSSES["ce_weighted"](logits, target))


def test_examples_in_docstrings_hold():
    assert doctest.testmod(functional).failed == 0
