"""scikit-learn's estimators, packed: the opened bundle predicts what the estimator itself predicts."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")
import joblib
import vonk
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)  # fmt: skip
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from vonk.packing import PackError

pandas = pytest.importorskip("pandas")

IRIS = load_iris()
SPECIES = IRIS.target_names[IRIS.target]

CLASSIFIERS = {
    "LogisticRegression": LogisticRegression(max_iter=500),
    "RandomForest": RandomForestClassifier(20, random_state=1),
    "GradientBoosting": GradientBoostingClassifier(n_estimators=10, random_state=1),
    "HistGradientBoosting": HistGradientBoostingClassifier(max_iter=10, random_state=1),
    "GaussianNB": GaussianNB(),
    "KNeighbors": KNeighborsClassifier(),
    "scaled MLP": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=60, random_state=1)),
    "vote": VotingClassifier([("a", LogisticRegression(max_iter=500)), ("b", GaussianNB())], voting="soft"),
    "search": GridSearchCV(make_pipeline(PCA(2), LogisticRegression()), {"pca__n_components": [2, 3]}, cv=2),
}
REGRESSORS = {
    "LinearRegression": LinearRegression(),
    "RandomForest": RandomForestRegressor(10, random_state=1),
    "HistGradientBoosting": HistGradientBoostingRegressor(max_iter=10, random_state=1),
}


def fitted(estimator, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(IRIS.data, target)


def packed(estimator, tmp_path, **options):
    report = vonk.pack(estimator, tmp_path / "m.vonk", **options)
    return report, vonk.open(tmp_path / "m.vonk")


def refused(estimator, tmp_path, **options):
    with pytest.raises(PackError) as caught:
        vonk.pack(estimator, tmp_path / "m.vonk", **options)
    assert not (tmp_path / "m.vonk").exists()
    message = str(caught.value)
    assert "\n" not in message, message
    return message


def flowers(n=200):
    """Between the measured ones, in numbers that float32 has."""
    rng = np.random.default_rng(4)
    low, high = IRIS.data.min(axis=0), IRIS.data.max(axis=0)
    return rng.uniform(low, high, (n, 4)).astype(np.float32)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_its_label_and_probabilities(name, tmp_path):
    estimator = fitted(CLASSIFIERS[name], SPECIES)
    _, model = packed(estimator, tmp_path)
    assert [str(port) for port in (*model.inputs, *model.outputs)] == [
        "features: float32[N, 4]", "label: string[N]", "probabilities: float32[N, 3]",
    ]  # fmt: skip
    x = flowers()
    found = model.predict({"features": x})
    expected = estimator.predict_proba(x.astype(np.float64))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-4)
    assert found["label"].tolist() == estimator.predict(x.astype(np.float64)).tolist()


def test_a_classifier_s_classes_are_the_bundle_s_labels(tmp_path):
    estimator = fitted(LogisticRegression(max_iter=500), SPECIES)
    _, model = packed(estimator, tmp_path)
    x = flowers()
    found = model.predict(x, outputs=["probabilities"], as_="label")
    assert found.tolist() == estimator.predict(x).tolist()
    _, model = packed(estimator, tmp_path, labels=["a", "b", "c"], outputs={"probabilities": "p"})
    assert set(model.predict(x, outputs=["p"], as_="label")) <= {"a", "b", "c"}


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_gives_one_number_a_row(name, tmp_path):
    estimator = fitted(REGRESSORS[name], IRIS.target.astype(float))
    _, model = packed(estimator, tmp_path)
    assert [str(port) for port in model.outputs] == ["prediction: float32[N]"]
    x = flowers()
    np.testing.assert_allclose(model.predict(x), estimator.predict(x.astype(np.float64)), atol=1e-4)


@pytest.mark.parametrize(("estimator", "n"), [(SVC(), 3), (LinearSVC(), 3), (SVC(probability=True, random_state=1), 3)])
def test_support_vectors_give_scores_or_probabilities(estimator, n, tmp_path):
    fitted(estimator, IRIS.target)
    _, model = packed(estimator, tmp_path)
    x = flowers()
    found = model.predict({"features": x})
    assert found["label"].tolist() == estimator.predict(x.astype(np.float64)).tolist()
    name, method = ("scores", "decision_function")
    if getattr(estimator, "probability", False) is True:
        name, method = ("probabilities", "predict_proba")
    assert found[name].shape == (len(x), n)
    np.testing.assert_allclose(found[name], getattr(estimator, method)(x.astype(np.float64)), atol=1e-4)


def test_clusters_outliers_and_transformers(tmp_path):
    x = flowers()
    means = KMeans(3, n_init=2, random_state=1).fit(IRIS.data)
    found = packed(means, tmp_path)[1].predict({"features": x})
    assert found["label"].tolist() == means.predict(x.astype(np.float64)).tolist()
    np.testing.assert_allclose(found["distances"], means.transform(x.astype(np.float64)), atol=1e-3)
    forest = IsolationForest(n_estimators=10, random_state=1).fit(IRIS.data)
    found = packed(forest, tmp_path)[1].predict({"features": x})
    assert (
        found["label"].shape == (len(x),) and found["label"].tolist() == forest.predict(x.astype(np.float64)).tolist()
    )
    np.testing.assert_allclose(found["scores"], forest.decision_function(x.astype(np.float64)), atol=1e-4)
    scaler = make_pipeline(StandardScaler(), PCA(2)).fit(IRIS.data)
    _, model = packed(scaler, tmp_path)
    assert str(model.outputs[0]) == "transformed: float32[N, 2]"
    np.testing.assert_allclose(model.predict(x), scaler.transform(x.astype(np.float64)), atol=1e-4)


# --- columns and texts ---


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(5)
    return pandas.DataFrame(
        {
            "age": rng.uniform(18, 90, 120).round(1), "city": rng.choice(["Rome", "Oslo", "Kyōto"], 120),
            "note": "unused", "visits": rng.integers(0, 9, 120), "plan": rng.choice(["a", "b"], 120),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def pipeline(people):
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["visits", "age"]),
            ("kinds", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            (
                "filled",
                make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=""), OneHotEncoder()),
                ["plan"],
            ),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(people, people["age"] + 9 * (people["plan"] == "a") > 50)


def test_named_columns_are_inputs(pipeline, people, tmp_path):
    _, model = packed(pipeline, tmp_path)
    assert [str(port) for port in model.inputs] == [
        "age: float32[N, 1]", "city: string[N, 1]", "visits: float32[N, 1]", "plan: string[N, 1]",
    ]  # fmt: skip
    found = model.predict(people.astype({"visits": np.float32}), outputs=["probabilities"])
    expected = pipeline.predict_proba(people.astype({"age": np.float32}))
    np.testing.assert_allclose(np.stack(found["probabilities"].tolist()), expected, atol=1e-4)
    _, model = packed(pipeline, tmp_path, inputs=["visits:i64[-1,1]"])
    assert [port.dtype for port in model.inputs] == ["float32", "string", "int64", "string"]
    message = refused_again(pipeline, tmp_path, inputs=["height:f32[-1,1]"])
    assert "height" in message and "age:f32[-1, 1]" in message, message


def refused_again(estimator, tmp_path, **options):
    (tmp_path / "m.vonk").unlink(missing_ok=True)
    return refused(estimator, tmp_path, **options)


def test_texts(tmp_path):
    texts = ["a good film", "a bad film", "nice and good", "awful, really bad", "GOOD", "the worst"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        texts, ["pos", "neg", "pos", "neg", "pos", "neg"]
    )
    _, model = packed(pipeline, tmp_path)
    assert str(model.inputs[0]) == "text: string[N]"
    rows = ["good film", "a BAD one", "nothing of that", ""]
    found = model.predict({"text": np.array(rows, dtype=object)})
    np.testing.assert_allclose(found["probabilities"], pipeline.predict_proba(rows), atol=1e-5)
    assert found["label"].tolist() == pipeline.predict(rows).tolist()


# --- precision ---


def test_thresholds_in_double_precision_are_kept_by_a_double_input(tmp_path):
    """Of histogram trees: rows that lie on a threshold fall on the other side once both are rounded to float32."""
    estimator = fitted(HistGradientBoostingRegressor(max_iter=20, random_state=1), IRIS.target.astype(float))
    thresholds = np.concatenate(
        [
            t[0].nodes["num_threshold" if "num_threshold" in t[0].nodes.dtype.names else "threshold"]
            for t in estimator._predictors
        ]
    )
    assert (thresholds != thresholds.astype(np.float32)).any()
    expected = estimator.predict(IRIS.data)
    _, model = packed(estimator, tmp_path, inputs=["features:f64[-1,4]"], samples={"features": IRIS.data})
    assert model.inputs[0].dtype == "float64"
    np.testing.assert_allclose(model.predict(IRIS.data), expected, atol=1e-5)


# --- what cannot be packed ---


class Odd(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        self.n_features_in_ = x.shape[1]
        self.seen_ = True
        return self

    def transform(self, x):
        return x * 2


def test_a_step_without_a_converter_is_named(tmp_path):
    pipeline = fitted(make_pipeline(StandardScaler(), Odd(), LogisticRegression(max_iter=500)), SPECIES)
    message = refused(pipeline, tmp_path)
    assert "step 'odd' (Odd)" in message and "no converter" in message, message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (LogisticRegression(), ["LogisticRegression", "not fitted"]),
        (LogisticRegression, ["class"]),
    ],
)
def test_what_is_no_fitted_estimator_is_refused(source, words, tmp_path):
    message = refused(source, tmp_path)
    assert all(word in message for word in words), message


def test_a_matrix_of_another_width_is_refused(tmp_path):
    estimator = fitted(LogisticRegression(max_iter=500), SPECIES)
    assert "[-1,4]" in refused(estimator, tmp_path, inputs=["features:f32[-1,5]"])
    assert "onnx" in refused(estimator, tmp_path, to="savedmodel")


class Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_is_loaded_with_trust_only(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    message = refused(tmp_path / "evil.pkl", tmp_path)
    assert "--trust" in message and "code" in message and not (tmp_path / "ran").exists(), message
    estimator = fitted(LogisticRegression(max_iter=500), SPECIES)
    joblib.dump(estimator, tmp_path / "flowers.joblib")
    _, model = packed(tmp_path / "flowers.joblib", tmp_path, trust=True)
    expected = estimator.predict_proba(flowers())
    np.testing.assert_allclose(model.predict({"features": flowers()})["probabilities"], expected, atol=1e-4)
    joblib.dump({"a": 1}, tmp_path / "dict.joblib")
    assert "dict" in refused_again(tmp_path / "dict.joblib", tmp_path, trust=True)
