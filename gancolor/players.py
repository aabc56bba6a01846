"""The two players, generator and discriminator, and one step of their game."""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gancolor import distributed, losses
from gancolor.config import OptimConfig
from gancolor.cost import count_parameters
from gancolor.hardware import Hardware
from gancolor.models.output import Prediction
from gancolor.models.patchgan import PatchGAN
from gancolor.objective import Batch, Objective, Terms
from gancolor.schedule import Stage


class Players:
    """Generator, discriminator, the generator's moving average, and an optimizer each.

    One forward pass of the generator serves both players. Everything stays on the device: a step whose gradient is not
    finite leaves its network as it was, and is counted, without the host waiting for either.

    Attributes:
        bad_steps: how many steps in a row, the last included, were left out: a scalar tensor on the device.
    """

    def __init__(
        self, generator: nn.Module, discriminator: PatchGAN, objective: Objective, optim: OptimConfig,
        hardware: Hardware, compiled: bool = False,
    ) -> None:  # fmt: skip
        self.objective, self.clip, self.hardware = objective, optim.clip, hardware
        self.generator = generator.to(hardware.device, memory_format=hardware.memory_format)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(hardware.device, memory_format=hardware.memory_format)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False).eval()
        if compiled:
            self.generator.compile()
            self.discriminator.compile()
        self.joint_generator = distributed.wrap(self.generator)
        self.joint_discriminator = distributed.wrap(self.discriminator)
        self.optim_g, self.optim_d = (
            torch.optim.AdamW(
                [parameter for parameter in network.parameters() if parameter.requires_grad],
                betas=optim.betas, weight_decay=optim.weight_decay, fused=True,
            )
            for network in (self.generator, self.discriminator)
        )  # fmt: skip
        self.scaler = torch.amp.GradScaler(hardware.device.type, enabled=hardware.precision == "fp16")
        self.bad_steps = torch.zeros((), device=hardware.device)
        self._buffers = [*self.generator.buffers(), *self.discriminator.buffers()]
        self._averaged: list[tuple[Tensor, Tensor]] = []
        self._copied: list[tuple[Tensor, Tensor]] = []
        live = self.generator.state_dict()
        for name, mine in self.ema.state_dict().items():
            # Spectral norm's vectors are estimates that belong to the weights: the mean of several is none.
            averaged = mine.is_floating_point() and not name.endswith(("._u", "._v"))
            (self._averaged if averaged else self._copied).append((mine, live[name]))

    def step(self, batch: Batch, stage: Stage, rates: Mapping[str, float]) -> Terms:
        """One step: of the generator alone in pretraining, of the discriminator alone as critic, else of both.

        Args:
            rates: "lr_g", "lr_d" and "ema".

        Returns:
            The generator's terms by name, its objective ("generator"), the discriminator's ("discriminator"), its
            penalties and the share of patches whose truth it prefers to the prediction ("d_accuracy"), and the
            gradients' norms ("grad_norm_g", "grad_norm_d"): scalars on the device.
        """
        before = [buffer.clone() for buffer in self._buffers]
        plays = stage != "pretrain" and self.objective.plays
        if stage == "critic":
            terms = self._discriminator_step(batch, self._finished_pictures(batch), rates["lr_d"])
        else:
            with self.hardware.autocast():
                prediction = self.joint_generator(batch.lightness)
            fake = prediction.chroma.detach().float()
            terms = self._discriminator_step(batch, fake, rates["lr_d"]) if plays else {}
            terms |= self._generator_step(batch, prediction, plays, rates["lr_g"])
        self.scaler.update()
        stepped = torch.stack([norm for name, norm in terms.items() if name.startswith("grad_norm")]).isfinite().all()
        for buffer, old in zip(
            self._buffers, before, strict=True
        ):  # else BatchNorm's statistics would stay NaN for ever
            buffer.copy_(torch.where(stepped, buffer, old))
        if stage != "critic":
            self._average(rates["ema"])
        finite = torch.stack([value for name, value in terms.items() if not self._may_overflow(name)]).isfinite().all()
        self.bad_steps = (self.bad_steps + 1) * ~finite
        return terms

    @torch.no_grad()
    def _finished_pictures(self, batch: Batch) -> Tensor:
        """What the generator will be known by: the chroma that its moving average predicts."""
        with self.hardware.autocast():
            return self.ema(batch.lightness).chroma.float()

    def _discriminator_step(self, batch: Batch, fake: Tensor, rate: float) -> Terms:
        with self.hardware.autocast():
            judged_true = self.joint_discriminator(batch.lightness, batch.chroma)
            judged_fake = self.joint_discriminator(batch.lightness, fake)
        loss = losses.gan_discriminator(judged_true, judged_fake, self.objective.loss.gan_mode)
        penalties = self.objective.penalties(self.discriminator, batch, fake) if self.objective.penalizes else {}
        for name, penalty in penalties.items():
            loss = loss + getattr(self.objective.loss, name) * penalty
        norm = self._descend(self.optim_d, loss, rate)
        penalties = {name: penalty.detach() for name, penalty in penalties.items()}
        told_apart = (judged_true > judged_fake).float().mean()
        return {"discriminator": loss.detach(), "d_accuracy": told_apart, **penalties, "grad_norm_d": norm}

    def _generator_step(self, batch: Batch, prediction: Prediction, plays: bool, rate: float) -> Terms:
        terms = self.objective.of_generator(batch, prediction, self.optim_g.param_groups[0]["params"])
        if plays:
            self.discriminator.requires_grad_(False)
            with self.hardware.autocast():
                terms |= self.objective.of_game(self.discriminator, batch, prediction.chroma.float())
        objective = losses.weighted_sum(terms, self.objective.weights)
        norm = self._descend(self.optim_g, objective, rate)
        self.discriminator.requires_grad_(True)
        return {name: term.detach() for name, term in terms.items()} | {
            "generator": objective.detach(),
            "grad_norm_g": norm,
        }

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> Tensor:
        """One optimizer step, left out where the gradient is not finite. Returns the gradient's norm, unclipped."""
        parameters = optimizer.param_groups[0]["params"]
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        # A loss that is no number may have a gradient that is, on one rank of several: spoil it on all.
        loss = loss * torch.where(loss.detach().isfinite(), 1.0, math.nan)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
        else:
            # Fused optimizers leave a step out where this is 1: the way GradScaler tells them, without a scaler.
            optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            optimizer.step()
        return norm

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        """EMA of weights and of BatchNorm's statistics; counters and spectral norm's vectors are copied."""
        torch._foreach_lerp_([mine for mine, _ in self._averaged], [live for _, live in self._averaged], 1 - decay)
        for mine, live in self._copied:
            mine.copy_(live)

    def _may_overflow(self, name: str) -> bool:
        """With a loss scaler, a gradient that overflows now and then is how the scale is found."""
        return self.scaler.is_enabled() and name.startswith("grad_norm")

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """All that a resumed run needs, by the name it is saved under."""
        return {
            "generator": self.generator,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "optim_g": self.optim_g,
            "optim_d": self.optim_d,
        }

    def __str__(self) -> str:
        sizes = [count_parameters(network) / 1e6 for network in (self.generator, self.discriminator)]
        return f"{sizes[0]:.1f} M parameters; discriminator {sizes[1]:.1f} M"
