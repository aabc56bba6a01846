"""Detection of common failures of colorization GANs, with advice on what to try."""

from collections.abc import Mapping

# All of these are rules of thumb, and only trigger warnings.
COLLAPSED = 0.5  # limits of (C - C of grey) / (C of the truth - C of grey), with C the mean colourfulness
OVERSATURATED = 1.25
TOO_STRONG = 0.99  # limits of the discriminator's accuracy on patches; guessing: 0.5; usual: 0.92 to 0.97
TOO_WEAK = 0.55
LEARNING = 100  # steps in which a new discriminator may still be guessing


def check_colourfulness(colorfulness: float, grey: float, truth: float) -> dict[str, str]:
    """Check the colourfulness of the validation pictures. Returns failure -> one line of advice.

    Args:
        colorfulness, grey, truth: mean colourfulness of the generator's pictures, of grey ones and of the ground truth.
    """
    share = (colorfulness - grey) / (truth - grey) if truth > grey else 1.0
    if share < COLLAPSED:
        return {
            "colour collapse": f"{share:.0%} of the truth's colourfulness. This is usual early on; if it stays, give "
            "the adversarial loss more weight (lower --loss.l1, more --epochs), or try --loss.colorfulness 0.5, "
            "--loss.color_weighted 100, or a higher --data.min_colorfulness"
        }
    if share > OVERSATURATED:
        return {
            "oversaturation": f"{share:.0%} of the truth's colourfulness. Try a higher --loss.l1, a lower "
            "--optim.lr_d, fewer --epochs, or --loss.colorfulness 0"
        }
    return {}


def check_adversarial_training(terms: Mapping[str, float], steps: int) -> dict[str, str]:
    """Check the balance between discriminator and generator. Returns failure -> one line of advice.

    Args:
        terms: means over some steps; "d_accuracy" is the share of patches for which the discriminator finds the ground
            truth more likely than the prediction. Without it (pretraining) nothing is checked.
        steps: how many steps the discriminator has been trained for.
    """
    accuracy = terms.get("d_accuracy")
    if accuracy is None or TOO_WEAK <= accuracy <= TOO_STRONG:
        return {}
    if accuracy > TOO_STRONG:
        return {
            "discriminator too strong": f"it rates {accuracy:.0%} of true patches above predicted ones, so the "
            "generator learns little from it. Try a lower --optim.lr_d, --discriminator.spectral_norm true, "
            "--loss.r1 1 with --discriminator.norm instance, or --loss.gan_mode lsgan or hinge"
        }
    if steps < LEARNING:
        return {}
    return {
        "discriminator too weak": f"it rates only {accuracy:.0%} of true patches above predicted ones (guessing: "
        "50%). Try a higher --optim.lr_d, a larger --discriminator.width, or --critic_epochs 0.5"
    }
