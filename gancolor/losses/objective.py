"""Objectives of the generator and the discriminator, as named terms."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gancolor.color.bins import logits_of
from gancolor.color.torch_lab import lab_to_rgb
from gancolor.config.networks import LossConfig
from gancolor.data.batch import Batch
from gancolor.losses import terms as losses
from gancolor.metrics.image import PictureDistance
from gancolor.models.output import GeneratorOutput
from gancolor.models.patchgan import PatchGAN

Terms = dict[str, Tensor]  # name -> scalar

BINS_STRIDE = 4  # factor by which predicted chroma is averaged down before it is converted to logits of the bins
# The generator's terms. The option of the same name is the term's weight.
TERMS = (
    "l1", "mse", "log_mse", "smooth_l1", "tv", "perceptual", "color_weighted", "bins", "scene", "colorfulness",
    "colorfulness_difference", "weight_l1", "weight_l2", "gan", "feature_matching",
)  # fmt: skip
ADVERSARIAL_TERMS = ("gan", "feature_matching")  # computed with the discriminator, in adversarial training
# Terms that do not say which colours are right, so that none is enough to learn from.
PENALTIES = ("tv", "colorfulness", "colorfulness_difference", "weight_l1", "weight_l2")


def detached(terms: Terms) -> Terms:
    """Return the terms detached from their graphs."""
    return {name: value.detach() for name, value in terms.items()}


def mean_terms(found: Sequence[Terms]) -> Terms:
    """Return each term's mean over a batch's micro-batches."""
    if len(found) == 1:
        return found[0]
    return {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}


class Objective:
    """Named terms of the generator's and the discriminator's objectives.

    Terms of weight 0 are not computed, except l1, so that runs with different losses can be compared.

    Args:
        rarity: the colour bins' weights (Q,); needed by `losses.color_weighted` and `losses.bins`.
        perceptual: distance between pictures; needed by the perceptual term.
        real_saturation: factor on the chroma of the real pictures that the discriminator sees.
    """

    def __init__(
        self, loss: LossConfig, rarity: Tensor | None = None, perceptual: PictureDistance | None = None,
        real_saturation: float = 1.0,
    ) -> None:  # fmt: skip
        self.loss, self.rarity, self.perceptual = loss, rarity, perceptual
        self.real_saturation = real_saturation
        self.weights = {name: getattr(loss, name) for name in TERMS}

    @property
    def is_adversarial(self) -> bool:
        """Whether there is any adversarial term."""
        return self.loss.gan > 0 or self.loss.feature_matching > 0

    @property
    def penalizes(self) -> bool:
        """Whether the discriminator's objective has a gradient penalty."""
        return self.loss.r1 > 0 or self._has_gradient_penalty

    @property
    def _has_gradient_penalty(self) -> bool:
        return self.loss.gan_mode == "wgan_gp" and self.loss.gradient_penalty > 0

    def real(self, batch: Batch) -> Tensor:
        """Return the chroma of the discriminator's real pictures, (B, 2, H, W) in [-1, 1].

        Generators average and so predict pale colours. More saturated real pictures counteract this, as in DDColor and
        BigColor. All other terms compare with the true chroma.
        """
        if self.real_saturation == 1:
            return batch.chroma
        return (batch.chroma * self.real_saturation).clamp(-1, 1)

    def generator_terms(
        self, batch: Batch, prediction: GeneratorOutput, parameters: Sequence[Tensor], pretraining: bool = False
    ) -> Terms:
        """Return all terms except the adversarial ones; each is a differentiable scalar.

        Args:
            parameters: the generator's trainable parameters, for the weight penalties.
            pretraining: leave out the colourfulness terms.
        """
        loss, truth = self.loss, batch.chroma
        predicted = prediction.chroma.float()
        with torch.set_grad_enabled(loss.l1 > 0):
            terms = {"l1": losses.l1(predicted, truth)}
        if loss.mse:
            terms["mse"] = losses.mse(predicted, truth)
        if loss.log_mse:
            terms["log_mse"] = losses.log_mse(predicted, truth)
        if loss.smooth_l1:
            terms["smooth_l1"] = losses.smooth_l1(predicted, truth, loss.smooth_l1_delta)
        if loss.tv:
            terms["tv"] = losses.tv(predicted)
        if loss.color_weighted:
            assert self.rarity is not None
            terms["color_weighted"] = losses.color_weighted(predicted, truth, self.rarity)
        if loss.bins:
            assert self.rarity is not None
            logits = prediction.bin_logits
            if logits is None:  # at a quarter of the size, like eccv16: 313 values per pixel fill the memory
                logits = logits_of(F.avg_pool2d(predicted, BINS_STRIDE, ceil_mode=True))
            terms["bins"] = losses.bins(logits, truth, self.rarity, loss.soft_bins)
        if loss.scene:
            assert prediction.scene_logits is not None
            terms["scene"] = losses.scene(prediction.scene_logits, batch.labels)
        colourful = loss.colorfulness or loss.colorfulness_difference
        if loss.perceptual or (colourful and not pretraining):
            terms |= self._of_pictures(batch, predicted, pretraining)
        if loss.weight_l1:
            terms["weight_l1"] = losses.weight_l1(parameters)
        if loss.weight_l2:
            terms["weight_l2"] = losses.weight_l2(parameters)
        return terms

    def _of_pictures(self, batch: Batch, predicted: Tensor, pretraining: bool) -> Terms:
        picture, terms = lab_to_rgb(batch.lightness, predicted), {}
        if self.loss.perceptual:
            assert self.perceptual is not None
            terms["perceptual"] = self.perceptual(picture, _true_picture(batch)).mean()
        if self.loss.colorfulness and not pretraining:
            terms["colorfulness"] = losses.colorfulness(picture)
        if self.loss.colorfulness_difference and not pretraining:
            terms["colorfulness_difference"] = losses.colorfulness_difference(picture, _true_picture(batch))
        return terms

    def adversarial_terms(self, discriminator: PatchGAN, batch: Batch, predicted: Tensor) -> Terms:
        """Return the generator's adversarial terms."""
        terms = {}
        if self.loss.feature_matching:
            *found, logits = discriminator.features(batch.lightness, predicted)
            with torch.no_grad():
                *wanted, _ = discriminator.features(batch.lightness, self.real(batch))
            terms["feature_matching"] = losses.feature_matching(found, wanted)
        else:
            logits = discriminator(batch.lightness, predicted)
        if self.loss.gan:
            terms["gan"] = losses.gan_generator(logits, self.loss.gan_mode)
        return terms

    def penalties(self, discriminator: PatchGAN, batch: Batch, fake: Tensor) -> Terms:
        """Return the gradient penalties of the discriminator's objective, unweighted."""

        def logits(chroma: Tensor) -> Tensor:
            # forward, not __call__: a compiled network cannot be differentiated twice.
            return discriminator.forward(batch.lightness, chroma)

        terms = {}
        if self.loss.r1:
            terms["r1"] = losses.r1(logits, self.real(batch))
        if self._has_gradient_penalty:
            terms["gradient_penalty"] = losses.gradient_penalty(logits, self.real(batch), fake)
        return terms


@torch.no_grad()
def _true_picture(batch: Batch) -> Tensor:
    return lab_to_rgb(batch.lightness, batch.chroma)
