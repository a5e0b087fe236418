"""Every architecture trains, is saved, and is the same network when it is loaded; what does not fit is refused."""

from pathlib import Path

import pytest
import torch
from cli import BARE, TINY, train

from sparse_seg.classes import Classes
from sparse_seg.data.sample import ImageSet
from sparse_seg.errors import UserError
from sparse_seg.losses import PartialCrossEntropy
from sparse_seg.networks.build import ARCHITECTURES, create
from sparse_seg.networks.sizes import LEAST, size_multiple
from sparse_seg.networks.trained import described, load_trained
from sparse_seg.training.checkpoint import save_atomically

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (99, 99, 99)))
ENCODERS = {"dpt": "tu-vit_tiny_patch16_224"}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_architecture_trains_and_is_rebuilt_from_its_checkpoint(tmp_path: Path, arch: str) -> None:
    size, encoder = max(64, LEAST.get(arch, 0)), ENCODERS.get(arch, "resnet18")
    torch.manual_seed(0)
    network = create(arch, encoder, None, classes=3, in_channels=4)
    assert arch == "dpt" or network.size_multiple == size_multiple(arch)
    assert size % network.size_multiple == 0
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    target = torch.full((2, size, size), 255)
    target[:, 3, 4] = 1
    before = PartialCrossEntropy()(network(torch.ones(2, 4, size, size)), target)
    before.backward()
    optimizer.step()
    assert PartialCrossEntropy()(network(torch.ones(2, 4, size, size)), target) < before
    config = {"_target_": "sparse_seg.networks.create", "arch": arch, "encoder": encoder}
    images = ImageSet(CLASSES, [], bands=(1, 2, 3, 4))
    content = {"state_dict": network.state_dict(), "model": described(config, images, size), "epoch": 1}
    save_atomically(content, tmp_path / "best.ckpt")
    rebuilt = load_trained(tmp_path / "best.ckpt")
    image = torch.rand(1, 4, size, size + network.size_multiple)
    with torch.inference_mode():
        torch.testing.assert_close(rebuilt.network(image), network.eval()(image))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model.arch=unett",), "model.arch=unett is unknown; choose unet, unetplusplus, manet"),
        (("model.arch=dpt",), "model.encoder=resnet18 does not fit model.arch=dpt: Only Timm encoders"),
        (
            ("model.arch=unetplusplus", "model.encoder=mit_b0"),
            "model.encoder=mit_b0 does not fit model.arch=unetplusplus",
        ),
        (("model.encoder=tu-vit_tiny_patch16_224",), "model.arch=dpt for a tu-vit_"),
        (("model.arch=pan", "data.size=64"), "data.size=64 must be a multiple of 16, and at least 128"),
        (("model.arch=deeplabv3plus", "data.size=40"), "data.size=40 must be a multiple of 16: 32 or 48"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    outcome = train(*TINY, *BARE, *words, cwd=tmp_path)
    assert outcome.code == 1
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_an_unknown_architecture_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"choose unet, .*dpt"):
        create("net", "resnet18", None, classes=2)
