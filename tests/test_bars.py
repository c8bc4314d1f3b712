import pytest

from dipgp import bars


def test_the_first_stands_above_and_each_has_its_value_beside_it():
    (axis,) = bars.bars("ratios", {"a": 2.0, "b": 0.5}, "ours", 1.0).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axis.texts] == ["2", "0.5"]
    assert axis.yaxis_inverted()
    assert axis.get_xscale() == "linear"
    assert list(axis.lines[0].get_xdata()) == [1.0, 1.0]


@pytest.mark.parametrize(("smallest", "scale"), [(1.0, "log"), (0.0, "linear")])
def test_wide_ranges_are_logarithmic_where_they_can_be(smallest, scale):
    (axis,) = bars.bars("times", {"a": 100.0, "b": smallest}, "faster").axes
    assert axis.get_xscale() == scale


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="values: expected at least one"):
        bars.bars("none", {}, "ours")
