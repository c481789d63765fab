"""Disagreement from packed bits, by hand."""

import numpy as np
import pytest

from core.analysis.disagreement import Predicted, disagreements, share_predicted_otherwise


def predicted(weight: str, seed: int, bits: str) -> Predicted:
    return Predicted(weight, seed, np.packbits([int(bit) for bit in bits]).tobytes(), len(bits))


def test_the_share_of_images_predicted_otherwise() -> None:
    assert share_predicted_otherwise(predicted("1:1", 0, "1100110011"), predicted("4:1", 0, "1100110000")) == 0.2
    assert share_predicted_otherwise(Predicted("1:1", 0, b"\xff", 3), Predicted("4:1", 0, b"\xe0", 3)) == 0
    with pytest.raises(ValueError, match="3 images and of 4"):
        share_predicted_otherwise(predicted("1:1", 0, "111"), predicted("1:1", 0, "1111"))


def test_what_a_weight_changes_is_what_a_seed_does_not() -> None:
    """1:1 of seeds 0, 1, 2 differs in 1, 2 and 3 of ten images; 4:1 in 3, 3 and 6 from that of its own seed."""
    even = ["0000000000", "1000000000", "0110000000"]
    heavy = ["1110000000", "1111000000", "1001111000"]
    found = [predicted("1:1", seed, bits) for seed, bits in enumerate(even)]
    found += [predicted("4:1", seed, bits) for seed, bits in enumerate(heavy)]
    (four,) = disagreements(found)
    assert four.importance_weight == "4:1"
    assert four.share.seeds == pytest.approx([0.3, 0.3, 0.7])
    assert four.between_seeds == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert four.excess
    assert four.excess.seeds == pytest.approx([0.3 - 0.15, 0.3 - 0.2, 0.7 - 0.25])
    assert disagreements(found[::-1]) == [four]


def test_no_share_of_images_lies_beyond_none_or_all_of_them() -> None:
    """Shares of 1, 0.5 and 0.75 by t over seeds would end at 1.37; less what seeds differ in, at 1 too."""
    seeds = zip(("0000", "0000", "0000"), ("1111", "1100", "1110"), strict=True)
    found = [
        predicted(w, seed, bits) for seed, own in enumerate(seeds) for w, bits in zip(("1:1", "4:1"), own, strict=True)
    ]
    (four,) = disagreements(found)
    assert (four.share.estimate, four.share.high) == (0.75, 1)
    assert four.excess
    assert (four.excess.estimate, four.excess.high) == (0.75, 1)
    assert four.share.low == four.excess.low == pytest.approx(0.75 - 4.3027 * 0.25 / 3**0.5, abs=1e-4)


def test_one_seed_of_1_to_1_cannot_say_what_a_seed_makes_of_it() -> None:
    (four,) = disagreements([predicted("1:1", 0, "0000"), predicted("4:1", 0, "0001"), predicted("4:1", 1, "0011")])
    assert (four.share.seeds, four.between_seeds, four.excess) == ([0.25], None, None)


def test_without_1_to_1_of_the_same_seed_nothing_is_compared() -> None:
    assert disagreements([]) == disagreements([predicted("4:1", 0, "01"), predicted("1:1", 1, "01")]) == []


def test_other_ways_to_write_1_to_1_do() -> None:
    found = disagreements([predicted("2:2", 0, "0000"), predicted("8:1", 0, "0001"), predicted("1:8", 0, "0111")])
    assert [(each.importance_weight, each.share.estimate) for each in found] == [("8:1", 0.25), ("1:8", 0.75)]
