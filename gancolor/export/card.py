"""Model card: what a generator is, how and on what it was trained, how it scored, and what its limits are."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gancolor.config.identity import flatten
from gancolor.config.options import TrainConfig
from gancolor.config.parsing import RECIPES
from gancolor.evaluation.tables import figure, markdown_table
from gancolor.export.exporter import Exported
from gancolor.export.scores import Scored
from gancolor.inference.bundled import BUNDLED
from gancolor.metrics.bootstrap import Mean
from gancolor.metrics.table import METRICS
from gancolor.models import generator_options, would_take_hints
from gancolor.utils.metadata import section

_NAN = float("nan")
LIMITS = """\
It is meant for photographs: for looking at old ones in colour, for drafts, and for research on colorization.

- **Its colours are guesses, not history.** Lightness does not say whether a dress was red or green. The generator
  predicts the colours that such things usually had in its training set; its pictures are no evidence of the true ones.
- It only knows photographs like those that it was trained on (see above). Others (other subjects, times, films, damage)
  can come out worse than left grey. Compare some of yours with grey before you colour the rest.
- Clothes, signs and other things that people made can have any colour, and the photograph does not show which. The
  generator repeats the biases of its training set, also about people and places.
"""
RUN_WITH_TORCH = """\
```python
import torch
from gancolor.color.torch_lab import lab_to_rgb, rgb_to_lab

generator = {load}
lightness, _ = rgb_to_lab(photograph)  # (B, 3, H, W) sRGB in [0, 1], any H and W
{call}
```
"""
CALL = "coloured = lab_to_rgb(lightness, generator(lightness))"
CALL_WITH_HINTS = """\
hints = torch.zeros(len(lightness), 3, *lightness.shape[2:])  # none: ab / 110 and 1 where a colour is given
coloured = lab_to_rgb(lightness, generator(lightness, hints))"""


def model_card(exported: Exported, name: str, scores: Sequence[Scored] = (), license_id: str | None = None) -> str:
    """Return the model card in Markdown, with the Hub's front matter.

    Args:
        name: by which gancolor loads the generator: a file's name, or a repository OWNER/NAME.
        scores: from `load_scores`; if empty, the metrics of the training run's own validation, without intervals.
        license_id: licence of the weights; None: not stated.
    """
    about = exported.about
    arch = about["generator"]["arch"]
    front: dict[str, Any] = {
        "library_name": "gancolor",
        "pipeline_tag": "image-to-image",
        "tags": ["colorization", "image-colorization", "gan", arch],
    }
    if license_id:
        front["license"] = license_id
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# {name}\n",
        f"Colours black-and-white photographs: gancolor's `{arch}`, {_training(about)}.\n",
        f"## Use\n\n{_usage(exported, name)}",
        f"## Figures\n\n{_figures(arch, about, scores)}",
        f"## Intended use, and limits\n\n{LIMITS}",
        f"## Training\n\n{_interpolation(about)}{_recipe(about)}",
        f"## File\n\n{_file(exported)}",
        f"## Licence\n\n{license_id or 'Not stated. Ask whoever gave you this file.'}\n",
    ]
    return "\n".join(parts)


def _interpolation(about: Mapping[str, Any]) -> str:
    found = section(about, "interpolated")
    if "share" not in found:
        return ""
    share = found["share"]
    return (
        f"The weights are {share:g} times those of the run below, and {1 - share:.4g} times those of another generator "
        f"(sha256 {found.get('with_sha256')}).\n\n"
    )


def _training(about: Mapping[str, Any]) -> str:
    data = section(about, "data")
    if not data.get("source"):
        return "trained on photographs that the file does not name"
    size, classes = data.get("size"), data.get("classes")
    at = f" at {size} x {size}" if size else ""
    named = ", ".join(map(str, classes[:12])) if isinstance(classes, list) else ""
    kinds = f" ({named}{', ...' if len(classes) > 12 else ''})" if classes and named else ""
    return f"trained on {_photographs(data, 'train')}{at}{kinds}, {_start(about)}"


def _start(about: Mapping[str, Any]) -> str:
    """Describe what the weights come from besides this training."""
    starts = []
    if digest := _init_digest(about):
        bundled = section(about, "config").get("init") == BUNDLED
        generator = "gancolor's bundled generator" if bundled else "another generator"
        trained_on = [f"photographs of {source}" for source in _sources_before(about)]
        starts.append(f"{generator} (sha256 `{digest}`{', trained on ' if trained_on else ''}{', '.join(trained_on)})")
    built = about["generator"]
    if "backbone_weights" in generator_options(built["arch"]):
        weights = built["options"].get("backbone_weights")
        encoder = {"imagenet": "an encoder pretrained on ImageNet", "random": ""}
        starts.append(encoder.get(weights, "an encoder whose weights came from elsewhere"))
    starts = [start for start in starts if start]
    parts = [f"starting from {' and '.join(starts)}"] if starts else []
    if section(about, "interpolated"):
        parts.append("and interpolated with another generator")
    return ", ".join(parts or ["and on nothing else"])


def _init_digest(about: Mapping[str, Any]) -> Any:
    """Return the sha256 of the generator that the training started from; None if it started from none."""
    return section(about, "config").get("init_sha256") or about.get("init_sha256")


def _sources_before(about: Mapping[str, Any]) -> list[str]:
    """Return the sources of the photographs of all earlier trainings, each once."""
    before = about.get("trained_on")
    parts = before if isinstance(before, list) else []
    return list(dict.fromkeys(str(part["source"]) for part in parts if isinstance(part, Mapping) and "source" in part))


def _photographs(data: Mapping[str, Any], part: str) -> str:
    source = data.get("source")
    of_source = f"photographs of {source}" if source else "photographs"
    return _count(data.get(part)) + ("scenes drawn by code (demo)" if source == "demo" else of_source)


def _count(value: Any) -> str:
    """Format a number, to put before what it counts; empty if it is not an integer."""
    return f"{value:,} " if isinstance(value, int) else ""


def _usage(exported: Exported, name: str) -> str:
    if exported.format in ("safetensors", "onnx"):
        of_file = "/" not in name and Path(name).suffix.lower() in (".safetensors", ".onnx")
        load, file = ("load", name) if of_file else ("from_pretrained", exported.path.name)
        return (
            f'```python\nimport gancolor\n\ncolorizer = gancolor.Colorizer.{load}("{name}")\n'
            f'colorizer("photograph.jpg").save("coloured.png")\n```\n\n'
            f"    gancolor colorize photograph.jpg -o coloured.png --checkpoint {file}\n"
        )
    call = CALL_WITH_HINTS if _takes_hints(exported.about) else CALL
    return RUN_WITH_TORCH.format(load=f'torch.export.load("{name}").module()', call=call)


def _figures(arch: str, about: Mapping[str, Any], scores: Sequence[Scored]) -> str:
    if not scores:
        systems = {name: _means(section(about, key)) for name, key in (("grey", "grey"), (arch, "metrics"))}
        if not systems[arch]:
            return "None: the file holds no validation scores.\n"
        held_out = _photographs(section(about, "data"), "val")
        unseen = "that this training held out" if _init_digest(about) else "that it was not trained on"
        scores = [Scored(f"{held_out} {unseen}; means, without intervals", systems)]
    parts = ["Grey is the photograph without colour, which already scores well in PSNR and SSIM: read gain over "
             "grey and colourfulness together.\n"]  # fmt: skip
    for scored in scores:
        metrics = [m for m, kind in METRICS.items() if kind.brief and any(m in row for row in scored.systems.values())]
        rows = [["", *(METRICS[metric].heading for metric in metrics)]]
        rows += [[name, *(figure(row.get(m), m) for m in metrics)] for name, row in scored.systems.items()]
        parts += [f"{scored.photographs}:\n", f"{markdown_table(rows)}\n"]
        gain = list(scored.systems.values())[1].get("gain")
        if gain is not None and gain.mean < 0:
            parts.append(f"**On these photographs it scores {-gain.mean:.2f} dB below grey.**\n")
    return "\n".join(parts)


def _means(metrics: Mapping[str, Any]) -> dict[str, Mean]:
    """Return those metrics that are finite numbers as means without intervals."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return {name: Mean(value, _NAN, _NAN) for name, value in numbers.items() if math.isfinite(value)}


def _recipe(about: Mapping[str, Any]) -> str:
    """Describe how to repeat the run: the options that differ from the defaults or from the recipe, which is the
    architecture's, or that of fine-tuning."""
    config, defaults = flatten(dict(section(about, "config"))), flatten(TrainConfig())
    if not config:
        return "The file does not say how it was trained.\n"
    arch = config.get("arch") or about["generator"]["arch"]
    if digest := _init_digest(about):
        config["init_sha256"] = digest
    recipe_file = RECIPES / ("fine_tuning.yaml" if digest else f"{arch}.yaml")
    recipe = flatten(yaml.safe_load(recipe_file.read_text(encoding="utf-8"))) if recipe_file.is_file() else {}
    chosen: dict[str, Any] = {"arch": arch}
    for option, value in config.items():
        if option in defaults and not value == defaults[option] == recipe.get(option, value):
            *groups, leaf = option.split(".")
            node = chosen
            for group in groups:
                node = node.setdefault(group, {})
            node[leaf] = value
    steps, batch, version = _count(about.get("step")), _count(about.get("effective_batch")), about.get("trained_with")
    trained = f"{steps}steps{f' of {batch}photographs' if batch else ''}" if steps else "Training"
    named = not digest or "init" in chosen
    unknown = "" if "hints.p" in config or not _takes_hints(about) else " (the file does not say how hints were drawn)"
    return (
        f"{trained}{f' with gancolor {version}' if version else ''}, by\n\n"
        f"    python train.py --config recipe.yaml{'' if named else ' --init START'}\n\n"
        f"where {'' if named else 'START is the generator that it started from, and '}recipe.yaml has the options that "
        f"are not the defaults{unknown}:\n\n```yaml\n{yaml.safe_dump(chosen, sort_keys=False)}```\n"
    )


def _takes_hints(about: Mapping[str, Any]) -> bool:
    return would_take_hints(about["generator"]["arch"], about["generator"]["options"])


def _file(exported: Exported) -> str:
    about = exported.about
    parity = section(about, "parity")
    rows = [["batch x height x width", "largest difference [ab]"]]
    rows += [[str(difference), f"{difference.largest:.2g}"] for difference in exported.differences]
    hints = "; and hints (B, 3, H, W): ab / 110 and 1 where a colour is given, 0 elsewhere"
    hints = hints if _takes_hints(about) else ""
    made_with = ", ".join(f"{name} {text}" for name, text in section(parity, "made_with").items())
    return (
        f"{exported.format}, {exported.size / 1e6:.1f} MB, weights {about.get('weights')}, sha256 "
        f"`{exported.sha256}`. Input: lightness (B, 1, H, W), L / 50 - 1{hints}. Output: chroma (B, 2, H, W), "
        f"ab / 110. Both are float32, with any B, H and W. Compared with the original checkpoint ({made_with}), where "
        f"{parity.get('tolerance_ab', _NAN):g} is allowed:\n\n{markdown_table(rows)}\n"
    )
