"""Changes that no column shows alone are seen, and fresh rows of the same world are left in peace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from millrace.monitoring.drift import decide
from millrace.monitoring.feature_matrix import encoding_of
from millrace.monitoring.multivariate import (
    _mann_whitney,
    domain_classifier,
    fit_reconstruction,
    principal_components,
    read_reconstruction,
    reconstruction_shift,
    write_reconstruction,
)
from millrace.monitoring.planted import Change, Stream
from millrace.profiling.constraints_file import suggest
from millrace.profiling.errors import DatasetError, FormatError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.summary import DatasetSummary, Floats

SEEDS = range(8)


def days(seed: int, kind: str = "none", size: float = 0.0, rows: int = 1000) -> tuple[pa.Table, pa.Table]:
    """A baseline and a window of applications for a loan, without the label."""
    stream = Stream(seed, Change(kind=kind, size=size, day=1))
    return stream.day(0, 4000).drop_columns(["repaid"]), stream.day(1, rows).drop_columns(["repaid"])


def summary(table: pa.Table) -> DatasetSummary:
    profile = DatasetProfile()
    for batch in table.to_batches():
        profile.add(batch)
    return profile.summary()


def test_a_correlation_that_vanishes_is_seen_by_both_and_by_no_single_column() -> None:
    for seed in range(3):
        baseline, window = days(seed, "correlation", 0.6)
        known = summary(baseline)
        assert not decide(known, summary(window), suggest(known)).drifted_features
        separation = domain_classifier(baseline, window)
        assert separation.drifted()
        assert {name for name, _ in separation.features[:2]} == {"score", "income"}
        assert reconstruction_shift(fit_reconstruction(baseline), window).drifted()


def test_nothing_is_said_where_nothing_changed() -> None:
    for seed in SEEDS:
        baseline, window = days(seed)
        assert not domain_classifier(baseline, window).drifted(), seed
        assert not reconstruction_shift(fit_reconstruction(baseline), window).drifted(), seed


def test_the_classifiers_p_value_is_not_smaller_than_chance_makes_it() -> None:
    """Of 40 windows without a change two would be expected below 0.05; six would be one in fifty tries."""
    dice = np.random.default_rng(1)
    low = 0
    for seed in range(40):
        baseline, window = (pa.table({c: dice.normal(size=n) for c in "abc"}) for n in (600, 300))
        low += domain_classifier(baseline, window, seed=seed).p_value < 0.05
    assert low < 6


def test_the_baselines_error_is_that_of_rows_it_was_not_fitted_on() -> None:
    """With so many columns, components fit their own rows better than any others; a fresh window would seem worse."""
    dice = np.random.default_rng(1)
    for _ in range(5):
        baseline, window = (pa.table({f"c{i}": dice.normal(size=n) for i in range(40)}) for n in (200, 1000))
        assert reconstruction_shift(fit_reconstruction(baseline), window).p_value > 0.01


@pytest.fixture(scope="module")
def digits() -> Floats:
    images: Floats = load_digits().images
    return np.random.default_rng(0).permutation(images)


def pixels(images: Floats) -> pa.Table:
    flat = images.reshape(-1, 64)
    return pa.table({f"pixel_{i}": flat[:, i] for i in range(64)})


def test_images_are_looked_at_through_their_pixels(digits: Floats) -> None:
    baseline = pixels(digits[:1100])
    turned = np.array([ndimage.rotate(image, 20, reshape=False, order=1) for image in digits[1100:1450]])
    fit = fit_reconstruction(baseline)
    assert not domain_classifier(baseline, pixels(digits[1100:1450])).drifted()
    assert not reconstruction_shift(fit, pixels(digits[1100:1450])).drifted()
    assert domain_classifier(baseline, pixels(turned)).auc > 0.9
    assert reconstruction_shift(fit, pixels(turned)).drifted()


def test_a_change_within_the_window_is_dated(digits: Floats) -> None:
    turned = np.array([ndimage.rotate(image, 30, reshape=False, order=1) for image in digits[1400:1700]])
    shift = reconstruction_shift(
        fit_reconstruction(pixels(digits[:1100])), pixels(np.concatenate([digits[1100:1400], turned]))
    )
    assert min(shift.chunks[5:]) > max(shift.chunks[:5])


def test_mann_whitney_equals_sklearn_and_knows_ties() -> None:
    dice = np.random.default_rng(1)
    positive = dice.random(300) < 0.4
    scores: Floats = np.round(dice.normal(size=300) + np.where(positive, 0.3, 0.0), 1)
    assert _mann_whitney(scores, positive)[0] == pytest.approx(roc_auc_score(positive, scores))
    assert _mann_whitney(np.zeros(300), positive) == (0.5, 1.0)


def test_a_fit_is_read_as_it_was_written(tmp_path: Path) -> None:
    baseline, window = days(1)
    fit = fit_reconstruction(baseline)
    write_reconstruction(tmp_path, fit)
    read = read_reconstruction(tmp_path)
    assert (read.errors(window) == fit.errors(window)).all()
    assert reconstruction_shift(read, window) == reconstruction_shift(fit, window)
    document = json.loads((tmp_path / "reconstruction.json").read_text())
    document["centre"] = document["centre"][1:]
    (tmp_path / "reconstruction.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="do not fit its 6 columns"):
        read_reconstruction(tmp_path)


def test_encoding_keeps_what_can_be_looked_at() -> None:
    table = pa.table(
        {
            "number": [1.0, 3.0, None, np.inf],
            "word": ["b", "b", "a", None],
            "flag": [True, False, True, True],
            "constant": [7, 7, 7, 7],
            "nothing": pa.nulls(4),
            "day": pa.array([0, 1, 2, 3], pa.date32()),
        }
    )
    encoding = encoding_of(table)
    assert list(encoding.columns) == ["number", "word", "flag"]
    later = encoding.matrix(pa.table({"number": [2], "word": ["new"], "flag": [True]}))
    assert later[0, 0] == 0
    assert later[0, 1] > encoding.matrix(table)[2, 1], "a category that the baseline never had ranks last"
    assert np.isnan(encoding.matrix(table)[:, 0]).tolist() == [False, False, True, True]
    names = pa.table({"id": [f"row {i}" for i in range(101)]})
    with pytest.raises(DatasetError, match="none of the columns id"):
        encoding_of(names)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"a": np.zeros(60)}, "no column 'b'"),
        ({"a": np.zeros(60), "b": ["x"] * 60}, "column 'b' holds string"),
        ({"a": np.zeros(9), "b": np.zeros(9)}, "window has 9 rows"),
    ],
)
def test_windows_that_cannot_be_compared_are_refused(window: dict[str, object], message: str) -> None:
    dice = np.random.default_rng(1)
    baseline = pa.table({"a": dice.normal(size=200), "b": dice.normal(size=200)})
    with pytest.raises(DatasetError, match=message):
        domain_classifier(baseline, pa.table(window))
    with pytest.raises(DatasetError, match=message):
        reconstruction_shift(fit_reconstruction(baseline), pa.table(window))


def test_principal_components_are_scikit_learns() -> None:
    from sklearn.decomposition import PCA

    dice = np.random.default_rng(5)
    rows = dice.normal(size=(400, 6)) @ dice.normal(size=(6, 6))
    centre, components = principal_components(rows, 0.8)
    theirs = PCA(n_components=0.8, svd_solver="full").fit(rows)
    np.testing.assert_allclose(centre, theirs.mean_)
    np.testing.assert_allclose(np.abs(components @ theirs.components_.T), np.eye(len(components)), atol=1e-8)
    assert components.shape == theirs.components_.shape
