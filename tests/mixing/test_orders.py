"""Models of three frameworks in one C process: opened in any order, run alone and at once, let go in any order."""

from __future__ import annotations

import itertools
import re

import mixing
import pytest

ORDERS = list(itertools.permutations(mixing.FRAMEWORKS))
#: the order of letting go, for each order of opening: each of the six once
RELEASES = ["".join(map(str, order)) for order in itertools.permutations(range(3))]


def run_orders(formats: tuple[str, ...], release: str, **env: str) -> dict[str, float]:
    """Differences to NumPy by the model's path, as the program measured them."""
    mixing.need(*formats)
    command = [mixing.PROGRAMS / "orders", release, *mixing.files(), *map(mixing.spec, formats)]
    lines = [line.rsplit(" ", 1) for line in mixing.run(command, leaks=True, **env).splitlines()]
    return {name: float(difference) for name, difference in lines}


@pytest.mark.parametrize(("order", "release"), zip(ORDERS, RELEASES, strict=True))
def test_frameworks_agree_whatever_the_order(order, release):
    differences = run_orders(order, release)
    assert set(differences) == {mixing.spec(name) for name in order}
    assert max(differences.values()) <= 1e-5, differences
    assert min(differences.values()) > 0, "the network's numbers, not a copy of what was expected"


def test_every_format_of_a_network_in_one_process():
    differences = run_orders(tuple(mixing.FORMATS), "315042")
    assert len(differences) == len(mixing.FORMATS)
    assert max(differences.values()) <= 1e-5, differences


@pytest.mark.skipif(bool(mixing.SANITIZED), reason="a sanitizer has an allocator of its own")
def test_memory_that_is_never_zero_by_chance():
    """malloc fills what it gives and what it takes back; all symbols are bound at start-up."""
    run_orders(mixing.FRAMEWORKS, "012", MALLOC_PERTURB_="165", LD_BIND_NOW="1")


def test_models_come_and_go_in_four_threads():
    """Opened, run, cancelled, refused and closed at random; a longer soak: the program itself, with more seconds."""
    mixing.need(*mixing.FRAMEWORKS)
    specs = [mixing.spec(name) for name in (*mixing.FRAMEWORKS, "aoti")]
    found = mixing.run([mixing.PROGRAMS / "soak", "4", *mixing.files(), *specs], leaks=True)
    counts = re.findall(r"opened (\d+), predicted (\d+), cancelled (\d+), refused (\d+)", found)
    assert len(counts) == 2 and all(int(count) > 0 for count in counts[1]), found
    files = re.findall(r"files (\d+)", found)
    assert files[0] == files[1], found
