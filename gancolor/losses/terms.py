"""Loss terms as pure functions. A term's name is its weight's flag (`--loss.NAME`) and its log key.

All terms are scalars. `predicted` (p) and `truth` (t) are chroma (B, 2, H, W) in [-1, 1], ab / 110. Terms that take
them are averaged over photographs and pixels, so that a weight means the same at every picture and batch size.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gancolor.choices import GanMode
from gancolor.color.bins import nearest_bin, soft_encode

Discriminator = Callable[[Tensor], Tensor]  # chroma (B, 2, H, W) to logits (B, 1, h, w)
LOG_MSE_FLOOR = 0.05  # 5.5 units of ab, about 30 dB of PSNR: smaller errors hardly change the loss
ROUNDING = 1e-6  # added under square roots, whose slope is infinite at 0 [squared levels of 255]


def l1(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return mean |p - t| (Isola 2017, eq. 3)."""
    return F.l1_loss(predicted.float(), truth.float())


def mse(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return mean (p - t)^2."""
    return F.mse_loss(predicted.float(), truth.float())


def log_mse(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over photographs of log(1 + m / s^2), with m a photograph's mean (p - t)^2 and s = LOG_MSE_FLOOR.

    This is PSNR as a loss (Chen 2021, HINet), but bounded for photographs that are already nearly right.
    """
    of_photographs = (predicted.float() - truth.float()).square().flatten(1).mean(dim=1)
    return torch.log1p(of_photographs / LOG_MSE_FLOOR**2).mean()


def smooth_l1(predicted: Tensor, truth: Tensor, delta: float) -> Tensor:
    """Return the mean of d^2 / (2 delta) where d = |p - t| is under delta, and d - delta / 2 elsewhere
    (Girshick 2015, eq. 3). Its slope at large errors is that of l1."""
    return F.smooth_l1_loss(predicted.float(), truth.float(), beta=delta)


def tv(predicted: Tensor) -> Tensor:
    """Return total variation: mean absolute difference of neighbours, across plus down (Rudin 1992, anisotropic)."""
    predicted = predicted.float()
    across, down = predicted.diff(dim=-1), predicted.diff(dim=-2)
    return across.abs().sum() / max(across.numel(), 1) + down.abs().sum() / max(down.numel(), 1)


def color_weighted(predicted: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return mean w (p - t)^2, with w the weight of the ground truth's bin (Vazquez 2023).

    Args:
        weights: of the bins (Q,), 1 on average over the training set's smoothed prior.
    """
    of_pixels = weights[nearest_bin(truth, len(weights))].unsqueeze(1)
    return (of_pixels * (predicted.float() - truth.float()).square()).mean()


def bins(logits: Tensor, truth: Tensor, weights: Tensor, neighbours: int) -> Tensor:
    """Return the cross-entropy with soft-encoded colours, each pixel weighted by its bin's rarity (Zhang 2016, eq. 2).
    It is a mean over pixels, where the paper has a sum.

    Args:
        logits: (B, Q, h, w); the ground truth is averaged down to that size.
        weights: of the bins (Q,), 1 on average over the training set's smoothed prior.
        neighbours: number of bins that a colour is spread over.
    """
    stride = -(-truth.shape[-2] // logits.shape[-2])
    truth = F.avg_pool2d(truth.float(), stride, ceil_mode=True)
    shares, numbers = soft_encode(truth, neighbours, len(weights))
    cross_entropy = -(shares * logits.float().log_softmax(dim=1).gather(1, numbers)).sum(dim=1)
    return (weights[nearest_bin(truth, len(weights))] * cross_entropy).mean()


def scene(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of scene logits (B, classes), a mean over the photographs whose label is not -1
    (Iizuka 2016, eq. 4); 0 if there are none."""
    total = F.cross_entropy(logits.float(), labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def colorfulness(picture: Tensor) -> Tensor:
    """Return 1 - mean colourfulness / 100 of sRGB (B, 3, H, W) in [0, 1] (DDColor, Kang 2023, eq. 7, but with the
    signed colourfulness of Hasler and Suesstrunk 2003). Its gradient is finite for uniform grey too."""
    return 1 - _colorfulness(picture).mean() / 100


def colorfulness_difference(picture: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over photographs of |colourfulness - the truth's| / 100, both sRGB (B, 3, H, W) in [0, 1].

    Unlike `colorfulness`, it asks no more colour of photographs than they have: by itself, it is least if a picture's
    colourfulness is the median of those that are possible.
    """
    return (_colorfulness(picture) - _colorfulness(truth)).abs().mean() / 100


def _colorfulness(picture: Tensor) -> Tensor:
    """Return the colourfulness of sRGB (B, 3, H, W) in [0, 1], (B,), with a finite gradient everywhere."""
    red, green, blue = (picture.float() * 255).unbind(dim=1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1).flatten(2)
    spread = (opponents.var(dim=-1, correction=0).sum(dim=1) + ROUNDING).sqrt()
    centre = (opponents.mean(dim=-1).square().sum(dim=1) + ROUNDING).sqrt()
    return spread + 0.3 * centre


def weight_l1(parameters: Iterable[Tensor]) -> Tensor:
    """Return sum |w| over weights. Biases and norms, which have one dimension, are excluded."""
    return torch.stack([p.abs().sum() for p in parameters if p.dim() > 1]).sum()


def weight_l2(parameters: Iterable[Tensor]) -> Tensor:
    """Return sum w^2 over weights. Biases and norms, which have one dimension, are excluded."""
    return torch.stack([p.square().sum() for p in parameters if p.dim() > 1]).sum()


def gan_generator(fake: Tensor, mode: GanMode) -> Tensor:
    """Return the generator's adversarial loss, given the discriminator's logits of generated pictures (any shape).

    vanilla: -log D(fake), the non-saturating form (Goodfellow 2014); lsgan: (D(fake) - 1)^2 (Mao 2017); hinge: -D(fake)
    (Lim and Ye 2017), which wgan_gp uses too (Gulrajani 2017).
    """
    fake = fake.float()
    if mode == "vanilla":
        return F.softplus(-fake).mean()
    if mode == "lsgan":
        return (fake - 1).square().mean()
    return -fake.mean()


def gan_discriminator(real: Tensor, fake: Tensor, mode: GanMode) -> Tensor:
    """Return the discriminator's loss, given its logits of real and generated pictures.

    It is the mean of both terms, so that the discriminator learns at half the generator's pace
    (Isola 2017, section 3.3). wgan_gp: D(fake) - D(real), not halved (Gulrajani 2017, eq. 3).
    """
    real, fake = real.float(), fake.float()
    if mode == "vanilla":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if mode == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if mode == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return fake.mean() - real.mean()


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute difference of discriminator features, averaged over layers (Wang 2018, eq. 4)."""
    return torch.stack([F.l1_loss(a.float(), b.float()) for a, b in zip(fake, real, strict=True)]).mean()


def r1(discriminator: Discriminator, chroma: Tensor) -> Tensor:
    """Return the R1 penalty, 1/2 E |grad D(x)|^2 on real pictures (Mescheder 2018, eq. 9). D is the mean over a
    picture's patches, and the gradient is with respect to its chroma."""
    return _input_gradient(discriminator, chroma).square().sum(dim=1).mean() / 2


def gradient_penalty(discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
    """Return E (|grad D(x)| - 1)^2 at random mixtures x of real and generated pictures (Gulrajani 2017, eq. 3). D is
    the mean over a picture's patches, and the gradient is with respect to its chroma."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    return (_input_gradient(discriminator, torch.lerp(real, fake, share)).norm(dim=1) - 1).square().mean()


def _input_gradient(discriminator: Discriminator, chroma: Tensor) -> Tensor:
    """Return the gradient of D with respect to chroma, (B, 2 H W), itself differentiable."""
    chroma = chroma.detach().float().requires_grad_()
    score = discriminator(chroma).float().flatten(1).mean(dim=1).sum()
    (gradient,) = torch.autograd.grad(score, chroma, create_graph=True)
    return gradient.flatten(1)


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the objective: the sum of each term times the weight of its name."""
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
