"""The conditional random field, against sums over all sequences of tags and finite differences."""

from itertools import pairwise, product

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.layers import linear_chain
from lstmcore.layers.linear_chain import Chain

N, T, K = 4, 5, 3
LENGTHS = np.array([5, 1, 0, 3])
FORBIDDEN = [(0, 2), ("start", 2), (1, "end")]


def chain_of(rng, scale=1.0, forbidden=()):
    draw = rng.standard_normal
    transitions, starts, ends = draw((K, K)) * scale, draw(K) * scale, draw(K) * scale
    for before, after in forbidden:
        if before == "start":
            starts[after] = -np.inf
        elif after == "end":
            ends[before] = -np.inf
        else:
            transitions[before, after] = -np.inf
    return Chain(transitions, starts, ends, draw((N, T, K)) * scale)


def every_path(chain, row, length):
    """Yield every sequence of tags of a row with its score, in plain sums."""
    for tags in product(range(K), repeat=int(length)):
        score = chain.starts[tags[0]] + chain.ends[tags[-1]]
        score += sum(chain.emissions[row, t, tag] for t, tag in enumerate(tags))
        score += sum(chain.transitions[a, b] for a, b in pairwise(tags))
        yield tags, score


@pytest.mark.parametrize("scale", [1.0, 40.0, 2000.0])  # the last needs sums pair by pair
@pytest.mark.parametrize("forbidden", [(), FORBIDDEN])
def test_sums_and_best_path_against_enumeration(rng, scale, forbidden):
    chain = chain_of(rng, scale, forbidden)
    found = linear_chain.sums(chain, LENGTHS, True)
    best, top = linear_chain.viterbi(chain, LENGTHS)
    for row, length in enumerate(LENGTHS):
        if length == 0:
            assert found.log_z[row] == top[row] == 0
            assert not found.pairs[row].any()
            assert not found.unary[row].any()
            continue
        paths = list(every_path(chain, row, length))
        scores = np.array([score for _, score in paths])
        log_z = scores.max() + np.log(np.exp(scores - scores.max()).sum())
        assert found.log_z[row] == pytest.approx(log_z, rel=1e-13)
        shares = np.exp(scores - log_z)
        unary, pairs = np.zeros((T, K)), np.zeros((K, K))
        for (tags, _), share in zip(paths, shares, strict=True):
            for t, tag in enumerate(tags):
                unary[t, tag] += share
            for a, b in pairwise(tags):
                pairs[a, b] += share
        np.testing.assert_allclose(found.unary[row], unary, atol=2e-12 * scale)
        np.testing.assert_allclose(found.pairs[row], pairs, atol=2e-12 * scale)
        np.testing.assert_array_equal(found.first[row], found.unary[row, 0])
        np.testing.assert_array_equal(found.last[row], found.unary[row, length - 1])
        tags, score = paths[int(scores.argmax())]
        assert tuple(best[row, :length]) == tags
        assert not best[row, length:].any()
        assert top[row] == pytest.approx(score, rel=1e-13)
        scored = linear_chain.path_scores(chain, best, LENGTHS)[row]
        assert scored == pytest.approx(score, rel=1e-13)


def test_a_path_that_only_an_unlikely_tag_can_continue(rng):
    """exp(-900) is 0, so the sums of products of exponentials would lose the only path."""
    transitions = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    emissions = np.array([[[0.0, -900.0], [-np.inf, 0.0], [-np.inf, 0.0]]])
    emissions[np.isinf(emissions)] = -5000
    chain = Chain(transitions, np.zeros(2), np.zeros(2), emissions)
    found = linear_chain.sums(chain, np.array([3]), True)
    assert found.log_z[0] == pytest.approx(-900.0, rel=1e-14)
    np.testing.assert_allclose(found.pairs[0], [[0, 0], [0, 2]], atol=1e-12)


def built(forbidden=None, dtype=np.float64, rng=None, **options):
    layer = lc.layers.CRF(K, forbidden, "random_normal", seed=3, **options)
    layer(np.zeros((1, 1, K), dtype))
    return layer


def loss_of(layer, x, y, weights=None):
    scores, lengths, context = layer.forward_logits(x, LENGTHS, True, 0)
    value, gradient = lc.losses.CRF().sum_tagged(y, scores, lengths, weights, 0.5, True)
    return value, layer.backward(context, gradient)


@pytest.mark.parametrize("forbidden", [None, FORBIDDEN])
def test_gradients_by_finite_differences(rng, forbidden):
    layer = built(forbidden)
    x = rng.standard_normal((N, T, K))
    y = np.tile([0, 1, 2, 2, 0], (N, 1))
    y[1], y[3] = 0, [0, 1, 2, 0, 0]
    weights = np.array([1.0, 2.0, 0.5, 0.7])
    _, dx = loss_of(layer, x, y, weights)
    checked = [(x, dx)]
    checked += [(layer._weights[name], layer._gradients[name].copy()) for name in layer.weights]
    step = 1e-6
    for values, gradient in checked:
        for index in np.ndindex(values.shape):
            before = values[index]
            found = []
            for moved in (before + step, before - step):
                values[index] = moved
                found.append(loss_of(layer, x, y, weights)[0])
            values[index] = before
            slope = 0.5 * (found[0] - found[1]) / (2 * step)  # 0.5: the scale
            assert gradient[index] == pytest.approx(slope, abs=1e-8)
    assert not dx[1, 1:].any()
    assert not dx[2].any()


def test_padding_is_never_read(rng):
    layer = built()
    x = rng.standard_normal((N, T, K))
    past = np.arange(T) >= LENGTHS[:, None]
    other = x.copy()
    other[past] = np.nan
    y = rng.integers(0, K, (N, T))
    first, again = loss_of(layer, x, y), loss_of(layer, other, y)
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_array_equal(layer(x, lengths=LENGTHS), layer(other, lengths=LENGTHS))


def test_rows_alone(rng):
    layer = built(FORBIDDEN)
    x = rng.standard_normal((N, T, K))
    tags, marginals = layer(x, lengths=LENGTHS), layer.marginals(x, lengths=LENGTHS)
    assert tags.dtype == np.int64
    assert tags.shape == (N, T)
    for row, length in enumerate(LENGTHS):
        alone = x[row : row + 1, :length]
        np.testing.assert_array_equal(layer(alone)[0], tags[row, :length])
        np.testing.assert_allclose(layer.marginals(alone)[0], marginals[row, :length], atol=1e-14)
    np.testing.assert_allclose(marginals.sum(axis=2)[0], 1)


def test_forbidden_transitions_never_occur(rng):
    layer = built(FORBIDDEN)
    x = rng.standard_normal((200, 7, K)) * 3
    x[:, :, 2] += 2  # the tag that may not come first, nor after 0
    tags = layer(x)
    assert (tags[:, 0] != 2).all()
    assert (tags[:, -1] != 1).all()
    assert not ((tags[:, :-1] == 0) & (tags[:, 1:] == 2)).any()
    assert (tags == 2).any()  # after 1


@pytest.mark.parametrize(
    ("forbidden", "error", "words"),
    [
        ([(0, 3)], ValueError, r"forbidden: expected tags in 0\.\.2, got 3"),
        ([("end", 1)], ValueError, r"forbidden: .*'start' as the first of a pair, got 'end'"),
        ([(1, "start")], ValueError, r"forbidden: .*'end' as the second"),
        ([(1, 2, 0)], ValueError, r"forbidden: expected pairs \(from, to\)"),
        ("BIO", TypeError, r"forbidden: expected pairs"),
        ([("start", k) for k in range(K)], ValueError, "leave a sequence of 1 tags"),
        ([(a, b) for a in range(K) for b in range(K)], ValueError, "leave a sequence of 2 tags"),
    ],
)
def test_wrong_pairs(forbidden, error, words):
    with pytest.raises(error, match=words):
        lc.layers.CRF(K, forbidden)


def test_wrong_width_says_what_to_add():
    with pytest.raises(ValueError, match=r"CRF: expected inputs of width 3, .*put Dense\(3\)"):
        lc.layers.CRF(3)(np.zeros((1, 2, 4)))


def test_tags_have_no_gradient(rng):
    layer = built()
    *_, context = layer.forward(np.zeros((1, 2, K)), None, True, 0)
    with pytest.raises(ValueError, match="CRF: tags have no gradient; train the model with loss"):
        layer.backward(context, np.zeros((1, 2)))


def test_tables_are_made_when_there_are_weights():
    """A file of a kilobyte may name any number of tags, whose tables nothing has filled."""
    layer = lc.layers.CRF(10**8, [(0, 1)])
    with pytest.raises(ValueError, match=r"expected inputs of width 100000000, .*got 2"):
        layer.build((None, None, 2))


def test_whether_sequences_are_left_is_found_as_by_walking_the_whole_table(rng):
    """Also for many tags with a pair each, in little time."""

    def left(forbidden, tags):
        table = np.ones((tags + 1, tags + 1), bool)
        table[
            tuple(
                zip(
                    *(
                        (tags if isinstance(t, str) else t, tags if isinstance(u, str) else u)
                        for t, u in forbidden
                    ),
                    strict=True,
                )
            )
        ] = False
        reached = table[tags, :tags]
        for _ in range(2 * tags):
            if not (reached & table[:tags, tags]).any():
                return False
            reached = (reached[:, None] & table[:tags, :tags]).any(axis=0)
        return True

    outcomes = []
    for _ in range(300):
        tags = int(rng.integers(1, 5))
        every = [*((a, b) for a in range(tags) for b in range(tags)), ("start", "end")]
        every += [pair for k in range(tags) for pair in (("start", k), (k, "end"))]
        forbidden = [pair for pair in every if rng.random() < 0.6] or every
        try:
            lc.layers.CRF(tags, forbidden)
        except ValueError as error:
            assert "leave a sequence" in str(error)
            outcomes.append(False)
        else:
            outcomes.append(True)
        assert outcomes[-1] is left(forbidden, tags), (forbidden, tags)
    assert 50 < sum(outcomes) < 250
    lc.layers.CRF(4000, [(k, k + 1) for k in range(0, 4000, 2)])
