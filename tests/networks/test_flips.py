"""The average over flips and rotations."""

import torch
from torch import nn

from sparse_seg.networks.flips import averaged_posterior


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1).eval()


@torch.no_grad()
def test_it_turns_with_the_image() -> None:
    net, image = network(), torch.rand(2, 3, 6, 10)
    averaged = averaged_posterior(net, image)
    assert averaged.shape == (2, 4, 6, 10)
    for turn in (lambda x: x.flip(-1), lambda x: x.mT, lambda x: x.rot90(1, (-2, -1))):
        torch.testing.assert_close(averaged_posterior(net, turn(image)), turn(averaged))


@torch.no_grad()
def test_it_is_the_mean_over_eight_views_each_turned_back() -> None:
    net, image = network(), torch.rand(1, 3, 8, 8)
    views = []
    for k in range(4):
        for mirrored in (False, True):
            view = image.rot90(k, (-2, -1))
            said = net(view.flip(-1)).flip(-1) if mirrored else net(view)
            views.append(said.softmax(1).rot90(-k, (-2, -1)))
    torch.testing.assert_close(averaged_posterior(net, image), torch.stack(views).mean(0))


@torch.no_grad()
def test_where_all_views_agree_it_is_the_posterior() -> None:
    net = nn.Conv2d(3, 4, 1)
    image = torch.rand(1, 3, 4, 6)
    torch.testing.assert_close(averaged_posterior(net, image), net(image).softmax(1))
