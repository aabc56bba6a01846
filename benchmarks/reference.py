"""Plain reference implementation to measure gancolor against: a colorization GAN as tutorials and notebooks write it.

It trains in eager float32. In every epoch, a DataLoader's workers open (PIL), resize and convert photographs to Lab
(scikit-image), one by one. Binary cross-entropy is nn.BCEWithLogitsLoss. The discriminator's update and the generator's
each take a generator pass. The optimizer is plain torch.optim.Adam. Every loss is copied to the host in every step. The
networks are gancolor's, so only the loop differs. Global switches keep torch's defaults: on CUDA, cuDNN's convolutions
run in TF32, without autotuning of kernels. scikit-image is imported where it is used, because the steps do not need it.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

L1_WEIGHT = 100.0


class PhotoDataset(Dataset[tuple[Tensor, Tensor]]):
    """Photographs as (lightness (1, S, S), chroma (2, S, S)), half of them mirrored."""

    def __init__(self, files: Sequence[Path], size: int) -> None:
        self.files = files
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size), transforms.InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from skimage.color import rgb2lab

        picture = self.transform(Image.open(self.files[index]).convert("RGB"))
        lab = transforms.functional.to_tensor(rgb2lab(np.array(picture)).astype("float32"))
        return lab[[0]] / 50.0 - 1.0, lab[[1, 2]] / 110.0


def make_loader(
    files: Sequence[Path], size: int, batch_size: int, pin_memory: bool, workers: int | None = None
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return shuffled batches, by default with one worker per core; with 0 workers, the calling process loads them."""
    return DataLoader(
        PhotoDataset(files, size),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=(os.cpu_count() or 1) if workers is None else workers,
        pin_memory=pin_memory,
    )


class ReferenceTrainer:
    """The two updates of the textbook loop, on batches as the loader yields them.

    Args:
        shares_pass: use one generator pass for both updates, as in the better notebooks.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, device: torch.device, shares_pass: bool = False
    ) -> None:
        self.device, self.shares_pass = device, shares_pass
        self.generator, self.discriminator = generator.to(device), discriminator.to(device)
        self.gan_loss, self.l1_loss = nn.BCEWithLogitsLoss(), nn.L1Loss()
        self.optim_g = torch.optim.Adam(self.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optim_d = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def pretrain_step(self, lightness: Tensor, chroma: Tensor) -> dict[str, float]:
        """Take one step of the generator alone, on the pixel loss."""
        lightness, chroma = lightness.to(self.device), chroma.to(self.device)
        self.optim_g.zero_grad()
        loss = self.l1_loss(self.generator(lightness).chroma, chroma)
        loss.backward()
        self.optim_g.step()
        return {"l1": loss.item()}

    def adversarial_step(self, lightness: Tensor, chroma: Tensor) -> dict[str, float]:
        """Take one step of the discriminator, then one of the generator."""
        lightness, chroma = lightness.to(self.device), chroma.to(self.device)

        fake = self.generator(lightness).chroma
        self.optim_d.zero_grad()
        loss_fake = self._judge(lightness, fake.detach(), 0.0)
        loss_real = self._judge(lightness, chroma, 1.0)
        loss_d = (loss_fake + loss_real) * 0.5
        loss_d.backward()
        self.optim_d.step()

        for parameter in self.discriminator.parameters():
            parameter.requires_grad = False
        if not self.shares_pass:
            fake = self.generator(lightness).chroma
        self.optim_g.zero_grad()
        loss_gan = self._judge(lightness, fake, 1.0)
        loss_l1 = self.l1_loss(fake, chroma) * L1_WEIGHT
        loss_g = loss_gan + loss_l1
        loss_g.backward()
        self.optim_g.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = True
        return {"d": loss_d.item(), "gan": loss_gan.item(), "l1": loss_l1.item(), "g": loss_g.item()}

    def _judge(self, lightness: Tensor, chroma: Tensor, label: float) -> Tensor:
        logits = self.discriminator(lightness, chroma)
        return self.gan_loss(logits, torch.full_like(logits, label))


def score_pictures(made: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> np.ndarray:
    """Score uint8 (S, S, 3) pictures one by one, with scikit-image where it has the metric: (N, 8) in the order of
    `gancolor.evaluation.scoring.PAIRED`."""
    return np.array([_score_picture(picture, truth) for picture, truth in zip(made, truths, strict=True)])


def _score_picture(picture: np.ndarray, truth: np.ndarray) -> list[float]:
    from skimage.color import deltaE_ciede2000, rgb2lab
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

    lab, true_lab = rgb2lab(picture), rgb2lab(truth)
    distance = np.linalg.norm(lab[..., 1:] - true_lab[..., 1:], axis=2)
    (colour, of_ddcolor), (true_colour, _) = _colorfulness(picture), _colorfulness(truth)
    how = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}  # Wang 2004
    return [
        peak_signal_noise_ratio(truth, picture),
        structural_similarity(truth, picture, **how),
        mean_squared_error(truth, picture),
        deltaE_ciede2000(true_lab, lab).mean(),
        100 * (1 - distance / 150).clip(min=0).mean(),
        colour - true_colour,
        colour,
        of_ddcolor,
    ]


def _colorfulness(picture: np.ndarray) -> tuple[float, float]:
    """Return Hasler and Suesstrunk's colourfulness, and its variant on absolute differences."""
    red, green, blue = picture.astype(float).transpose(2, 0, 1)
    found = []
    for rg, yb in ((red - green, (red + green) / 2 - blue), (abs(red - green), abs((red + green) / 2 - blue))):
        found.append(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
    return found[0], found[1]


@torch.no_grad()
def score_generator(generator: nn.Module, truths: Sequence[np.ndarray]) -> np.ndarray:
    """Colour uint8 (S, S, 3) photographs one by one and score them: (N, 8)."""
    from skimage.color import lab2rgb, rgb2lab

    generator.eval()
    made = []
    for truth in truths:
        lab = rgb2lab(truth).astype("float32")
        lightness = torch.from_numpy(lab[..., 0])[None, None] / 50.0 - 1.0
        lab[..., 1:] = generator(lightness).chroma[0].permute(1, 2, 0).numpy() * 110.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about colours outside sRGB
            made.append((lab2rgb(lab).clip(0, 1) * 255).round().astype(np.uint8))
    return score_pictures(made, truths)
