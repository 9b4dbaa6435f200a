"""ResNets of random weights, as others would train them, and images that they tell apart."""

import numpy as np
import torch
import torchvision


def resnet(family="resnet18", stem="cifar", seed=0, channels=3):
    """Return a network with random weights, and batch normalisations with the statistics of some images."""
    torch.manual_seed(seed)
    network = getattr(torchvision.models, family)(weights=None)
    if stem == "cifar" or channels != 3:
        side, stride = (3, 1) if stem == "cifar" else (7, 2)
        network.conv1 = torch.nn.Conv2d(channels, 64, side, stride, side // 2, bias=False)
    if stem == "cifar":
        network.maxpool = torch.nn.Identity()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 0.9
    with torch.no_grad():  # so that images differ in their features
        network(torch.from_numpy(colour_patches(12, channels=channels, seed=9)).permute(0, 3, 1, 2) / 64 - 2)
    return network.eval()


def colour_patches(count=6, height=32, width=32, channels=3, seed=0):
    """Return images of 4×4 patches of random colours: networks that average take all pixel noise for the same."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, height // 4 + 1, width // 4 + 1, channels))
    return blocks.repeat(4, 1).repeat(4, 2)[:, :height, :width].astype(np.uint8)
