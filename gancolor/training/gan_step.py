"""Generator, discriminator and EMA generator with their optimizers, and the training step."""

import copy
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gancolor.config.options import OptimConfig
from gancolor.data.batch import Batch
from gancolor.losses import terms as losses
from gancolor.losses.objective import Objective, Terms, detached, mean_terms
from gancolor.models.cost import count_parameters
from gancolor.models.encoders import Backbone
from gancolor.models.layers import SPECTRAL_VECTORS
from gancolor.models.output import GeneratorOutput
from gancolor.models.patchgan import PatchGAN
from gancolor.models.recomputation import Buffers, second_pass
from gancolor.training.micro_batches import MicroBatches
from gancolor.training.schedule import Stage
from gancolor.utils import distributed
from gancolor.utils.hardware import Hardware
from gancolor.utils.words import abbreviated


def parameter_groups(network: nn.Module, backbone_factor: float = 1.0) -> list[dict[str, Any]]:
    """Return a network's trainable parameters as optimizer groups.

    Each group has a factor on the learning rate, "rate_factor": `backbone_factor` for the parameters of a pretrained
    backbone, 1 for all others.
    """
    backbone = {
        parameter for part in network.modules() if isinstance(part, Backbone) for parameter in part.parameters()
    }
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p not in backbone], "rate_factor": 1.0},
        {"params": [p for p in trainable if p in backbone], "rate_factor": backbone_factor},
    ]
    return [group for group in groups if group["params"]]


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return all parameters of an optimizer, in the order in which its state numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class GANStep:
    """Generator and discriminator with an optimizer each, and the EMA generator.

    One forward pass of the generator serves both networks. A network is not updated if its gradient is not finite;
    such steps are skipped and counted on the device, without synchronization with the host. Gradients are freed
    right after use.

    Args:
        optim: with `accumulate` above 1, each batch is processed in that many micro-batches, one at a time (gradient
            accumulation). Adversarial training then costs one more forward pass of the generator, because the graph of
            one micro-batch must be freed before the next one's.
        graphs: record the compiled networks as CUDA graphs.

    Attributes:
        bad_steps: number of consecutive skipped steps up to the last step: a scalar tensor on the device.
    """

    def __init__(
        self, generator: nn.Module, discriminator: PatchGAN, objective: Objective, optim: OptimConfig,
        hardware: Hardware, compiled: bool = False, graphs: bool = False,
    ) -> None:  # fmt: skip
        self.objective, self.clip, self.hardware = objective, optim.clip, hardware
        self.accumulate, self.graphs = optim.accumulate, graphs
        self.frozen_norm, self._norms_are_frozen = optim.frozen_norm, False
        self.generator = hardware.place_network(generator)
        self.discriminator = hardware.place_network(discriminator)
        self.ema = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.buffers = Buffers(self.generator, self.discriminator)
        if compiled:
            for network in (self.generator, self.discriminator):
                network.compile(dynamic=False, mode="reduce-overhead" if graphs else None)
        self.joint_generator = distributed.wrap(self.generator)
        self.joint_discriminator = distributed.wrap(self.discriminator)
        self.optim_g, self.optim_d = (
            torch.optim.AdamW(groups, betas=optim.betas, weight_decay=optim.weight_decay, fused=True)
            for groups in (parameter_groups(self.generator, optim.backbone_lr), parameter_groups(self.discriminator))
        )
        self.scaler = torch.amp.GradScaler(hardware.device.type, enabled=hardware.precision == "fp16")
        self.bad_steps = torch.zeros((), device=hardware.device)
        mine, live = self.ema.state_dict(), self.generator.state_dict()
        # Spectral norm's vectors are estimates for the current weights: an average of them is not an estimate.
        averaged = [name for name in mine if mine[name].is_floating_point() and not name.endswith(SPECTRAL_VECTORS)]
        copied = [name for name in mine if name not in averaged]
        self._averaged = [mine[name] for name in averaged], [live[name] for name in averaged]
        self._copied = [mine[name] for name in copied], [live[name] for name in copied]

    def step(self, batch: Batch, stage: Stage, rates: Mapping[str, float]) -> Terms:
        """Run one training step: the generator's in stage "pretrain", the discriminator's in "critic", otherwise both.

        Args:
            rates: "lr_g", "lr_d" and "ema".

        Returns:
            The generator's terms by name and its objective ("generator"); the discriminator's objective
            ("discriminator"), its penalties, and the share of patches where it rates the ground truth above the
            prediction ("d_accuracy"); the gradients' norms ("grad_norm_g", "grad_norm_d"). All are scalars on the
            device.
        """
        if self.graphs:  # keep their outputs for the whole step; by default, only until the next network runs
            torch.compiler.cudagraph_mark_step_begin()
        self._set_norms(stage)
        self.buffers.keep()
        adversarial = stage == "adversarial" and self.objective.is_adversarial
        micro_batches = MicroBatches(batch, self.accumulate)
        whole = len(micro_batches) == 1
        output: GeneratorOutput | None = None
        terms: Terms = {}

        if adversarial or stage == "critic":
            found = []
            for micro_batch in micro_batches.for_network(self.joint_discriminator):
                if stage == "critic":  # judge the EMA generator, the one that is evaluated and exported
                    fake = self._predict(micro_batch, self.ema, with_graph=False).chroma
                else:  # the generator's update uses the graph again if there is only one; several would fill the memory
                    output = self._predict(micro_batch, self.joint_generator, with_graph=whole)
                    fake = output.chroma.detach()
                micro_terms = self._discriminator_terms(micro_batch, fake.float())
                self._backward(micro_terms["discriminator"] / len(micro_batches))
                found.append(detached(micro_terms))
            terms |= mean_terms(found) | {"grad_norm_d": self._descend(self.optim_d, rates["lr_d"])}

        if stage != "critic":
            found = []
            predict_again = adversarial and not whole
            self.discriminator.requires_grad_(False)
            with second_pass(self.generator) if predict_again else nullcontext():
                for micro_batch in micro_batches.for_network(self.joint_generator):
                    if output is None or predict_again:
                        output = self._predict(micro_batch, self.joint_generator)
                    micro_terms = self._generator_terms(micro_batch, output, stage, adversarial)
                    self._backward(micro_terms["generator"] / len(micro_batches))
                    found.append(detached(micro_terms))
                    output = None  # frees its graph
            self.discriminator.requires_grad_(True)
            terms |= mean_terms(found) | {"grad_norm_g": self._descend(self.optim_g, rates["lr_g"])}

        self.scaler.update()
        # Restore BatchNorm statistics after a skipped step: a NaN in a running average would never leave it.
        norms = torch.stack([norm for name, norm in terms.items() if name.startswith("grad_norm")])
        self.buffers.restore_unless(norms.isfinite().all())
        if stage != "critic":
            self._average(rates["ema"])
        finite = torch.stack([value for name, value in terms.items() if not self._may_overflow(name)]).isfinite().all()
        self.bad_steps = (self.bad_steps + 1) * ~finite
        return terms

    def begin_adversarial(self) -> None:
        """Prepare adversarial training; call before its first step.

        If BatchNorm is frozen in that stage, the weights and statistics of the EMA generator are copied to the
        generator, whose own statistics follow the last batches and are noisy.
        """
        if self.frozen_norm == "adversarial":
            self.generator.load_state_dict(self.ema.state_dict())

    def _set_norms(self, stage: Stage) -> None:
        """Freeze or unfreeze the generator's BatchNorm, as the stage requires."""
        frozen = self.frozen_norm == "always" or (self.frozen_norm, stage) == ("adversarial", "adversarial")
        if frozen == self._norms_are_frozen:
            return
        self._norms_are_frozen = frozen
        self.generator.train()  # a frozen backbone stays in evaluation mode
        if frozen:
            for layer in self.generator.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()

    def _predict(self, micro_batch: Batch, generator: nn.Module, with_graph: bool = True) -> GeneratorOutput:
        with torch.set_grad_enabled(with_graph), self.hardware.autocast():
            return generator(*micro_batch.inputs)

    def _discriminator_terms(self, micro_batch: Batch, fake: Tensor) -> Terms:
        """Return the discriminator's objective and its terms. `fake`: predicted chroma, without a graph."""
        with self.hardware.autocast():
            on_real = self.joint_discriminator(micro_batch.lightness, self.objective.real(micro_batch))
            on_fake = self.joint_discriminator(micro_batch.lightness, fake)
        objective = losses.gan_discriminator(on_real, on_fake, self.objective.loss.gan_mode)
        penalties = self.objective.penalties(self.discriminator, micro_batch, fake) if self.objective.penalizes else {}
        for name, penalty in penalties.items():
            objective = objective + getattr(self.objective.loss, name) * penalty
        accuracy = (on_real > on_fake).float().mean()
        return {"discriminator": objective, "d_accuracy": accuracy, **penalties}

    def _generator_terms(self, micro_batch: Batch, output: GeneratorOutput, stage: Stage, adversarial: bool) -> Terms:
        """Return the generator's objective and its terms."""
        parameters = parameters_of(self.optim_g)
        terms = self.objective.generator_terms(micro_batch, output, parameters, pretraining=stage == "pretrain")
        if adversarial:
            with self.hardware.autocast():
                terms |= self.objective.adversarial_terms(self.discriminator, micro_batch, output.chroma.float())
        return {**terms, "generator": losses.weighted_sum(terms, self.objective.weights)}

    def _backward(self, loss: Tensor) -> None:
        # A non-finite loss may have a finite gradient on one of several ranks: make it NaN, so that all ranks skip.
        loss = loss * torch.where(loss.detach().isfinite(), 1.0, math.nan)
        self.scaler.scale(loss).backward()

    def _descend(self, optimizer: torch.optim.Optimizer, rate: float) -> Tensor:
        """Take one optimizer step, skipped if the gradient is not finite; return the norm before clipping."""
        parameters = parameters_of(optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
        else:
            # Fused optimizers skip the step if this is 1. It is how GradScaler tells them; here there is no scaler.
            optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        """Update the EMA of weights and BatchNorm statistics; copy counters and spectral norm's vectors."""
        torch._foreach_lerp_(*self._averaged, 1 - decay)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)

    def _may_overflow(self, name: str) -> bool:
        """Return whether a term may overflow: a loss scaler finds its scale by occasional overflows of gradients."""
        return self.scaler.is_enabled() and name.startswith("grad_norm")

    def state_parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return everything that a resumed run needs, by the name it is saved under."""
        return {
            "generator": self.generator,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "optim_g": self.optim_g,
            "optim_d": self.optim_d,
        }

    def __str__(self) -> str:
        sizes = [abbreviated(count_parameters(network)) for network in (self.generator, self.discriminator)]
        return f"{sizes[0]} parameters; discriminator {sizes[1]}"
