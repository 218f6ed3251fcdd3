"""Models of Keras for the tests. Workers import this module, and TensorFlow only when they load one."""

from __future__ import annotations

import keras
import numpy as np

WEIGHTS = (3.14, 1.618)


def trained():
    """y = 3.14 a + 1.618 b, with the weights that training found in the old tests; 3.14 + 1.618 = 4.758."""
    model = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(1, name="y")])
    model.set_weights([np.array(WEIGHTS, "f4")[:, None], np.zeros(1, "f4")])
    return model


def load(path):
    """A model_loader."""
    return keras.models.load_model(path)


def pets():
    """A text and two whole numbers per row, through preprocessing layers, to one number."""
    keras.utils.set_random_seed(5)
    kind = keras.Input((1,), dtype="string", name="Type")
    age = keras.Input((1,), dtype="int64", name="Age")
    fee = keras.Input((1,), dtype="int64", name="Fee")
    codes = keras.layers.StringLookup(vocabulary=["Cat", "Dog"], output_mode="one_hot")(kind)
    ages = keras.layers.Discretization(bin_boundaries=[3, 12, 36], output_mode="one_hot")(age)
    money = keras.layers.Rescaling(1 / 400)(fee)
    joined = keras.layers.Concatenate()([codes, ages, money])
    return keras.Model([kind, age, fee], keras.layers.Dense(1, name="score")(joined))


class Sides(keras.Model):
    """The linear model as a class of one's own with two arguments, which does not say their shapes."""

    def __init__(self):
        super().__init__()
        self.left, self.right = keras.layers.Dense(1), keras.layers.Dense(1)

    def call(self, a, b):
        return self.left(a) + self.right(b)


def sides():
    model = Sides()
    model(np.ones((1, 1), "f4"), np.ones((1, 1), "f4"))
    for layer, weight in zip((model.left, model.right), WEIGHTS, strict=True):
        layer.set_weights([np.array([[weight]], "f4"), np.zeros(1, "f4")])
    return model


def load_sides(path):
    """A model_loader that reads nothing."""
    return sides()
