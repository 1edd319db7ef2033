"""Data frames as estimators read them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from ugmm.sklearn import UGMMClassifier, UGMMDensity, UGMMRegressor

N = 120
RNG = np.random.default_rng(0)
COLOUR = RNG.choice(["red", "green", "blue"], N)
SIZE = RNG.normal(size=N)
Y = (COLOUR == "red") ^ (SIZE > 0)
COLUMNS = {"size": SIZE, "colour": COLOUR}
FRAMES = {
    "pandas": pd.DataFrame(COLUMNS),
    "category": pd.DataFrame(COLUMNS).astype({"colour": "category"}),
    "polars": pl.DataFrame(COLUMNS),
    "enum": pl.DataFrame(COLUMNS).cast({"colour": pl.Enum(["red", "green", "blue"])}),
}


def fitted(frame, y=Y):
    return UGMMClassifier(max_epochs=60, random_state=0).fit(frame, y)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_words_become_features(frame):
    classifier = fitted(frame)
    assert classifier.score(frame, Y) > 0.9
    assert classifier.feature_names_in_.tolist() == ["size", "colour"]
    assert classifier.trained_.spec.feature_names == (
        "size", "colour=blue", "colour=green", "colour=red",
    )  # fmt: skip


def test_libraries_of_frames_are_alike_and_the_network_inside_is_too():
    pandas, polars = FRAMES["pandas"], FRAMES["polars"]
    classifier = fitted(pandas)
    np.testing.assert_array_equal(classifier.predict_proba(polars),
                                  fitted(polars).predict_proba(pandas))  # fmt: skip
    inside = classifier.trained_.predict(pandas)
    assert inside.tolist() == classifier.predict(pandas).astype(str).tolist()


def test_it_is_what_a_column_transformer_does():
    frame = FRAMES["pandas"]
    encoder = make_column_transformer(
        ("passthrough", ["size"]), (OneHotEncoder(sparse_output=False), ["colour"])
    )
    pipeline = make_pipeline(encoder, UGMMClassifier(max_epochs=60, random_state=0))
    np.testing.assert_allclose(
        fitted(frame).predict_proba(frame), pipeline.fit(frame, Y).predict_proba(frame), atol=1e-5
    )


def test_a_word_that_is_new_or_missing_is_not_known():
    classifier = fitted(FRAMES["pandas"])
    asked = pd.DataFrame({"size": [1.0] * 3, "colour": ["mauve", None, ""]})
    probabilities = classifier.predict_proba(asked)
    assert np.isfinite(probabilities).all()
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    np.testing.assert_array_equal(probabilities[0], probabilities[2])


def test_values_that_are_missing_have_many_names():
    frame = pd.DataFrame(
        {"a": pd.array([1, None, 3, 4] * 5, dtype="Int64"), "b": pd.array([True, None] * 10,
         dtype="boolean"), "c": [1.5, None, 2, 3] * 5}
    )  # fmt: skip
    density = UGMMDensity(max_epochs=1, random_state=0).fit(frame)
    same = pl.DataFrame({"a": [1, None], "b": [True, None], "c": [1.5, None]})
    np.testing.assert_allclose(density.score_samples(same), density.score_samples(frame[:2]))


def test_columns_go_by_their_names():
    classifier = fitted(FRAMES["pandas"])
    with pytest.raises(ValueError, match="must be in the same order"):
        classifier.predict(FRAMES["pandas"][["colour", "size"]])
    with pytest.raises(ValueError, match="Feature names unseen at fit time"):
        classifier.predict(FRAMES["polars"].rename({"size": "length"}))
    with pytest.raises(ValueError, match="X must be a data frame, as it was in fit"):
        classifier.predict(FRAMES["pandas"].to_numpy())


def test_dates_are_refused_and_the_remedy_is_named():
    frame = pd.DataFrame({"day": pd.date_range("2020-01-01", periods=N), "size": SIZE})
    with pytest.raises(ValueError, match=r"column 'day' is of type datetime64.*OrdinalEncoder"):
        fitted(frame)
    with pytest.raises(ValueError, match="column 'day' is of type Date"):
        fitted(pl.DataFrame({"day": frame["day"].dt.date.tolist()}))
    with pytest.raises(ValueError, match="column 'day' is of type date,"):
        fitted(pd.DataFrame({"day": frame["day"].dt.date, "size": SIZE}))


def test_objects_that_are_numbers_are_read_as_such():
    known = fitted(pd.DataFrame({"size": SIZE.round(3)}))
    read = fitted(pd.DataFrame({"size": [Decimal(f"{value:.3f}") for value in SIZE]}))
    assert [column.categories for column in read.trained_.spec.columns] == [()]
    np.testing.assert_array_equal(
        known.predict_proba(pd.DataFrame({"size": [0.5]})),
        read.predict_proba(pd.DataFrame({"size": [Decimal("0.5")]})),
    )


def test_arrays_hold_numbers_only():
    with pytest.raises(ValueError, match="could not convert string to float"):
        fitted(FRAMES["pandas"].to_numpy())


def test_a_density_draws_words():
    density = UGMMDensity("circuit", max_epochs=5, random_state=0).fit(FRAMES["polars"])
    drawn = density.sample(50, random_state=0)
    assert set(drawn[:, 1]) == {"red", "green", "blue"}
    assert np.isfinite(density.score_samples(FRAMES["polars"])).all()


def test_a_regressor_takes_words():
    y = np.where(COLOUR == "red", 10.0, 20.0) + SIZE
    regressor = UGMMRegressor(max_epochs=60, random_state=0).fit(FRAMES["pandas"], y)
    assert regressor.score(FRAMES["pandas"], y) > 0.9
