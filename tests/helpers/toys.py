"""Small GANStep, a batch for it, and helpers that find what a step has changed."""

import torch
from torch import Tensor, nn

from gancolor.config.networks import LossConfig
from gancolor.config.options import OptimConfig
from gancolor.data.batch import Batch
from gancolor.losses.objective import Objective
from gancolor.models import build_discriminator, build_generator
from gancolor.training.gan_step import GANStep
from gancolor.utils.hardware import Hardware

RATES = {"lr_g": 1e-3, "lr_d": 2e-3, "ema": 0.75}
NETWORKS = ("generator", "discriminator", "ema")
PARTS = (*NETWORKS, "optim_g", "optim_d")
CLASSES = 3
SIZE = 16


def make_batch(count: int = 4, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    lightness, chroma = (torch.rand(count, channels, SIZE, SIZE, generator=generator) * 2 - 1 for channels in (1, 2))
    return Batch(lightness, chroma, torch.tensor([2, 0, -1, 1])[torch.arange(count) % 4])


def spoiled(batch: Batch, value: float, where: str = "lightness") -> Batch:
    """Return the batch with a single pixel set to this value."""
    tensor = getattr(batch, where).clone()
    tensor[0, 0, 3, 3] = value
    return batch._replace(**{where: tensor})


def some_rarity(seed: int = 0) -> Tensor:
    """Weights of the 313 bins."""
    return torch.rand(313, generator=torch.Generator().manual_seed(seed)) * 2 + 0.1


def difference(picture: Tensor, truth: Tensor) -> Tensor:
    """Cheap stand-in for a perceptual distance."""
    return (picture - truth).abs().mean(dim=(1, 2, 3))


def make_generator(arch: str = "attention_ugan", **options: object) -> nn.Module:
    """Create a minimal generator."""
    small = {"width": 4, "size": SIZE, "dropout": 0.0, "global_size": SIZE, "classifier_width": 4}
    small |= {"neurons": "low", "filters": "low", "backbone_weights": "random"}
    return build_generator(arch, **{**small, "classes": CLASSES, **options})


def make_gan_step(
    loss: LossConfig | None = None, optim: OptimConfig | None = None, precision: str = "fp32", norm: str = "batch",
    arch: str = "attention_ugan", rarity: Tensor | None = None, generator: dict | None = None,
    compiled: bool = False, graphs: bool = False, **discriminator: object,
) -> GANStep:  # fmt: skip
    """Create a GANStep, the same every time."""
    torch.manual_seed(0)
    network = make_generator(arch, norm=norm, **(generator or {}))
    opponent = build_discriminator(SIZE, **{"layers": 1, "width": 4, "norm": norm, **discriminator})
    objective = Objective(loss or LossConfig(l1=10.0), some_rarity() if rarity is None else rarity, difference)
    return GANStep(
        network, opponent, objective, optim or OptimConfig(), Hardware(torch.device("cpu"), precision), compiled, graphs
    )


def state_of(gan_step: GANStep) -> dict[str, Tensor]:
    """Return copies of all saved tensors of a GANStep, by name."""
    state = {}
    for name, part in gan_step.state_parts().items():
        if isinstance(part, nn.Module):
            state |= {f"{name}.{key}": value.clone() for key, value in part.state_dict().items()}
        else:
            for number, of_one in part.state_dict()["state"].items():
                state |= {f"{name}.{number}.{key}": value.clone() for key, value in of_one.items()}
    return state


def changed(before: dict[str, Tensor], after: dict[str, Tensor], part: str) -> set[str]:
    return {
        name
        for name in after
        if name.startswith(f"{part}.") and not (name in before and torch.equal(before[name], after[name]))
    }


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def all_equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def catch_gradients(gan_step: GANStep) -> dict[str, list[Tensor]]:
    """Record the gradients that each optimizer gets from now on, by network, because a step frees them."""
    caught: dict[str, list[Tensor]] = {}
    for name, optimizer in (("generator", gan_step.optim_g), ("discriminator", gan_step.optim_d)):

        def catch(optimizer, _args, _kwargs, name=name):
            caught[name] = [p.grad.clone() for p in optimizer.param_groups[0]["params"] if p.grad is not None]

        optimizer.register_step_pre_hook(catch)
    return caught
