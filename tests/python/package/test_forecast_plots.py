"""Pictures of forecasts: what they show, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from lstmcore import plots

TRUE = np.arange(8.0).reshape(2, 4, 1)
RESULT = SimpleNamespace(
    origins=np.array([0, 4]),
    dates=np.arange(8).reshape(2, 4),
    true=TRUE,
    forecasts={"LSTM": TRUE + 0.5, "naive": TRUE * 0},
    bounds={"LSTM": np.stack([TRUE, TRUE + 1], axis=-1)},
    coverage=0.8,
)


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_a_fan_has_an_area_for_each_interval(tmp_path):
    steps = np.arange(3.0)
    fan = {share: np.stack([steps - share, steps + share], axis=1) for share in (0.5, 0.9)}
    path = tmp_path / "fan.svg"
    ax = plots.forecast_fan([1.0, 2.0], steps, fan, path, truth=steps + 1, title="$load")
    found = lines(ax)
    assert list(found) == ["history", "true", "forecast"]
    np.testing.assert_array_equal(found["history"].get_xdata(), [-1, 0])
    np.testing.assert_array_equal(found["forecast"].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(found["true"].get_ydata(), steps + 1)
    areas = {area.get_label(): area for area in ax.collections}
    assert list(areas) == ["90% interval", "50% interval"]  # the wider first, below
    assert areas["90% interval"].get_alpha() < areas["50% interval"].get_alpha()
    assert ax.get_title(loc="left") == "$load"
    assert path.read_bytes().startswith(b"<?xml")


def test_a_fan_at_dates_in_given_axes():
    ax = Figure().add_subplot()
    dates = np.datetime64("2024-01-01") + np.arange(5)
    assert plots.forecast_fan([1.0, 2.0], [3.0, 4.0, 5.0], dates=dates, ax=ax) is ax
    assert (lines(ax)["forecast"].get_xdata() == dates[2:]).all()


def test_a_backtest_shows_every_origin():
    ax = plots.backtest(RESULT, names=["LSTM", "naive"])
    drawn = ax.get_lines()
    assert len(drawn) == 1 + 2 * 2
    np.testing.assert_array_equal(drawn[0].get_ydata(), TRUE.ravel())
    np.testing.assert_array_equal(drawn[2].get_xdata(), [4, 5, 6, 7])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["true", "LSTM", "80% interval", "naive"]


def test_steps_that_several_origins_forecast_are_drawn_once():
    overlapping = SimpleNamespace(
        **{**vars(RESULT), "origins": [0, 2], "dates": np.array([[0, 1, 2, 3], [2, 3, 4, 5]])}
    )
    ax = plots.backtest(overlapping)
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), np.arange(6))
    np.testing.assert_array_equal(ax.get_lines()[2].get_xdata(), [2, 3, 4, 5])


def labelled(labels):
    return SimpleNamespace(**{**vars(RESULT), "dates": np.asarray(labels).reshape(2, 4)})


def texts_below(ax):
    """The texts below the axis, by the places that they mark."""
    ax.figure.canvas.draw()
    texts = [label.get_text() for label in ax.get_xticklabels()]
    return {place: text for place, text in zip(ax.get_xticks(), texts, strict=True) if text}


MONTHS = ["2019/10", "2019/11", "2019/12", "2020/1", "2020/2", "2020/2", "2020/3", "2020/$4$"]


@pytest.mark.parametrize("labels", [MONTHS, np.array(MONTHS, object)])
def test_steps_with_texts_are_drawn_in_their_order(labels):
    """In alphabetical order, October would follow after January, and February would be one."""
    ax = plots.backtest(labelled(labels))
    true, _, second = ax.get_lines()
    np.testing.assert_array_equal(true.get_xdata(), np.arange(8))
    np.testing.assert_array_equal(true.get_ydata(), TRUE.ravel())
    np.testing.assert_array_equal(second.get_xdata(), [4, 5, 6, 7])
    found = texts_below(ax)
    assert len(found) > 2
    assert all(found[place] == MONTHS[int(place)].replace("$", r"\$") for place in found)


def test_a_fan_at_texts_is_drawn_in_their_order():
    """Areas come first: matplotlib would put the forecast before the history."""
    names = np.array(["May", "June", "July", "May", "June"])
    ax = plots.forecast_fan([1.0, 2.0], np.ones(3), {0.9: np.ones((3, 2))}, dates=names)
    np.testing.assert_array_equal(lines(ax)["history"].get_xdata(), [-1, 0])
    np.testing.assert_array_equal(lines(ax)["forecast"].get_xdata(), [1, 2, 3])
    assert texts_below(ax)[0] == "June"


def test_repeated_and_falling_dates_keep_all_steps():
    hours = np.datetime64("2024-10-27T00") + np.array([0, 1, 2, 2, 3, 4, 5, 6])
    ax = plots.backtest(labelled(hours))
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), hours)
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), TRUE.ravel())
    falling = plots.backtest(labelled(hours[::-1])).get_lines()
    np.testing.assert_array_equal(falling[0].get_xdata(), hours[::-1])
    np.testing.assert_array_equal(falling[2].get_xdata(), hours[3::-1])


def test_times_with_a_zone_and_periods():
    pd = pytest.importorskip("pandas")
    hours = pd.date_range("2024-10-27", periods=8, freq="h", tz="Europe/Berlin")
    ax = plots.backtest(labelled(np.asarray(hours.astype(object))))
    assert list(ax.get_lines()[0].get_xdata()) == list(hours)
    months = pd.period_range("2024-01", periods=8, freq="M")
    ax = plots.backtest(labelled(np.asarray(months)))
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), np.arange(8))
    assert texts_below(ax)[2] == "2024-03"


def test_pictures_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match=r"forecast: expected shape \(T,\)"):
        plots.forecast_fan([1.0], [[1.0]])
    with pytest.raises(ValueError, match=r"intervals: expected shape \(2, 2\), got \(2,\)"):
        plots.forecast_fan([1.0], [1.0, 2.0], {0.9: [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"truth: expected shape \(2,\)"):
        plots.forecast_fan([1.0], [1.0, 2.0], truth=[1.0])
    with pytest.raises(ValueError, match=r"dates: expected shape \(3,\)"):
        plots.forecast_fan([1.0], [1.0, 2.0], dates=[1, 2])
    with pytest.raises(ValueError, match="names: expected some of 'LSTM', 'naive'"):
        plots.backtest(RESULT, names="ridge")
    with pytest.raises(ValueError, match="target: expected 0 to 0, got 1"):
        plots.backtest(RESULT, target=1)
