"""The network, its normalisation, and above all: weights from a file are in the encoder, every one of them."""

import os
import socket
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sparse_seg.errors import UserError
from sparse_seg.networks.build import create, load_encoder_weights

State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def random_state(module: nn.Module, seed: int = 0) -> State:
    """A state_dict of noise, in which no two tensors of a shape are equal."""
    generator = torch.Generator().manual_seed(seed)
    noise = {k: torch.rand(v.shape, generator=generator, dtype=torch.float64) for k, v in module.state_dict().items()}
    return {k: (1000 * v).long() if "num_batches" in k else v.float() for k, v in noise.items()}


def save(state: State, path: Path) -> Path:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def encoder_of(name: str) -> nn.Module:
    return smp.encoders.get_encoder(name, in_channels=3, depth=5, weights=None)


def check_equal(encoder: nn.Module, expected: State) -> None:
    """expected: the encoder's own key → tensor."""
    state = encoder.state_dict()
    assert state.keys() == expected.keys()
    assert [k for k in state if not torch.equal(state[k], expected[k])] == []


@pytest.mark.parametrize("encoder", ["resnet18", "tu-tf_efficientnet_lite0"])
def test_network_returns_logits_of_the_images_size(encoder):
    network = create("unet", encoder, None, classes=7).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 64, 96)).shape == (2, 7, 64, 96)


@pytest.mark.parametrize(
    ("encoder", "mean", "std"),
    [
        ("resnet34", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tu-resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tu-tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("xception", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("dpn68", (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    ],
)
def test_the_input_is_normalised_as_the_encoder_was_trained(encoder, mean, std):
    network = create("unet", encoder, None, classes=3)
    seen: list[Tensor] = []
    network.network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        network.eval()(image)
    expected = torch.stack([(image[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(seen[0], expected)
    assert {"mean", "std"} <= network.state_dict().keys()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_a_file_with_smps_names_fills_every_layer(tmp_path, suffix, prefix):
    given = random_state(encoder_of("resnet18"))
    path = save({prefix + k: v for k, v in given.items()}, tmp_path / f"weights{suffix}")
    check_equal(create("unet", "resnet18", str(path), classes=3).network.encoder, given)


def test_a_whole_training_checkpoint_gives_its_encoder(tmp_path):
    whole = random_state(smp.Unet("resnet18", encoder_weights=None, classes=3))
    path = tmp_path / "whole.pth"
    torch.save({"state_dict": whole, "epoch": 3}, path)
    expected = {k.removeprefix("encoder."): v for k, v in whole.items() if k.startswith("encoder.")}
    check_equal(create("unet", "resnet18", str(path), classes=3).network.encoder, expected)


@pytest.mark.parametrize(
    ("name", "flattened"),
    [("resnet18", False), ("test_convnext", True), ("test_byobnet", True)],
)
def test_a_file_with_timms_names_fills_every_layer(tmp_path, name, flattened):
    """timm's own features-only network, loaded by timm from the whole one, is the independent mapping."""
    whole = timm.create_model(name, pretrained=False)
    given = random_state(whole)
    whole.load_state_dict(given)
    path = save(given, tmp_path / "weights.safetensors")
    encoder = create("unet", f"tu-{name}", str(path), classes=3).network.encoder.eval()
    changed = [k for k in encoder.state_dict() if k.removeprefix("model.") not in given]
    assert bool(changed) == flattened
    values = {(v.shape, v.sum().item()) for v in given.values()}
    assert all((v.shape, v.sum().item()) in values for v in encoder.state_dict().values())


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_byobnet", "test_efficientnet"])
def test_a_loaded_timm_encoder_computes_what_timm_computes(tmp_path, name):
    torch.manual_seed(0)
    whole = timm.create_model(name, pretrained=False).eval()
    path = save(whole.state_dict(), tmp_path / "weights.safetensors")
    encoder = create("unet", f"tu-{name}", str(path), classes=3).network.encoder.eval()
    check_features(encoder, whole)


def check_features(encoder: nn.Module, whole: nn.Module) -> None:
    """An encoder's features are the intermediate ones of timm's whole network."""
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = {f.shape[-1]: f for f in whole.forward_intermediates(image, intermediates_only=True)}
        features = {f.shape[-1]: f for f in encoder(image)[1:]}
    common = features.keys() & expected.keys()
    assert len(common) >= 4
    assert min(features) in common
    for side in common:
        torch.testing.assert_close(features[side], expected[side])


def test_the_real_imagenet_file_is_in_the_encoder_layer_by_layer():
    if not (folder := os.environ.get("SPARSE_SEG_WEIGHTS")):
        pytest.skip("SPARSE_SEG_WEIGHTS is unset: no file of real weights")
    path = Path(folder) / "tf_efficientnet_lite0.imagenet.safetensors"
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    whole.load_state_dict(load_file(path))  # timm's own mapping, and strict
    encoder = create("unet", "tu-tf_efficientnet_lite0", str(path), classes=6).network.encoder.eval()
    theirs = {f"model.{k}": v for k, v in whole.state_dict().items()}
    check_equal(encoder, {k: theirs[k] for k in encoder.state_dict()})
    assert sum(p.numel() for p in encoder.parameters()) > 0.6 * sum(p.numel() for p in whole.parameters())
    check_features(encoder, whole)


@pytest.mark.parametrize("bands", [1, 2, 4, 13])
@pytest.mark.parametrize("name", ["resnet18", "mobileone_s0"])
def test_weights_of_rgb_become_those_of_other_bands_as_smp_does_it(tmp_path, name, bands):
    theirs = encoder_of(name)
    path = save(random_state(theirs), tmp_path / "weights.safetensors")
    theirs.load_state_dict(load_file(path))
    theirs.set_in_channels(bands, pretrained=True)
    network = create("unet", name, str(path), classes=3, in_channels=bands).eval()
    ours = network.network.encoder.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[key], value)
    with torch.inference_mode():
        assert network(torch.rand(1, bands, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("bands", [1, 2, 4, 13])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_byobnet", "test_efficientnet"])
def test_weights_of_rgb_become_those_of_other_bands_as_timm_does_it(tmp_path, name, bands):
    path = save(random_state(timm.create_model(name)), tmp_path / "weights.safetensors")
    file = {"file": str(path), "hf_hub_id": None, "url": ""}
    theirs = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=file, in_chans=bands, features_only=True, out_indices=(0, 1, 2, 3)
    ).state_dict()
    ours = create("unet", f"tu-{name}", str(path), classes=3, in_channels=bands).network.encoder.state_dict()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[f"model.{key}"], value)


def test_an_image_whose_bands_are_rgb_twice_is_seen_as_rgb(tmp_path):
    given = {k: v - 0.5 if v.ndim == 4 else v.clamp(min=0.5) for k, v in random_state(encoder_of("resnet18")).items()}
    path, image = str(save(given, tmp_path / "weights.safetensors")), torch.rand(1, 3, 64, 64, dtype=torch.float64)
    rgb, twice = (create("unet", "resnet18", path, classes=3, in_channels=n).double().eval() for n in (3, 6))
    with torch.inference_mode():
        expected = rgb.network.encoder((image - rgb.mean) / rgb.std)[1]
        both = torch.cat([image, image], 1)
        torch.testing.assert_close(twice.network.encoder((both - twice.mean) / twice.std)[1], expected)
    assert twice.mean.flatten().tolist() == rgb.mean.flatten().tolist() * 2
    single = create("unet", "resnet18", None, classes=3, in_channels=1)
    assert single.std.item() == pytest.approx((0.229 + 0.224 + 0.225) / 3)


def test_a_file_with_as_many_bands_is_taken_as_it_is(tmp_path):
    given = random_state(create("unet", "resnet18", None, classes=3, in_channels=4).network.encoder)
    path = str(save(given, tmp_path / "weights.safetensors"))
    check_equal(create("unet", "resnet18", path, classes=3, in_channels=4).network.encoder, given)
    with pytest.raises(
        UserError, match=r"1 of another shape \(conv1.weight \(64, 4, 7, 7\) instead of \(64, 3, 7, 7\)"
    ):
        create("unet", "resnet18", path, classes=3)


def test_a_file_of_another_network_is_refused_naming_the_first_keys(tmp_path):
    path = save(random_state(timm.create_model("test_efficientnet")), tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="another network") as caught:
        create("unet", "tu-test_resnet", str(path), classes=3)
    assert "tensors missing (model.conv1.0.weight, " in str(caught.value)
    assert "first unused keys: blocks.0.0.bn1.bias, " in str(caught.value)
    assert len(str(caught.value)) < 700


def test_an_encoder_whose_keys_cannot_be_mapped_is_refused(tmp_path):
    """timm makes stem.conv to stem_conv here, and that is no number."""
    path = save(timm.create_model("resnetv2_18", pretrained=False).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"tensors missing \(model.stem_conv.weight"):
        create("unet", "tu-resnetv2_18", str(path), classes=3)


def test_a_refused_file_leaves_the_encoder_as_it_was(tmp_path):
    encoder = encoder_of("resnet18")
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    given = random_state(encoder)
    first, *_, last = given
    other_shape = save({**given, last: torch.ones(3)}, tmp_path / "shape.safetensors")
    with pytest.raises(UserError, match=rf"1 of another shape \({last} \(3,\) instead of"):
        load_encoder_weights(encoder, other_shape, "resnet18")
    lacking = save({k: v for k, v in given.items() if k != "layer4.1.bn2.bias"}, tmp_path / "lacking.safetensors")
    with pytest.raises(UserError, match=r"1 tensors missing \(layer4.1.bn2.bias\)"):
        load_encoder_weights(encoder, lacking, "resnet18")
    check_equal(encoder, before)
    assert first in given


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    path = tmp_path / "trap.pth"
    torch.save({"state_dict": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(UserError, match=r"trap.pth cannot be read as weights"):
        create("unet", "resnet18", str(path), classes=3)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0, 0.001, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = save(random_state(encoder_of("resnet18")), tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match="cannot be read as weights"):
        create("unet", "resnet18", str(path), classes=3)


def test_a_file_without_tensors_is_refused(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([1, 2, 3], path)
    with pytest.raises(UserError, match="cannot be read as weights"):
        create("unet", "resnet18", str(path), classes=3)


def test_unknown_encoders_and_missing_files_are_named():
    with pytest.raises(UserError, match=r"model.encoder=resnet19 is not an encoder"):
        create("unet", "resnet19", None, classes=3)
    with pytest.raises(UserError, match=r"model.encoder=tu-resnet19 is not an encoder"):
        create("unet", "tu-resnet19", None, classes=3)
    with pytest.raises(UserError, match="encoder_weights=imagnet is neither imagenet, nor null, nor a file"):
        create("unet", "resnet18", "imagnet", classes=3)


def test_imagenet_weights_that_cannot_be_had_name_the_ways_out(monkeypatch):
    build = smp.create_model

    def offline(*args, encoder_weights=None, **kwargs):
        if encoder_weights is not None:
            raise OSError("Name or service not known")
        return build(*args, encoder_weights=None, **kwargs)

    monkeypatch.setattr(smp, "create_model", offline)
    with pytest.raises(UserError, match=r"ImageNet weights of resnet18 cannot be loaded .OSError: Name or") as caught:
        create("unet", "resnet18", "imagenet", classes=3)
    assert "model.encoder_weights=null" in str(caught.value)
    assert "FILE" in str(caught.value)
