import warnings
from pathlib import Path

from damaged_pictures import DAMAGES, FORMATS, damaged, green_colorizer, judged


def test_damaged_pictures_are_decoded_or_named(tmp_path: Path) -> None:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(60):
            found += [(seed, *one) for one in judged(green_colorizer(), tmp_path, seed) if one[1]]
    assert not [one for one in found if one[2][0] not in ("decoded", "named")]
    assert {outcome for *_, (outcome, _) in found} == {"decoded", "named"}
    assert len(found) == 3 * 60


def test_a_seed_gives_the_same_picture_again() -> None:
    pictures = [damaged(seed) for seed in range(200)]
    assert pictures == [damaged(seed) for seed in range(200)]
    assert {kind for kind, *_ in pictures} == set(FORMATS)
    assert {damage for _, damage, *_ in pictures} == set(DAMAGES)
